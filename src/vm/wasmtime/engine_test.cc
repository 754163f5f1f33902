#include "vm/wasmtime/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "runtime/loop.h"
#include "runtime/task_group.h"

namespace tau::vm {
namespace {

using Outcome = std::expected<RunTimes, RunFailure>;
using Kind = RunFailure::Kind;
using namespace std::chrono_literals;

struct Seen {
  std::vector<std::uint64_t> numbers;
  std::string text;
};

HostOutcome note(HostCall& call, const std::uint64_t* arguments, std::uint64_t* result) {
  static_cast<Seen*>(call.context)->numbers.push_back(arguments[0]);
  *result = arguments[0] + 1;
  return HostOutcome::returned;
}
HostOutcome say(HostCall& call, const std::uint64_t* arguments, std::uint64_t*) {
  if (arguments[0] + arguments[1] > call.memory.size()) return HostOutcome::trapped;
  static_cast<Seen*>(call.context)
      ->text.append(reinterpret_cast<const char*>(call.memory.data()) + arguments[0], arguments[1]);
  return HostOutcome::returned;
}
HostOutcome leave(HostCall&, const std::uint64_t* arguments, std::uint64_t* result) {
  *result = arguments[0];
  return HostOutcome::exited;
}
HostOutcome mix(HostCall& call, const std::uint64_t* arguments, std::uint64_t* result) {
  auto& seen = *static_cast<Seen*>(call.context);
  for (int i = 0; i < 4; ++i) seen.numbers.push_back(arguments[i]);
  *result = 0x8000'0000'0000'0001;
  return HostOutcome::returned;
}

std::vector<HostFunction> functions() {
  using enum ValueType;
  return {{"host", "note", {i64}, i64, &note},
          {"host", "say", {i32, i32}, std::nullopt, &say},
          {"host", "leave", {i32}, std::nullopt, &leave},
          {"host", "mix", {i32, i64, f32, f64}, i64, &mix}};
}

std::unique_ptr<Engine> make(std::uint32_t runs_max = 16) {
  return make_wasmtime_engine(functions(), {.runs_max = runs_max, .accept_text = true}).value();
}

std::shared_ptr<const Module> compile(Engine& engine, std::string_view text) {
  auto module = engine.compile(as_bytes(text), Effort::full);
  if (!module) throw std::runtime_error(module.error().to_string());
  return *module;
}

Outcome run(const Module& module, std::string_view name, Seen& seen, RunLimits limits = {}) {
  runtime::RealLoop loop;
  return runtime::block_on(loop, module.run(name, 7, &seen, limits));
}

constexpr std::string_view kEndless = R"((module (func (export "f") (param i32) (loop (br 0)))))";

TEST(WasmtimeEngine, CallsTheExportedFunctionWithItsArgumentAndHostFunctionsWithTheContext) {
  const auto engine = make();
  const auto module = compile(*engine, R"((module
    (import "host" "note" (func $note (param i64) (result i64)))
    (import "host" "say" (func $say (param i32 i32)))
    (memory (export "memory") 1) (data (i32.const 100) "hello")
    (func (export "f") (param i32) (result i32)
      (drop (call $note (call $note (i64.extend_i32_u (local.get 0)))))
      (call $say (i32.const 100) (i32.const 5)) (i32.const 0))))");
  Seen seen;
  const auto outcome = run(*module, "f", seen);
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(seen.numbers, (std::vector<std::uint64_t>{7, 8}));
  EXPECT_EQ(seen.text, "hello");
  EXPECT_GT(outcome->instantiate.count(), 0);
}

TEST(WasmtimeEngine, PassesAllFourValueTypesAsCells) {
  const auto engine = make();
  const auto module = compile(*engine, R"((module
    (import "host" "mix" (func $mix (param i32 i64 f32 f64) (result i64)))
    (import "host" "note" (func $note (param i64) (result i64)))
    (func (export "f") (param i32)
      (drop (call $note (call $mix
        (i32.const -1) (i64.const -1) (f32.const 1) (f64.const 1)))))))");
  Seen seen;
  ASSERT_TRUE(run(*module, "f", seen));
  EXPECT_EQ(seen.numbers,
            (std::vector<std::uint64_t>{0xFFFF'FFFF, ~0ull, 0x3F80'0000, 0x3FF0'0000'0000'0000,
                                        0x8000'0000'0000'0001}));
}

TEST(WasmtimeEngine, NamesEveryImportThatItDoesNotOffer) {
  const auto engine = make();
  const auto module = engine->compile(as_bytes(R"((module (import "a" "b" (func))
    (import "host" "note" (func (param i64) (result i64))) (import "c" "d" (func))))"),
                                      Effort::full);
  ASSERT_FALSE(module);
  EXPECT_EQ(module.error().code(), ErrorCode::invalid_argument);
  EXPECT_NE(module.error().message().find("a.b, c.d"), std::string::npos)
      << module.error().message();
}

TEST(WasmtimeEngine, RefusesAnImportOfAnotherType) {
  const auto engine = make();
  const auto module = engine->compile(
      as_bytes(R"((module (import "host" "note" (func (param i32)))))"), Effort::full);
  ASSERT_FALSE(module);
  EXPECT_NE(module.error().message().find("note"), std::string::npos) << module.error().message();
}

TEST(WasmtimeEngine, RefusesBytesThatAreNoModule) {
  const auto engine = make();
  for (const std::string_view bytes : {"", "\0asm", "pong", "\0asm\1\0\0\0\xff\xff\xff"}) {
    EXPECT_FALSE(engine->compile(as_bytes(bytes), Effort::full));
    EXPECT_FALSE(engine->compile(as_bytes(bytes), Effort::quick));
  }
}

TEST(WasmtimeEngine, RefusesTheTextFormatUnlessAsked) {
  const auto engine = make_wasmtime_engine(functions(), {.runs_max = 1}).value();
  EXPECT_FALSE(engine->compile(as_bytes("(module)"), Effort::full));
  EXPECT_FALSE(engine->compile(as_bytes("(module)"), Effort::quick));
}

TEST(WasmtimeEngine, KnowsWhichExportsTakeAnEvent) {
  const auto engine = make();
  const auto module = compile(*engine, R"((module
    (func (export "a") (param i32)) (func (export "b") (param i32) (result i32) (i32.const 0))
    (func (export "c")) (func (export "d") (param i64)) (memory (export "e") 1)))");
  EXPECT_TRUE(module->has_function("a"));
  EXPECT_TRUE(module->has_function("b"));
  for (const char* name : {"c", "d", "e", "", "aa"}) EXPECT_FALSE(module->has_function(name));
  Seen seen;
  const auto outcome = run(*module, "c", seen);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().kind, Kind::start_failed);
}

