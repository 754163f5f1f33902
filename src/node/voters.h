// Which tns nodes decide together, as the folder of a network knows it: every node whose
// certificate has the role tns. They are named in each other's configuration, so that all of them
// begin with the same list; one that began alone would be a registry of its own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "base/error.h"
#include "crypto/ed25519.h"

namespace tau::node {

inline constexpr std::string_view kVotingService = "tns";

// Before a tns node is made in NETWORK. Errors: failed_precondition when one of those that are
// there has been started: it decides with whom it began.
Status may_add_voter(const std::filesystem::path& network, const crypto::PublicKey& root,
                     std::int64_t now_unix_ms);

// Names every tns node of NETWORK in `consensus.voters` of every tns node's config.yaml; with one
// alone nothing is changed. What else the files say stays. Errors: invalid_argument (a file without
// that key, with what to write there), unavailable (the disk).
Status agree_on_voters(const std::filesystem::path& network, const crypto::PublicKey& root,
                       std::int64_t now_unix_ms);

}  // namespace tau::node
