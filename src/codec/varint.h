// Unsigned varints (multiformats/unsigned-varint): at most 9 bytes, shortest form only.
#pragma once

#include "base/bytes.h"
#include "base/error.h"

namespace tau::codec {

void put_uvarint(Bytes& out, std::uint64_t value);
// Takes one from the front of `in`. Errors: invalid_argument (truncated, too long, not the shortest
// form).
Result<std::uint64_t> take_uvarint(BytesView& in);

}  // namespace tau::codec
