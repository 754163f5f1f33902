// Base64 with padding (RFC 4648, section 4): bytes inside JSON.
#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

namespace tau::codec {

std::string base64_encode(BytesView bytes);
// One text for one value: padding and unused bits are checked. Errors: invalid_argument.
Result<Bytes> base64_decode(std::string_view text);

}  // namespace tau::codec
