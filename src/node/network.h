// Making a network: its root key, and the keys and certificates of its nodes, as files or in
// memory. Who holds the root key decides who joins; it is needed only here, never by a running
// node.
//
//   DIR/root.key              the root's secret, mode 0600
//   DIR/network.yaml          name, root public key, suffix: what every node's config repeats
//   DIR/NODE/node.key         a node's secret, mode 0600
//   DIR/NODE/node.certificate
//   DIR/NODE/config.yaml      for `odo start --config`
//
// A key file is one line, "ed25519 HEX", the 32 secret bytes of RFC 8032.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "base/time.h"
#include "crypto/ed25519.h"
#include "node/config.h"
#include "p2p/node_signed.h"

namespace tau::node {

// A year: long enough for a person's first network, short enough that a lost key ends.
inline constexpr Duration kCertificateValidFor = std::chrono::hours(24) * 365;
// Clocks of a network's machines may differ by this much.
inline constexpr Duration kClockSkewMax = std::chrono::minutes(5);

// The base32 text that names a network for machines, and back. Errors: invalid_argument.
std::string root_key_text(const crypto::PublicKey& root);
Result<crypto::PublicKey> parse_root_key(std::string_view text);

// A new node key, certified for `roles` until kCertificateValidFor from now.
p2p::NodeIdentity make_identity(const crypto::KeyPair& root, std::vector<std::string> roles,
                                std::string host, Random& random, std::int64_t now_unix_ms);

// The same for a key that exists.
p2p::NodeIdentity certify(const crypto::KeyPair& root, crypto::KeyPair key,
                          std::vector<std::string> roles, std::string host,
                          std::int64_t now_unix_ms);

// Errors: already_exists (a file is there and not replaced), unavailable (the disk).
Status write_key(const std::filesystem::path& file, const crypto::KeyPair& key);
// Errors: not_found, invalid_argument, permission_denied (others may read the file).
Result<crypto::KeyPair> read_key(const std::filesystem::path& file);

// The node's key and certificate, where its config says. Errors: those of read_key;
// permission_denied when the certificate is not of this network, not for this key, or over.
Result<p2p::NodeIdentity> read_identity(const Options& options, std::int64_t now_unix_ms);

// Keys, certificates, network.yaml. Errors: not_found, invalid_argument (longer than that).
inline constexpr std::size_t kSmallFileBytesMax = 64u << 10;
Result<std::string> read_small_file(const std::filesystem::path& file,
                                    std::size_t bytes_max = kSmallFileBytesMax);
// The old content or the new, whatever happens meanwhile. Errors: unavailable.
Status replace_file(const std::filesystem::path& file, BytesView content);

struct NewNetwork {
  std::filesystem::path folder;
  std::string name = "blackhole";
  std::string suffix;  // empty: NAME.localhost
};
// Errors: already_exists, invalid_argument (a name that is no host label), unavailable.
Status create_network(const NewNetwork& what, Random& random);

struct NewNode {
  std::filesystem::path network;  // folder made by create_network
  std::string name;
  Options options;  // services and listeners; identity and network are filled in
};
// Makes DIR/NAME with a config that starts. Gives the config's path. A tns node is told who
// founds the registry, and until one of those is started it is one of them (voters.h), unless its
// options name voters.
Result<std::filesystem::path> create_node(const NewNode& what, Random& random,
                                          std::int64_t now_unix_ms);

}  // namespace tau::node