TEST(WasmtimeEngine, StopsAnEndlessLoopAtItsTimeLimit) {
  const auto engine = make();
  const auto module = compile(*engine, kEndless);
  Seen seen;
  const auto begun = std::chrono::steady_clock::now();
  const auto outcome = run(*module, "f", seen, {.time_max = 50ms});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().kind, Kind::timeout);
  EXPECT_EQ(outcome.error().message, "the guest ran longer than 50 ms");
  EXPECT_GE(std::chrono::steady_clock::now() - begun, 50ms);
}

TEST(WasmtimeEngine, StopsAnEndlessLoopWhereTimeIsSimulated) {
  const auto engine = make();
  const auto module = compile(*engine, kEndless);
  runtime::VirtualLoop loop;
  const auto outcome = runtime::block_on(loop, module->run("f", 0, nullptr, {.time_max = 20ms}));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().kind, Kind::timeout);
}

Task<void> run_into(const Module& module, RunLimits limits, Seen& seen,
                    std::vector<Outcome>& outcomes) {
  outcomes.push_back(co_await module.run("f", 0, &seen, limits));
}

TEST(WasmtimeEngine, LetsOthersRunBesideABusyGuest) {
  const auto engine = make();
  const auto busy = compile(*engine, kEndless);
  const auto quick = compile(*engine, R"((module (func (export "f") (param i32))))");
  runtime::RealLoop loop;
  runtime::TaskGroup group(loop);
  std::vector<Outcome> slow, fast;
  Seen seen;
  group.spawn(run_into(*busy, {.time_max = 10s}, seen, slow));
  EXPECT_TRUE(slow.empty());
  for (int i = 0; i < 10; ++i) group.spawn(run_into(*quick, {}, seen, fast));
  EXPECT_EQ(fast.size(), 10u);
  runtime::block_on(loop, group.stop());
  ASSERT_EQ(slow.size(), 1u);
  EXPECT_EQ(slow[0].error().kind, Kind::cancelled);
}

