// What the holder of a network's root key does after a node was made: renews its certificate, takes
// its membership or some of its roles back, gives them back. All of it on files in the network's
// folder; nothing here talks to a node (docs/guide/own-network.md says how it gets there).
//
//   DIR/NODE/node.certificate   replaced when it is renewed
//   DIR/revocations             the network's list, as nodes take it
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "crypto/ed25519.h"
#include "node/network.h"
#include "p2p/certificate.h"

namespace tau::node {

// Bounds how long an entry of a list of revocations has to stay.
inline constexpr Duration kCertificateValidForMax = 2 * kCertificateValidFor;

struct Renewal {
  std::filesystem::path network;      // folder made by create_network
  std::string node;                   // name of a node's folder there, or a certificate file
  std::vector<std::string> services;  // the roles from now on; none: those that it has
  Duration valid_for = kCertificateValidFor;
};
struct Renewed {
  std::filesystem::path file;
  Bytes raw;
  p2p::Certificate certificate;
};
// Errors: not_found, invalid_argument (a time beyond the bound), permission_denied (the node was
// revoked; the certificate is of another network), and those of read_key.
Result<Renewed> renew_certificate(const Renewal& what, std::int64_t now_unix_ms);

struct RevocationOrder {
  std::filesystem::path network;
  std::string node;                // as for Renewal, or a peer id
  std::string reason;              // the node and people are told
  std::vector<std::string> roles;  // to take away; none: all membership
  bool this_certificate = false;   // the one in its file only: one that is made later counts
};
// Adds to the list, and gives it as it is now. Errors: as renew_certificate.
Result<std::shared_ptr<const p2p::Revocations>> revoke(const RevocationOrder& what,
                                                       std::int64_t now_unix_ms);
// Takes every entry about a node from the list. Errors: also not_found (there is none).
Result<std::shared_ptr<const p2p::Revocations>> restore(const std::filesystem::path& network,
                                                        const std::string& node,
                                                        std::int64_t now_unix_ms);
// The list of the folder; null where nothing was ever revoked. Errors: invalid_argument,
// permission_denied.
Result<std::shared_ptr<const p2p::Revocations>> read_revocations(
    const std::filesystem::path& network);

}  // namespace tau::node
