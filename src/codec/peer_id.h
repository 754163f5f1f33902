// Peer ids (libp2p specification, peer-ids): base58btc of the identity multihash of the
// protobuf-encoded Ed25519 key.
#pragma once

#include "base/error.h"
#include "base/strong_id.h"
#include "crypto/ed25519.h"

namespace tau::codec {

PeerId peer_id_of(const crypto::PublicKey& key);
Result<crypto::PublicKey> public_key_of(
    const PeerId& peer);  // invalid_argument for other kinds of key

}  // namespace tau::codec
