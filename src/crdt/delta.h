// A delta: what one writer changed at once, as one content-addressed block. Its links are the heads
// that the writer knew, so that the blocks form a Merkle DAG whose order is the causal order.
//
// Block (DAG-CBOR): {"delta": map, "signature": bytes, "certificate": bytes}, the signature being
// Ed25519 over "tau crdt delta v1\0" + the DAG-CBOR of the map; its fields are in
// docs/wire/crdt.md.
//
// Whether a delta is good is decided by its own bytes alone (and the network's root key), never by
// what else a replica knows: so all replicas decide alike, and one liar cannot make others disagree
// about what may follow. Revocations are no part of it: replicas hear of them at different moments,
// and would accept different histories. They close the way in instead: announcements and streams of
// a revoked node are refused, so what it signs comes in no more, and what a replica had accepted
// before it heard is passed on by that replica to all others.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "codec/cid.h"
#include "codec/dag_cbor.h"
#include "crdt/dot.h"
#include "p2p/node_signed.h"

namespace tau::crdt {

inline constexpr std::size_t kKeySizeMax = 1024;
inline constexpr std::size_t kValueSizeMax = 256u << 10;
// Below the 2 MiB of a block; a replica holds a few tens of them in memory.
inline constexpr std::size_t kDeltaSizeMax = 1u << 20;
inline constexpr std::size_t kOperationsMax = 4096;
inline constexpr std::size_t kParentsMax = 256;
// Of one operation: as many versions of a key as can be concurrent.
inline constexpr std::size_t kRemovesMax = 256;
// Numbers and heights: exact in JavaScript, and out of reach of anybody who counts.
inline constexpr std::uint64_t kNumberMax = std::uint64_t{1} << 53;

// A delta by its name, and what it is in its writer's count: a replica that has folded its history
// tells by the dot that it had it.
struct Link {
  codec::Cid cid;
  Dot dot;
  friend auto operator<=>(const Link&, const Link&) = default;
};

struct Operation {
  std::string key;
  std::optional<Bytes> value;  // nothing: delete
  std::vector<Dot> removes;    // the versions of the key that the writer saw
  friend bool operator==(const Operation&, const Operation&) = default;
};

struct Delta {
  std::string map;  // whose delta it is: one of another map is refused
  PeerId peer;      // from the certificate; not written again
  std::uint64_t incarnation = 0;
  std::uint64_t number = 0;
  std::uint64_t height = 0;  // one more than the highest parent
  std::int64_t time_unix_ms = 0;
  std::optional<codec::Cid> previous;  // the writer's own; there unless number is 1
  std::vector<Link> parents;
  std::vector<Operation> operations;  // each key once

  Dot dot() const { return {writer_id_of(peer, incarnation), number}; }
  friend bool operator==(const Delta&, const Delta&) = default;
};

struct SealedDelta {
  codec::Cid cid;
  Bytes block;
  Delta delta;
  Link link() const { return {cid, delta.dot()}; }
};

// Signs. Errors: invalid_argument when a bound above is broken.
Result<SealedDelta> seal(const p2p::NodeIdentity& identity, Delta delta);

// Reads deltas of one map and checks them. The certificate is checked at the time that the delta
// names, and not for revocations: what was written while it was valid stays. Remembers
// certificates, a bounded number.
class DeltaReader {
 public:
  DeltaReader(const p2p::Admission& admission, std::string map, std::string role)
      : admission_(admission), map_(std::move(map)), role_(std::move(role)) {}
  // `cid` must be the block's (what an exchange gives is). Errors: invalid_argument,
  // permission_denied (signature, certificate, role).
  Result<SealedDelta> open(const codec::Cid& cid, Bytes block);
  // Of this network, and valid at that time; whether it was revoked is not asked. Errors:
  // permission_denied, invalid_argument.
  Result<p2p::Certificate> certificate(const Bytes& bytes, std::int64_t at_unix_ms);

 private:
  const p2p::Admission& admission_;
  std::string map_, role_;
  std::map<Bytes, p2p::Certificate> certificates_;
};

// Without signature: what is below "delta".
codec::Value value_of(const Delta& delta);
Result<Delta> delta_of(const codec::Value& value, const PeerId& peer);

}  // namespace tau::crdt
