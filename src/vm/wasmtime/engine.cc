#include "vm/wasmtime/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include "runtime/loop.h"
#include "rust/cxx.h"
#include "wasm/src/lib.rs.h"

namespace tau::vm {
namespace {

// Larger modules exist, but compiling one would hold a thread for a minute.
constexpr std::size_t kModuleBytesMax = 64u << 20;

rust::Slice<const std::uint8_t> slice_of(BytesView bytes) { return {bytes.data(), bytes.size()}; }

// What wasmtime calls for every host function; `engine.rs` describes the parameters.
extern "C" std::uint8_t tau_vm_dispatch(std::size_t function, std::size_t context,
                                        std::uint8_t* memory, std::size_t memory_bytes,
                                        const std::uint64_t* arguments,
                                        std::uint64_t* result) noexcept {
  HostCall call{{memory, memory_bytes}, reinterpret_cast<void*>(context)};
  return static_cast<std::uint8_t>(
      reinterpret_cast<HostFunctionPointer>(function)(call, arguments, result));
}
static_assert(static_cast<int>(HostOutcome::returned) == 0);
static_assert(static_cast<int>(HostOutcome::exited) == 1);

char letter_of(ValueType type) { return "iIfF"[static_cast<std::size_t>(type)]; }

native::wasm::Import import_of(const HostFunction& f) {
  std::string parameters, result;
  for (ValueType type : f.parameters) parameters += letter_of(type);
  if (f.result) result += letter_of(*f.result);
  return {f.module, f.name, parameters, result, reinterpret_cast<std::size_t>(f.function)};
}

RunFailure::Kind kind_of(native::wasm::FailureKind kind) {
  using enum native::wasm::FailureKind;
  switch (kind) {
    case OutOfMemory:
      return RunFailure::Kind::out_of_memory;
    case ExitCode:
      return RunFailure::Kind::exit_code;
    case StartFailed:
      return RunFailure::Kind::start_failed;
    case Overloaded:
      return RunFailure::Kind::overloaded;
    default:
      return RunFailure::Kind::trap;
  }
}

using Outcome = std::expected<RunTimes, RunFailure>;

std::unexpected<RunFailure> failed(RunFailure::Kind kind, std::string message) {
  return std::unexpected(RunFailure{kind, std::move(message), {}});
}

Outcome outcome_of(const native::wasm::Run& run, native::wasm::Progress progress) {
  if (progress == native::wasm::Progress::Done) [[likely]] {
    const auto times = run.times();
    return RunTimes{Duration(times.instantiate_ns), Duration(times.run_ns)};
  }
  const auto failure = run.failure();
  return std::unexpected(RunFailure{kind_of(failure.kind), std::string(failure.message),
                                    std::string(failure.backtrace)});
}

class WasmtimeModule final : public Module {
 public:
  explicit WasmtimeModule(rust::Box<native::wasm::Module> module) : module_(std::move(module)) {
    for (const auto& e : module_->exports()) exports_.emplace_back(std::string(e.name), e.function);
    std::ranges::sort(exports_);
  }

  Task<Outcome> run(std::string_view export_name, std::uint32_t argument, void* context,
                    RunLimits limits) const override {
    const std::optional<std::uint32_t> function = find(export_name);
    if (!function) {
      co_return failed(
          RunFailure::Kind::start_failed,
          fmt::format("the module exports no function \"{}\" that takes one i32", export_name));
    }
    auto run = module_->start(*function, argument, reinterpret_cast<std::size_t>(context),
                              limits.memory_bytes_max);
    auto progress = run->poll();
    if (progress == native::wasm::Progress::Yielded) [[unlikely]] {
      const Loop& loop = (co_await runtime::current_scope()).loop();
      const TimePoint deadline = loop.now() + limits.time_max;
      // Every slice ends at another tick of a millisecond: so many of them are no less than the
      // time limit, and they count where the loop's time is simulated.
      const std::int64_t slices_max = limits.time_max / std::chrono::milliseconds(1) + 1;
      for (std::int64_t slices = 1; progress == native::wasm::Progress::Yielded; ++slices) {
        if (loop.now() >= deadline || slices > slices_max) {
          co_return failed(RunFailure::Kind::timeout,
                           fmt::format("the guest ran longer than {} ms",
                                       limits.time_max / std::chrono::milliseconds(1)));
        }
        if (!co_await runtime::yield()) {
          co_return failed(RunFailure::Kind::cancelled, "cancelled");
        }
        progress = run->poll();
      }
    }
    co_return outcome_of(*run, progress);
  }

  bool has_function(std::string_view export_name) const override {
    return find(export_name).has_value();
  }

  Result<Bytes> serialize() const override {
    try {
      const auto artefact = module_->serialize();
      return Bytes(artefact.begin(), artefact.end());
    } catch (const rust::Error& e) {
      return fail(ErrorCode::internal, std::string("serialize a module: ") + e.what());
    }
  }

 private:
  using Loop = runtime::Loop;

  std::optional<std::uint32_t> find(std::string_view name) const {
    const auto it = std::ranges::lower_bound(
        exports_, name, {}, [](const auto& e) -> std::string_view { return e.first; });
    if (it == exports_.end() || it->first != name) return std::nullopt;
    return it->second;
  }

  rust::Box<native::wasm::Module> module_;
  std::vector<std::pair<std::string, std::uint32_t>> exports_;  // by name
};

class WasmtimeEngine final : public Engine {
 public:
  explicit WasmtimeEngine(rust::Box<native::wasm::Engine> engine)
      : engine_(std::move(engine)), compatibility_(std::string(engine_->compatibility())) {}

  Result<std::shared_ptr<const Module>> compile(BytesView wasm, Effort effort) override {
    if (wasm.size() > kModuleBytesMax) {
      return fail(ErrorCode::resource_exhausted,
                  fmt::format("the module has {} bytes, at most {} are compiled", wasm.size(),
                              kModuleBytesMax));
    }
    try {
      return std::make_shared<const WasmtimeModule>(
          engine_->compile(slice_of(wasm), effort == Effort::quick));
    } catch (const rust::Error& e) {
      return fail(ErrorCode::invalid_argument, e.what());
    }
  }
  Result<std::shared_ptr<const Module>> load(BytesView artefact) override {
    try {
      return std::make_shared<const WasmtimeModule>(engine_->load(slice_of(artefact)));
    } catch (const rust::Error& e) {
      return fail(ErrorCode::invalid_argument, e.what());
    }
  }
  std::string compatibility() const override { return compatibility_; }

 private:
  rust::Box<native::wasm::Engine> engine_;
  std::string compatibility_;
};

}  // namespace

Result<std::unique_ptr<Engine>> make_wasmtime_engine(std::span<const HostFunction> functions,
                                                     WasmtimeOptions options) {
  std::vector<native::wasm::Import> imports;
  imports.reserve(functions.size());
  for (const HostFunction& f : functions) {
    if (!f.function) return fail(ErrorCode::invalid_argument, f.module + "." + f.name + " is null");
    imports.push_back(import_of(f));
  }
  try {
    return std::make_unique<WasmtimeEngine>(native::wasm::new_engine(
        {options.runs_max, options.accept_text}, reinterpret_cast<std::size_t>(&tau_vm_dispatch),
        rust::Slice<const native::wasm::Import>(imports.data(), imports.size())));
  } catch (const rust::Error& e) {
    return fail(ErrorCode::failed_precondition, std::string("start the wasm engine: ") + e.what());
  }
}

}  // namespace tau::vm
