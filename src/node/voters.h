// Which tns nodes found the registry of a network, and which patricks its list of jobs, as its
// folder knows it. They are named in each other's configuration (`consensus.voters`,
// `consensus.patricks`), so that all of them begin with the same list; one that began alone would
// be a registry of its own. network.yaml keeps the list, so that it is known
// where the nodes' folders are not any more. Those made after one of them was started join: the
// others see their certificates and let them follow.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "crypto/ed25519.h"
#include "node/config.h"

namespace tau::node {

struct VotingService {
  std::string_view service, key;                 // below `consensus:`
  std::vector<std::string> Options::* founders;  // what the key sets
};
inline constexpr VotingService kVotingServices[] = {
    {"tns", "voters", &Options::consensus_voters},
    {"patrick", "patricks", &Options::consensus_patricks}};

// The founders of NETWORK now that a node `id` of the service is made in it: with `id` as long as
// none of them was started, and then named in the config.yaml of all that were made before, and in
// network.yaml; else those that there are. `recorded`: what network.yaml says. Errors:
// invalid_argument (a file without that key, with what to write there), unavailable (the disk).
Result<std::vector<std::string>> founders_with(const std::filesystem::path& network,
                                               const VotingService& voting,
                                               const std::vector<std::string>& recorded,
                                               const std::string& id, const crypto::PublicKey& root,
                                               std::int64_t now_unix_ms);

}  // namespace tau::node
