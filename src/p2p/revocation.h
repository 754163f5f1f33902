// What a network takes back: nodes that are members no longer, certificates that count no longer,
// roles that a node has lost. One list, signed by the network's root; a list with a higher number
// replaces the one before, whole. Nodes keep it on their disk and hand it on (node/credentials.h);
// admission and everything signed by nodes is held against it (certificate.h).
//
// Wire form: as a certificate's, with "tau revocations v1" as the purpose.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/strong_id.h"
#include "codec/record.h"
#include "crypto/ed25519.h"

namespace tau::p2p {

struct Certificate;

struct Revocation {
  PeerId peer = {};
  std::optional<std::uint64_t> serial = {};  // of one certificate; absent: every one of the peer
  std::vector<std::string> roles = {};       // taken away; none: the peer is no member any more
  std::string reason = {};                   // a sentence that the peer and people are told
  std::int64_t since_unix_ms = 0;
  // When the certificates that this is about have all ended, so that the entry may go; 0: never.
  std::int64_t until_unix_ms = 0;

  friend bool operator==(const Revocation&, const Revocation&) = default;
  static constexpr auto fields() {
    return std::tuple{codec::field("peer", &Revocation::peer),
                      codec::field("serial", &Revocation::serial),
                      codec::field("roles", &Revocation::roles),
                      codec::field("reason", &Revocation::reason),
                      codec::field("since", &Revocation::since_unix_ms),
                      codec::field("until", &Revocation::until_unix_ms)};
  }
};

struct RevocationList {
  std::string network;  // as in a certificate
  std::uint64_t number = 0;
  std::int64_t made_unix_ms = 0;
  std::vector<Revocation> entries;
  static constexpr auto fields() {
    return std::tuple{codec::field("network", &RevocationList::network),
                      codec::field("number", &RevocationList::number),
                      codec::field("made", &RevocationList::made_unix_ms),
                      codec::field("entries", &RevocationList::entries)};
  }
};

// More nodes than a full mesh has, and room for the ones before them: entries go when what they
// are about has ended by itself.
inline constexpr std::size_t kRevocationsMax = 4096;
inline constexpr std::size_t kRevocationBytesMax = 1u << 20;  // about 250 an entry in practice
inline constexpr std::size_t kReasonBytesMax = 256;
inline constexpr std::size_t kRevokedRolesMax = 16;

// Errors: invalid_argument (beyond a bound).
Result<Bytes> sign_revocations(const crypto::KeyPair& root, const RevocationList& list);

// A list that was checked. Immutable, for any thread.
class Revocations {
 public:
  // Errors: invalid_argument (no such list, beyond a bound), permission_denied (signed by another
  // root, or for another network).
  static Result<std::shared_ptr<const Revocations>> open(const crypto::PublicKey& root,
                                                         BytesView raw);

  std::uint64_t number() const { return list_.number; }
  const RevocationList& list() const { return list_; }
  const Bytes& raw() const { return raw_; }
  // Whether this one replaces `other`. Two that say the same number are an operator's mistake that
  // all nodes settle alike.
  bool replaces(const Revocations& other) const;

  // Takes the roles that are revoked from `certificate`. Gives the entry by which it counts no
  // longer at all, or null.
  const Revocation* strike(Certificate& certificate) const;
  // The entry by which whatever this peer shows counts no longer, or null.
  const Revocation* whole(const PeerId& peer) const;

 private:
  Revocations(RevocationList list, Bytes raw);

  RevocationList list_;
  Bytes raw_;
  std::multimap<PeerId, std::size_t> by_peer_;  // index into list_.entries
};

}  // namespace tau::p2p
