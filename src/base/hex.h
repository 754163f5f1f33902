// Bytes from hexadecimal digits; to_hex() in bytes.h is the other way.
#pragma once

#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

namespace tau {

// Either case. Errors: invalid_argument (an odd number of digits, or something else among them).
Result<Bytes> from_hex(std::string_view text);

}  // namespace tau
