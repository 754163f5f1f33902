// For tests: a network's root key, and certificates for nodes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "codec/multibase.h"
#include "codec/peer_id.h"
#include "p2p/certificate.h"

namespace tau::p2p {

struct TestNetwork {
  SystemRandom random;
  crypto::KeyPair root = crypto::KeyPair::generate(random);

  crypto::KeyPair make_key() { return crypto::KeyPair::generate(random); }

  Certificate certificate(const PeerId& peer, std::int64_t now_unix_ms,
                          std::string_view host = "") const {
    Certificate c;
    c.network = codec::base32_encode(root.public_key().raw());
    c.peer = peer;
    c.roles = {"substrate", "tns"};
    c.host = std::string(host);
    c.not_before_unix_ms = now_unix_ms - 60'000;
    c.not_after_unix_ms = now_unix_ms + 3'600'000;
    return c;
  }
  Admission admission(const PeerId& peer, std::int64_t now_unix_ms,
                      std::string_view host = "") const {
    return Admission(root.public_key(),
                     sign_certificate(root, certificate(peer, now_unix_ms, host)));
  }
  std::shared_ptr<const Revocations> revocations(std::uint64_t number,
                                                 std::vector<Revocation> entries) const {
    const RevocationList list{codec::base32_encode(root.public_key().raw()), number, 0,
                              std::move(entries)};
    return *Revocations::open(root.public_key(), *sign_revocations(root, list));
  }
};

}  // namespace tau::p2p