TEST(WasmtimeEngine, SaysWhenAllSlotsAreTaken) {
  const auto engine = make(1);
  const auto busy = compile(*engine, R"((module (memory 1) (func (export "f") (param i32)
    (loop (br 0)))))");
  runtime::RealLoop loop;
  runtime::TaskGroup group(loop);
  std::vector<Outcome> outcomes;
  Seen seen;
  group.spawn(run_into(*busy, {.time_max = 10s}, seen, outcomes));
  group.spawn(run_into(*busy, {.time_max = 10s}, seen, outcomes));
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].error().kind, Kind::overloaded) << outcomes[0].error().message;
  runtime::block_on(loop, group.stop());
  // The slot of the cancelled run is free again.
  const auto quick = compile(*engine, R"((module (memory 1) (func (export "f") (param i32))))");
  EXPECT_TRUE(run(*quick, "f", seen));
}

TEST(WasmtimeEngine, RefusesMemoryAboveTheLimitAndSaysSo) {
  const auto engine = make();
  const auto module = compile(*engine, R"((module (memory 1)
    (func (export "f") (param i32)
      (loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable))
    (func (export "modest") (param i32)
      (if (i32.ne (memory.grow (i32.const 1000)) (i32.const -1)) (then (unreachable))))))");
  Seen seen;
  const auto outcome = run(*module, "f", seen, {.memory_bytes_max = 4u << 20});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().kind, Kind::out_of_memory);
  EXPECT_NE(outcome.error().message.find("its limit is 4194304"), std::string::npos)
      << outcome.error().message;
  // A guest that can do without is not at fault.
  EXPECT_TRUE(run(*module, "modest", seen, {.memory_bytes_max = 4u << 20}));
}

TEST(WasmtimeEngine, RefusesAModuleWhoseFirstMemoryIsAboveTheLimit) {
  const auto engine = make();
  const auto module = compile(*engine, R"((module (memory 100) (func (export "f") (param i32))))");
  Seen seen;
  const auto outcome = run(*module, "f", seen, {.memory_bytes_max = 1u << 20});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().kind, Kind::out_of_memory) << outcome.error().message;
}

TEST(WasmtimeEngine, TellsWhereItTrapped) {
  const auto engine = make();
  const auto module = compile(*engine, R"((module
    (memory 1)
    (func $_ZN4shop8checkoutEi (param i32) (drop (i32.load (i32.const -8))))
    (func $serve (export "f") (param i32) (call $_ZN4shop8checkoutEi (local.get 0)))))");
  Seen seen;
  const auto outcome = run(*module, "f", seen);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().kind, Kind::trap);
  EXPECT_NE(outcome.error().message.find("out of bounds memory access"), std::string::npos);
  const std::string& trace = outcome.error().backtrace;
  EXPECT_NE(trace.find("shop::checkout(int)\n"), std::string::npos) << trace;
  EXPECT_NE(trace.find("serve"), std::string::npos) << trace;
  EXPECT_EQ(trace.find("unknown"), std::string::npos) << trace;
}

TEST(WasmtimeEngine, StopsARecursionWithoutEnd) {
  const auto engine = make();
  const auto module =
      compile(*engine,
              R"((module (func $f (export "f") (param i32) (call $f (local.get 0)) (drop (call $g)))
      (func $g (result i32) (i32.const 1))))");
  Seen seen;
  for (int i = 0; i < 50; ++i) {
    const auto outcome = run(*module, "f", seen);
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().kind, Kind::trap);
    EXPECT_NE(outcome.error().message.find("call stack exhausted"), std::string::npos);
    EXPECT_LT(outcome.error().backtrace.size(), 10'000u);
  }
}

TEST(WasmtimeEngine, RunsInitializeBeforeEveryCall) {
  const auto engine = make();
  const auto module = compile(*engine, R"((module
    (import "host" "note" (func $note (param i64) (result i64)))
    (global $g (mut i64) (i64.const 0))
    (func (export "_initialize") (global.set $g (i64.add (global.get $g) (i64.const 5))))
    (func (export "f") (param i32)
      (drop (call $note (global.get $g))) (global.set $g (i64.const 9)))))");
  Seen seen;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(run(*module, "f", seen));
  EXPECT_EQ(seen.numbers, (std::vector<std::uint64_t>{5, 5, 5}));
}

