// A node's certificate: what its network lets it be. Signed by the network's root key; bound to the
// node's peer id; it expires. Shown on every connection before anything else is said
// (native/swarm/src/admission.rs), and every command names the roles that may call it (command/router.h).
//
// Wire form: DAG-CBOR map {"body": bytes, "signature": bytes}, where body is the DAG-CBOR of
// Certificate and the signature is Ed25519 over "tau certificate v1\0" + body.
#pragma once

#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/strong_id.h"
#include "codec/record.h"
#include "crypto/ed25519.h"

namespace tau::p2p {

struct Certificate {
  std::string network;  // base32 text of the root public key: the network's name for machines
  PeerId peer;
  std::vector<std::string>
      roles;  // "auth", "tns", "patrick", "monkey", "hoarder", "seer", "substrate", "client"
  std::string host, operated_by, region;  // failure domains, for placing replicas; may be empty
  std::int64_t not_before_unix_ms = 0;
  std::int64_t not_after_unix_ms = 0;

  static constexpr auto fields() {
    return std::tuple{codec::field("network", &Certificate::network),
                      codec::field("peer", &Certificate::peer),
                      codec::field("roles", &Certificate::roles),
                      codec::field("host", &Certificate::host),
                      codec::field("operator", &Certificate::operated_by),
                      codec::field("region", &Certificate::region),
                      codec::field("not_before", &Certificate::not_before_unix_ms),
                      codec::field("not_after", &Certificate::not_after_unix_ms)};
  }
  bool has_role(std::string_view role) const;
};

inline constexpr std::size_t kCertificateSizeMax = 4096;  // a few hundred bytes in practice

Bytes sign_certificate(const crypto::KeyPair& root, const Certificate& certificate);

// Who may join: the root's public key. Thread-safe, immutable.
class Admission {
 public:
  Admission(crypto::PublicKey root, Bytes own_certificate);

  const Bytes& own_certificate() const { return own_certificate_; }
  const crypto::PublicKey& root() const { return root_; }
  const std::string& network() const { return network_; }

  // Checks what `remote` showed. Errors: permission_denied, with the reason.
  Result<Certificate> check(const PeerId& remote, BytesView certificate,
                            std::int64_t now_unix_ms) const;

  // The same for a certificate that came with a record instead of a connection: of whichever peer
  // it names.
  Result<Certificate> check_any(BytesView certificate, std::int64_t now_unix_ms) const;

 private:
  crypto::PublicKey root_;
  std::string network_;
  Bytes own_certificate_;
};

}  // namespace tau::p2p
