// The TVM's engine room: compile a WebAssembly module, run one exported function of it in a fresh
// instance, bounded in memory and time. vm/wasmtime implements it; nothing above knows which engine
// it is.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/time.h"
#include "runtime/task.h"

namespace tau::vm {

enum class ValueType : std::uint8_t { i32, i64, f32, f64 };

// One call of a host function, from the guest: where its memory is and what the call belongs to.
// Host functions do not throw and keep nothing of the memory.
struct HostCall {
  // The calling module's, valid until the call returns; empty if it exports none.
  std::span<std::uint8_t> memory;
  void* context = nullptr;  // what the owner of the run gave
};

// How a host function ends, besides its result.
enum class HostOutcome : std::uint8_t {
  returned,
  exited,   // proc_exit: the run ends; *result holds the code
  trapped,  // the run ends as a trap
};

// Arguments are raw 64-bit cells, 32-bit values in the low half. Called on the thread that runs the
// guest; never blocks.
using HostFunctionPointer = HostOutcome (*)(HostCall& call, const std::uint64_t* arguments,
                                            std::uint64_t* result);

struct HostFunction {
  std::string module, name;
  std::vector<ValueType> parameters;
  std::optional<ValueType> result;
  HostFunctionPointer function = nullptr;
};

struct RunLimits {
  std::uint64_t memory_bytes_max = 64u << 20;
  Duration time_max = std::chrono::seconds(10);
};

struct RunFailure {
  enum class Kind : std::uint8_t {
    trap,
    timeout,
    out_of_memory,
    exit_code,     // proc_exit with a code other than 0
    start_failed,  // no such function; or the instance or its `_initialize` failed
    overloaded,    // no free slot: the caller may try again, the guest is not to blame
    cancelled,     // the awaiting task's scope was
  };
  Kind kind = Kind::trap;
  std::string message;    // "wasm trap: out of bounds memory access"
  std::string backtrace;  // one frame a line, with names where the module has them
};
std::string_view name_of(RunFailure::Kind kind);

struct RunTimes {
  Duration instantiate{}, run{};
};

// A compiled module, linked against the engine's host functions. Thread-safe, immutable, shared.
class Module {
 public:
  virtual ~Module() = default;
  // Fresh instance, `_initialize` (or `_start`) where the module exports it, then
  // `export_name(argument)`. The result is ignored. Starts on the spot and gives the loop to others
  // about every millisecond. The time limit is wall time of the loop, and of the guest where the
  // loop's time stands still (simulation). Nothing of the instance outlives the run; the module,
  // `export_name` and `context` must outlive it.
  virtual Task<std::expected<RunTimes, RunFailure>> run(std::string_view export_name,
                                                        std::uint32_t argument, void* context,
                                                        RunLimits limits) const = 0;
  // Exported, with one i32 parameter.
  virtual bool has_function(std::string_view export_name) const = 0;
  // Its machine code, for Engine::load() of an engine with the same compatibility(): two to six
  // times as large as the wasm. Blocking: a copy of all of it.
  virtual Result<Bytes> serialize() const = 0;
};

// How well to compile. quick: half the time for code that runs slower, for a request that waits.
enum class Effort : std::uint8_t { full, quick };

// Thread-safe. A process has one, however many nodes it runs: its slots and its ticking thread are
// shared.
class Engine {
 public:
  virtual ~Engine() = default;
  // Blocking, heavy: call it on a ThreadPool. Errors: invalid_argument (no module; imports that the
  // engine lacks, named; memory above the limit), resource_exhausted.
  virtual Result<std::shared_ptr<const Module>> compile(BytesView wasm, Effort effort) = 0;
  // What serialize() gave, in a hundredth of the time that compiling takes. It is machine code
  // that will run as this process, outside any sandbox, and is hardly checked here: the caller
  // answers for its coming unchanged from somebody who is believed. Errors: invalid_argument (of
  // an engine with another compatibility(); cut short; imports that the engine lacks). Blocking.
  virtual Result<std::shared_ptr<const Module>> load(BytesView artefact) = 0;
  // Names the engine, its version, settings and the machine's instruction set: part of the key of
  // anything compiled.
  virtual std::string compatibility() const = 0;
};

}  // namespace tau::vm
