// The two text forms of bytes that CIDs and peer ids use (multiformats/multibase): base58btc and
// lower-case base32 without padding. Bounds: 256 characters, far above any CID.
#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

namespace tau::codec {

std::string base58btc_encode(BytesView bytes);
Result<Bytes> base58btc_decode(std::string_view text);
std::string base32_encode(BytesView bytes);
Result<Bytes> base32_decode(std::string_view text);

}  // namespace tau::codec