TEST(WasmtimeEngine, TakesExitZeroOfACommandAsItsReturn) {
  const auto engine = make();
  const auto module = compile(*engine, R"((module
    (import "host" "leave" (func $leave (param i32)))
    (import "host" "note" (func $note (param i64) (result i64)))
    (func (export "_start") (drop (call $note (i64.const 1))) (call $leave (i32.const 0))
      unreachable)
    (func (export "f") (param i32) (drop (call $note (i64.const 2))))
    (func (export "leaves") (param i32) (call $leave (i32.const 3)))))");
  Seen seen;
  const auto outcome = run(*module, "f", seen);
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(seen.numbers, (std::vector<std::uint64_t>{1, 2}));
  const auto left = run(*module, "leaves", seen);
  ASSERT_FALSE(left);
  EXPECT_EQ(left.error().kind, Kind::exit_code);
  EXPECT_EQ(left.error().message, "the guest exited with code 3");
}

TEST(WasmtimeEngine, FailsTheStartOfAModuleWhoseInitializationTraps) {
  const auto engine = make();
  Seen seen;
  for (const char* name : {"_initialize", "_start"}) {
    const auto module = compile(*engine, std::string("(module (func (export \"") + name +
                                             "\") unreachable) (func (export \"f\") (param i32)))");
    const auto outcome = run(*module, "f", seen);
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().kind, Kind::start_failed);
  }
}

TEST(WasmtimeEngine, EndsTheRunWhenAHostFunctionRefuses) {
  const auto engine = make();
  const auto module = compile(*engine, R"((module (import "host" "say" (func $say (param i32 i32)))
    (func (export "f") (param i32) (call $say (i32.const 0) (i32.const 1)))))");
  Seen seen;
  const auto outcome = run(*module, "f", seen);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().kind, Kind::trap);
  EXPECT_NE(outcome.error().message.find("host.say"), std::string::npos);
}

// Dirties every page of its memory, a table and a global, after it looked for what another run
// left.
constexpr std::string_view kHunter = R"((module
  (import "host" "note" (func $note (param i64) (result i64)))
  (memory (export "memory") 40) (table $t 100 funcref)
  (global $g (mut i32) (i32.const 0)) (data (i32.const 16) "fresh")
  (elem $e declare func $mark) (func $mark)
  (func (export "f") (param $argument i32) (local $p i32) (local $bad i64)
    (local.set $p (i32.const 4096))
    (loop $next
      (if (i32.load (local.get $p)) (then (local.set $bad (i64.const 1))))
      (i32.store (local.get $p) (i32.const 7))
      (local.set $p (i32.add (local.get $p) (i32.const 4096)))
      (br_if $next (i32.lt_u (local.get $p) (i32.const 2600000))))
    (if (i32.ne (i32.load8_u (i32.const 16)) (i32.const 102)) (then (local.set $bad (i64.const 2))))
    (if (global.get $g) (then (local.set $bad (i64.const 3))))
    (if (i32.eqz (ref.is_null (table.get $t (i32.const 50)))) (then (local.set $bad (i64.const 4))))
    (if (i32.ne (memory.size) (i32.const 40)) (then (local.set $bad (i64.const 5))))
    (drop (call $note (local.get $bad)))
    (i32.store8 (i32.const 16) (i32.const 88)) (global.set $g (i32.const 1))
    (table.set $t (i32.const 50) (ref.func $mark))
    (drop (memory.grow (i32.const 1)))
    (if (local.get $argument) (then (unreachable))))))";

TEST(WasmtimeEngine, GivesEveryRunAFreshInstance) {
  const auto engine = make();
  const auto hunter = compile(*engine, kHunter);
  const auto other = compile(*engine, R"((module (memory 2) (data (i32.const 4096) "other")
    (func (export "f") (param i32) (i32.store (i32.const 70000) (i32.const -1)))))");
  runtime::RealLoop loop;
  Seen seen;
  constexpr std::size_t kRuns = 2000;
  for (std::size_t i = 0; i < kRuns; ++i) {
    (void)runtime::block_on(loop, hunter->run("f", i % 3 == 0, &seen, {}));  // some trap
    if (i % 5 == 0) (void)runtime::block_on(loop, other->run("f", 0, &seen, {}));
  }
  EXPECT_EQ(seen.numbers, std::vector<std::uint64_t>(kRuns, 0));
}

