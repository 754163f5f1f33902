// Modules made to hurt: each is refused when it is compiled, or ends within its limits; an ordinary
// one beside it always runs.
#include <gtest/gtest.h>

#include <string>

#include "runtime/loop.h"
#include "runtime/task_group.h"
#include "vm/wasmtime/engine.h"

namespace tau::vm {
namespace {

using Outcome = std::expected<RunTimes, RunFailure>;
using Kind = RunFailure::Kind;
using namespace std::chrono_literals;

class HostileModules : public ::testing::Test {
 protected:
  HostileModules()
      : engine_(make_wasmtime_engine({}, {.runs_max = 8, .accept_text = true}).value()),
        ordinary_(*engine_->compile(
            as_bytes(R"((module (memory 1) (func (export "f") (param i32))))"), Effort::full)) {}
  ~HostileModules() override { EXPECT_TRUE(run(*ordinary_)) << "somebody else's module"; }

  Outcome run(const Module& module, RunLimits limits = {}) {
    return runtime::block_on(loop_, module.run("f", 0, nullptr, limits));
  }
  // How it ends; start_failed for one that is not compiled.
  RunFailure fate(const std::string& text, RunLimits limits = {.time_max = 200ms}) {
    const auto module = engine_->compile(as_bytes(text), Effort::full);
    if (!module) return {Kind::start_failed, module.error().message(), ""};
    const Outcome outcome = run(**module, limits);
    if (outcome) return {Kind::exit_code, "it ran", ""};
    return outcome.error();
  }
  static std::string repeated(std::size_t times, const std::string& piece) {
    std::string out;
    for (std::size_t i = 0; i < times; ++i) out += piece;
    return out;
  }

  runtime::RealLoop loop_;
  std::unique_ptr<Engine> engine_;
  std::shared_ptr<const Module> ordinary_;
};

TEST_F(HostileModules, AnEndlessBeginningIsStoppedLikeAnEndlessCall) {
  const std::string f = R"((func (export "f") (param i32)))";
  EXPECT_EQ(fate("(module (func $s (loop (br 0))) (start $s)" + f + ")").kind, Kind::timeout);
  EXPECT_EQ(fate(R"((module (func (export "_initialize") (loop (br 0))))" + f + ")").kind,
            Kind::timeout);
  EXPECT_EQ(fate(R"((module (func (export "_start") (loop (br 0))))" + f + ")").kind,
            Kind::timeout);
  EXPECT_EQ(fate("(module (func $s unreachable) (start $s)" + f + ")").kind, Kind::start_failed);
}

TEST_F(HostileModules, TablesAreBounded) {
  const std::string f = R"((func (export "f") (param i32)))";
  EXPECT_EQ(fate("(module (table 10000000 funcref)" + f + ")").kind, Kind::start_failed);
  // It grows to the bound, sees -1, and goes on.
  const RunFailure grown = fate(R"((module (table $t 1 funcref) (func (export "f") (param i32)
    (loop (br_if 0 (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
    (if (i32.gt_u (table.size $t) (i32.const 1000000)) (then unreachable)))))");
  EXPECT_EQ(grown.message, "it ran");
}

TEST_F(HostileModules, MemoryIsBoundedHoweverItIsAskedFor) {
  const RunLimits limits{.memory_bytes_max = 1u << 20, .time_max = 200ms};
  const std::string f = R"((func (export "f") (param i32)))";
  EXPECT_EQ(fate("(module (memory 65536)" + f + ")", limits).kind, Kind::out_of_memory);
  EXPECT_EQ(fate("(module (memory 17)" + f + ")", limits).kind, Kind::out_of_memory);
  for (const char* later : {"(memory i64 1)", "(memory 1) (memory 1)", "(memory 1 1 shared)"})
    EXPECT_EQ(fate("(module " + std::string(later) + f + ")").kind, Kind::start_failed) << later;
}

TEST_F(HostileModules, SizesThatCompilersFearAreRefusedOrTaken) {
  const std::string f = R"((func (export "f") (param i32)))";
  EXPECT_EQ(fate("(module (func " + repeated(60'000, "(local i64)") + ")" + f + ")").kind,
            Kind::start_failed)
      << "more locals than the specification's implementations allow";
  EXPECT_EQ(fate("(module" + repeated(5'000, "(func)") + f + ")").message, "it ran");
  EXPECT_EQ(
      fate("(module (memory 1)" + repeated(5'000, "(data (i32.const 0) \"x\")") + f + ")").message,
      "it ran");
  EXPECT_EQ(fate("(module (func (param i32) (block (br_table" + repeated(10'000, " 0") +
                 " (local.get 0))))" + f + ")")
                .message,
            "it ran");
  EXPECT_EQ(fate("(module" + repeated(2'000, "(global (mut i64) (i64.const 0))") + f + ")").message,
            "it ran");
}

TEST_F(HostileModules, RecursionThroughATableIsStopped) {
  const RunFailure deep = fate(R"((module (table 1 funcref) (elem (i32.const 0) $f)
    (type $t (func (param i32)))
    (func $f (export "f") (param i32) (local i64 i64 i64 i64)
      (call_indirect (type $t) (local.get 0) (i32.const 0)) (local.set 1 (i64.const 1)))))");
  EXPECT_EQ(deep.kind, Kind::trap);
  EXPECT_NE(deep.message.find("call stack exhausted"), std::string::npos) << deep.message;
}

TEST_F(HostileModules, NamesDoNotMakeLogsLong) {
  const std::string name(100'000, 'n');
  const RunFailure long_name =
      fate("(module (func $" + name + R"( unreachable) (func (export "f") (param i32) (call $)" +
           name + ")))");
  EXPECT_EQ(long_name.kind, Kind::trap);
  EXPECT_LT(long_name.message.size() + long_name.backtrace.size(), 10'000u);
  const RunFailure import = fate("(module (import \"" + name + "\" \"" + name + "\" (func)))");
  EXPECT_EQ(import.kind, Kind::start_failed);
  EXPECT_LT(import.message.size(), 2'000u);
}

Task<void> run_into(const Module& module, RunLimits limits, int& ended) {
  (void)co_await module.run("f", 0, nullptr, limits);
  ++ended;
}

TEST_F(HostileModules, BusyGuestsShareTheLoopWithQuickOnes) {
  const auto busy = *engine_->compile(
      as_bytes(R"((module (func (export "f") (param i32) (loop (br 0)))))"), Effort::full);
  runtime::TaskGroup group(loop_);
  int ended = 0;
  for (int i = 0; i < 7; ++i) group.spawn(run_into(*busy, {.time_max = 10s}, ended));
  const TimePoint begun = loop_.now();
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(run(*ordinary_));
  // Each waits for one turn of each busy one, of about a millisecond.
  EXPECT_LT(loop_.now() - begun, 5s);
  EXPECT_EQ(ended, 0);
  runtime::block_on(loop_, group.stop());
}

}  // namespace
}  // namespace tau::vm
