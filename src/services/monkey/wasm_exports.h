// What a WebAssembly module exports: enough of the binary format (core specification 5.5) to tell a
// person at build time that the function named in the config is not there.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace tau::monkey {

// The names of exported functions, in order. Reads nothing but the export section. Errors:
// invalid_argument (not a core module, or cut short).
Result<std::vector<std::string>> exported_functions(BytesView module);

}  // namespace tau::monkey