TEST(WasmtimeEngine, RunsTheSameModuleOnManyThreads) {
  const auto engine = make();
  const auto hunter = compile(*engine, kHunter);
  std::array<Seen, 4> seen;
  std::latch start(4);
  {
    std::vector<std::jthread> threads;
    for (Seen& mine : seen) {
      threads.emplace_back([&] {
        runtime::RealLoop loop;
        start.arrive_and_wait();
        for (int i = 0; i < 100; ++i) (void)runtime::block_on(loop, hunter->run("f", 0, &mine, {}));
      });
    }
  }
  for (const Seen& s : seen) EXPECT_EQ(s.numbers, std::vector<std::uint64_t>(100, 0));
}

TEST(WasmtimeEngine, KeepsAModuleUsableAfterTheEngineIsGone) {
  auto engine = make();
  const auto endless = compile(*engine, kEndless);
  engine.reset();
  Seen seen;
  EXPECT_EQ(run(*endless, "f", seen, {.time_max = 20ms}).error().kind, Kind::timeout);
}

constexpr std::string_view kAdder = R"((module
  (import "host" "note" (func $note (param i64) (result i64)))
  (memory (export "memory") 1) (data (i32.const 0) "\05")
  (func (export "f") (param i32)
    (drop (call $note (i64.extend_i32_u (i32.add (local.get 0) (i32.load8_u (i32.const 0)))))))))";

TEST(WasmtimeEngine, RunsWhatWasCompiledQuicklyAsWhatWasCompiledWell) {
  const auto engine = make();
  for (const Effort effort : {Effort::quick, Effort::full}) {
    const auto module = engine->compile(as_bytes(kAdder), effort);
    ASSERT_TRUE(module) << module.error().message();
    Seen seen;
    ASSERT_TRUE(run(**module, "f", seen));
    EXPECT_EQ(seen.numbers, (std::vector<std::uint64_t>{12}));
  }
}

TEST(WasmtimeEngine, LoadsWhatAnotherEngineOfTheSameKindCompiled) {
  const auto one = make(), other = make(3);
  ASSERT_EQ(one->compatibility(), other->compatibility());
  for (const Effort effort : {Effort::quick, Effort::full}) {
    const Bytes artifact = (*one->compile(as_bytes(kAdder), effort))->serialize().value();
    const auto module = other->load(artifact);
    ASSERT_TRUE(module) << module.error().message();
    EXPECT_TRUE((*module)->has_function("f"));
    Seen seen;
    ASSERT_TRUE(run(**module, "f", seen));
    EXPECT_EQ(seen.numbers, (std::vector<std::uint64_t>{12}));
    EXPECT_EQ((*module)->serialize().value(), artifact);
  }
}

TEST(WasmtimeEngine, LoadsNothingThatWasCutOrOfAnotherVersion) {
  const auto engine = make();
  const Bytes artifact = compile(*engine, kAdder)->serialize().value();
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{8}, artifact.size() / 2}) {
    const auto module = engine->load(BytesView(artifact).first(bytes));
    ASSERT_FALSE(module) << bytes;
    EXPECT_EQ(module.error().code(), ErrorCode::invalid_argument);
  }
  Bytes of_another = artifact;
  const std::string_view version =
      "\x02"
      "48";  // with its length: wasmtime's major version
  const auto at = std::ranges::search(of_another, version);
  ASSERT_FALSE(at.empty()) << "compiled code names its engine's version";
  at[2] = '7';
  const auto module = engine->load(of_another);
  ASSERT_FALSE(module);
  EXPECT_NE(module.error().message().find("version"), std::string::npos)
      << module.error().message();
  EXPECT_FALSE(engine->load(as_bytes(kAdder))) << "source is no machine code";
}

TEST(WasmtimeEngine, LoadsNothingThatImportsWhatItLacks) {
  const auto rich = make();
  const auto poor = make_wasmtime_engine({}, {.runs_max = 1}).value();
  const auto module = poor->load(compile(*rich, kAdder)->serialize().value());
  ASSERT_FALSE(module);
  EXPECT_NE(module.error().message().find("host.note"), std::string::npos)
      << module.error().message();
}

}  // namespace
}  // namespace tau::vm
