// What of a module can be told before it runs: the function that the config calls is there and
// takes an event, every import is offered by the nodes, the memory fits. Said to who pushes; else
// it were a 500 for somebody else. The engine decides on all that is left.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "vm/engine.h"

namespace tau::monkey {

// A function's type as far as the guest ABI has such types: value types as letters, "(i32) -> i64".
struct Signature {
  std::vector<vm::ValueType> parameters, results;
  std::string to_string() const;
  friend bool operator==(const Signature&, const Signature&) = default;
};

struct WasmImport {
  std::string module, name;
  // Nothing: no function, or one of types that only the engine knows.
  std::optional<Signature> type;
  bool is_function = false;
};
struct WasmExport {
  std::string name;
  std::optional<Signature> type;  // nothing: only the engine knows
};

// The outside of a core module (WebAssembly core specification 5.5): functions that it exports, all
// that it imports, its first memory. Of function bodies only the size.
struct WasmOutside {
  std::vector<WasmImport> imports;
  std::vector<WasmExport> functions;
  std::uint64_t memory_bytes = 0;
  std::uint64_t largest_body_bytes = 0;
  std::uint64_t bytes = 0;  // of all
};

// A compiler takes time and memory of a hundred times a function's size and more; interpreters, the
// largest functions that people write, have a few hundred KiB.
inline constexpr std::uint64_t kFunctionBytesMax = 2u << 20;
// As much as substrates fetch; a large Go program has 10 MiB.
inline constexpr std::uint64_t kModuleBytesMax = 64u << 20;
// Errors: invalid_argument (no core module, or one that is cut short).
Result<WasmOutside> read_outside(BytesView module);

// Errors: failed_precondition with every reason, one a line. `offered` is what guests may import.
Status check_module(const WasmOutside& module, const std::string& call,
                    std::uint64_t memory_bytes_max, std::span<const vm::HostFunction> offered);

}  // namespace tau::monkey
