// C++ guests, compiled with the SDK as a user would, run in the real engine.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "guest/built_guest.h"
#include "guest/context.h"
#include "guest/host_functions.h"
#include "guest/http_event/exchange.h"
#include "runtime/loop.h"
#include "vm/wasmtime/engine.h"

namespace tau::guest {
namespace {

using Outcome = std::expected<vm::RunTimes, vm::RunFailure>;
using Kind = vm::RunFailure::Kind;

class CppGuest : public testing::Test {
 protected:
  static vm::Engine& engine() {
    static const auto engine = vm::make_wasmtime_engine(host_functions(), {.runs_max = 8}).value();
    return *engine;
  }
  static std::shared_ptr<const vm::Module> module_of(const std::string& name) {
    static std::map<std::string, std::shared_ptr<const vm::Module>> built;
    auto& module = built[name];
    if (!module) module = engine().compile(built_guest(name), vm::Effort::full).value();
    return module;
  }
  Outcome run(const vm::Module& module, std::string_view name, HttpExchange& exchange,
              vm::RunLimits limits = {}) {
    Context context{.clock = loop_, .random = random_, .log = log_, .http = &exchange};
    return runtime::block_on(loop_, module.run(name, context.event_id, &context, limits));
  }

  runtime::VirtualLoop loop_{1'700'000'000'123};
  SeededRandom random_{1};
  LogSink log_;
};

TEST_F(CppGuest, OfTheTemplateAnswersPong) {
  HttpExchange exchange({});
  const auto outcome = run(*module_of("template"), "ping", exchange);
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(exchange.status(), 200);
  EXPECT_EQ(exchange.body(), "pong");
  ASSERT_EQ(exchange.headers().size(), 1u);
  EXPECT_EQ(exchange.headers()[0].name, "Content-Type");
  EXPECT_EQ(exchange.headers()[0].value, "text/plain; charset=utf-8");
  EXPECT_EQ(log_.text(), "");
}

TEST_F(CppGuest, SeesTheWholeRequestAndItsPrintsAreLogged) {
  const HttpHeaderView headers[] = {
      {"host", "h"}, {"x-sent", "a"}, {"X-SENT", "b"}, {"Accept", "c"}};
  const std::string body(10'000, 'z');
  HttpExchange exchange({.method = "POST",
                         .host = "hello.test:1",
                         .path = "/a b",
                         .query = "k=1+2&k=3&%C3%A9=%26&bad=%zz",
                         .headers = headers,
                         .body = as_bytes(body)});
  const auto outcome = run(*module_of("echo"), "echo", exchange);
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(exchange.body(),
            "POST hello.test:1 /a b\nheader X-Sent: a\nheader Accept: c\nquery k: 1 2\n"
            "query \xC3\xA9: &\nbody " +
                body + "\n");
  EXPECT_EQ(log_.text(), "POST /a b\nhost hello.test:1\n");
  ASSERT_EQ(exchange.headers().size(), 2u);
  EXPECT_EQ(exchange.headers()[0].value, "a");
  EXPECT_EQ(exchange.headers()[1].value, "text/plain; charset=utf-8");
}

TEST_F(CppGuest, ReadsTheClockAndTheChanceOfItsNode) {
  std::vector<std::string> answers;
  for (int i = 0; i < 2; ++i) {
    HttpExchange exchange({});
    ASSERT_TRUE(run(*module_of("echo"), "world", exchange));
    EXPECT_TRUE(exchange.body().starts_with("1700000000123 ")) << exchange.body();
    answers.push_back(exchange.body());
  }
  EXPECT_NE(answers[0], answers[1]);
}

TEST_F(CppGuest, Redirects) {
  HttpExchange exchange({.path = "/shop/cart"});
  ASSERT_TRUE(run(*module_of("echo"), "moved", exchange));
  EXPECT_EQ(exchange.status(), 302);
  EXPECT_EQ(exchange.headers()[0].value, "/shop/elsewhere?x=1");
  EXPECT_EQ(exchange.body(), "<a href=\"/shop/elsewhere?x=1\">Found</a>.\n\n");
}

TEST_F(CppGuest, KeepsNothingBetweenRequests) {
  for (int i = 0; i < 100; ++i) {
    HttpExchange exchange({});
    ASSERT_TRUE(run(*module_of("echo"), "count", exchange));
    ASSERT_EQ(exchange.body(), "1");
  }
}

TEST_F(CppGuest, ThatTrapsIsExplainedByNames) {
  HttpExchange exchange({.path = "/article"});
  const auto outcome = run(*module_of("trap"), "divide", exchange);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().kind, Kind::trap);
  EXPECT_NE(outcome.error().message.find("divide by zero"), std::string::npos);
  EXPECT_NE(outcome.error().backtrace.find("shop::price_of("), std::string::npos)
      << outcome.error().backtrace;
}

TEST_F(CppGuest, ThatDevoursMemoryIsStoppedAtItsLimit) {
  HttpExchange exchange({});
  const auto outcome = run(*module_of("trap"), "devour", exchange, {.memory_bytes_max = 16u << 20});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().kind, Kind::out_of_memory) << outcome.error().message;
}

TEST_F(CppGuest, ThatRecursesWithoutEndTraps) {
  HttpExchange exchange({});
  const auto outcome = run(*module_of("trap"), "recurse", exchange);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().kind, Kind::trap) << outcome.error().message;
}

}  // namespace
}  // namespace tau::guest
