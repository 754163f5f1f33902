// vm::Engine by wasmtime: a pool of instance slots with copy-on-write memories, epochs for
// fairness, one fiber a run.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/error.h"
#include "vm/engine.h"

namespace tau::vm {

struct WasmtimeOptions {
  // Runs at once in this process. A slot costs address space (4 GiB), and memory once it was used:
  // at most 1 MiB.
  std::uint32_t runs_max = 1000;
  bool accept_text = false;  // compile() takes the text format, too: for tests
};

// Reserves the pool and starts the ticking thread, which ends with the engine and the last of its
// modules. Errors: failed_precondition (the machine refuses the address space), invalid_argument
// (the table of functions).
Result<std::unique_ptr<Engine>> make_wasmtime_engine(std::span<const HostFunction> functions,
                                                     WasmtimeOptions options = {});

}  // namespace tau::vm
