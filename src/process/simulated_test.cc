#include "process/simulated.h"

#include <gtest/gtest.h>

#include "runtime/loop.h"

namespace tau::process {
namespace {

Task<Result<Exit>> say_hello(const Command&, OutputSink& sink) {
  CO_TRY_STATUS(runtime::sleep_for(std::chrono::seconds(5)));
  sink(Output::standard_output, as_bytes("hello"));
  co_return Exit{};
}

TEST(SimulatedRunner, RunsItsScriptAndKeepsTimeLimits) {
  runtime::VirtualLoop loop;
  SimulatedRunner runner;
  runner.on("hello", say_hello);
  Command command;
  command.argv = {"hello"};
  std::string said;
  const OutputSink sink = [&](Output, BytesView bytes) { said += as_text(bytes); };
  const auto exit = runtime::block_on(loop, runner.run(command, sink));
  ASSERT_TRUE(exit) << exit.error().to_string();
  EXPECT_EQ(exit->code, 0);
  EXPECT_EQ(said, "hello");

  command.limits.wall_time_max = std::chrono::seconds(1);
  const auto late = runtime::block_on(loop, runner.run(command, sink));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code(), ErrorCode::deadline_exceeded);
}

TEST(SimulatedRunner, RefusesSandboxesWhenTold) {
  runtime::VirtualLoop loop;
  SimulatedRunner runner;
  runner.on("hello", say_hello);
  runner.refuse_sandboxes("no namespaces");
  Command command;
  command.argv = {"hello"};
  command.sandbox.emplace();
  const auto exit = runtime::block_on(loop, runner.run(command, {}));
  ASSERT_FALSE(exit);
  EXPECT_EQ(exit.error().code(), ErrorCode::failed_precondition);
}

}  // namespace
}  // namespace tau::process
