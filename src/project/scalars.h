// Single values of the schema: durations and sizes as Taubyte writes them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace tau::project {

// "1h2m3.5s", units ns, us, µs, ms, s, m, h, as Go writes them; not negative. Nanoseconds.
Result<std::uint64_t> parse_duration(std::string_view text);
// "32MB" (powers of 1000), "16MiB" (powers of 1024), "512B". Bytes.
Result<std::uint64_t> parse_size(std::string_view text);

std::string format_duration(std::uint64_t nanoseconds);  // "20s", "1m30s", "250ms"
std::string format_size(std::uint64_t bytes);            // "32MB", "64KiB"

}  // namespace tau::project
