// What guest functions return. The numbers are the published ABI of Taubyte's SDKs; no code is
// added to them, because the SDKs' tables end where theirs do.
#pragma once

#include <cstdint>

namespace tau::guest {

enum class Error : std::uint32_t {
  none = 0,
  event_not_found = 1,
  buffer_too_small = 2,
  address_out_of_memory = 3,
  nil_address = 4,
  http_write = 5,
  http_read_body = 6,
  close_body = 7,
  eof = 8,
  memory_write_failed = 12,
};

// WASI preview 1.
enum class WasiError : std::uint32_t {
  success = 0,
  bad_descriptor = 8,
  fault = 21,
  invalid = 28,
  not_implemented = 52,
  not_seekable = 70,
};

}  // namespace tau::guest
