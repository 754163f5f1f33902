#include "codec/peer_id.h"

#include <algorithm>
#include <array>

#include "codec/multibase.h"

namespace tau::codec {
namespace {
// Identity multihash (0x00) of 36 bytes of protobuf: field 1 = key type 1 (Ed25519), field 2 = the
// 32 key bytes.
constexpr std::array<std::uint8_t, 6> kHead = {0x00, 0x24, 0x08, 0x01, 0x12, 0x20};
}  // namespace

PeerId peer_id_of(const crypto::PublicKey& key) {
  Bytes raw(kHead.begin(), kHead.end());
  raw.insert(raw.end(), key.raw().begin(), key.raw().end());
  return PeerId(base58btc_encode(raw));
}

Result<crypto::PublicKey> public_key_of(const PeerId& peer) {
  TRY(const Bytes raw, base58btc_decode(peer.str()));
  if (raw.size() != kHead.size() + 32 || !std::equal(kHead.begin(), kHead.end(), raw.begin()))
    return fail(ErrorCode::invalid_argument, "peer id " + peer.str() + " is not of an Ed25519 key");
  return crypto::PublicKey::from_raw(BytesView(raw).subspan(kHead.size()));
}

}  // namespace tau::codec
