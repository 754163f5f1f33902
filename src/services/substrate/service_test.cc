#include "services/substrate/service.h"

#include <gtest/gtest.h>

#include <thread>

#include "net/simulated.h"
#include "net/sockets.h"
#include "p2p/simulated/network.h"
#include "services/substrate/service_scenario.h"

namespace tau::substrate {
namespace {

using namespace std::chrono_literals;
using runtime::block_on;
using scenario::function;

class Substrate : public testing::Test {
 protected:
  Substrate()
      : world_(
            loop_,
            [this](const crypto::KeyPair& key, p2p::Admission admission) {
              return std::make_unique<p2p::simulated::SimulatedHost>(
                  peers_, codec::peer_id_of(key.public_key()), std::move(admission), Logger());
            },
            sockets_.host("127.0.0.1"), {{loop_, sockets_.host("127.0.0.1")}}, 0, engine_) {
    const Status started = block_on(loop_, world_.start());
    EXPECT_TRUE(started) << started.error().to_string();
  }
  ~Substrate() override { block_on(loop_, world_.stop()); }

  codec::Cid module(std::string script) { return *block_on(loop_, world_.module(script)); }
  void deploy(std::vector<project::DeployedFunction> functions) {
    const Status done = block_on(loop_, world_.deploy(std::move(functions)));
    ASSERT_TRUE(done) << done.error().to_string();
  }
  http::Response call(std::string method, std::string path, std::string body = {},
                      std::string host = "hello.test.localhost", http::Headers headers = {}) {
    auto r = block_on(loop_, world_.call(method, path, body, host, headers));
    EXPECT_TRUE(r) << (r ? "" : r.error().to_string());
    return r ? *r : http::Response{};
  }
  template <class C>
  Result<typename C::Response> ask(typename C::Request request) {
    return block_on(loop_, world_.members_[2].caller.call<C>(world_.members_[0].identity.id(),
                                                             kProtocol, std::move(request)));
  }

  runtime::VirtualLoop loop_;
  SeededRandom random_{11};
  p2p::simulated::SimulatedNetwork peers_{loop_, random_};
  net::SimulatedNetwork sockets_{loop_};
  scenario::ScriptEngine engine_;
  scenario::World world_;
};

TEST_F(Substrate, AnswersWithTheFunctionThatIsDeployed) {
  deploy({function("ping", "GET", "/ping", module("say pong")),
          function("post", "POST", "/post", module("echo")),
          function("where", "GET", "/a%20b", module("where"))});
  const auto pong = call("GET", "/ping");
  EXPECT_EQ(pong.status, 200);
  EXPECT_EQ(pong.body, "pong");
  EXPECT_EQ(pong.headers.get("x-module"), "script");
  EXPECT_EQ(call("GET", "/ping?x=1", {}, "HELLO.test.localhost.:80").body, "pong");
  const auto posted = call("POST", "/post", "some body");
  EXPECT_EQ(posted.status, 201);
  EXPECT_EQ(posted.body, "some body");
  EXPECT_EQ(call("GET", "/a%20b").body, "hello.test.localhost /a b");
  const auto head = call("HEAD", "/ping");
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.headers.get("content-length"), "4");
  EXPECT_EQ(head.body, "");
}

TEST_F(Substrate, SaysWhatIsNotThereAndWhatIsAllowed) {
  deploy({function("ping", "GET", "/ping", module("say pong"))});
  const auto other_host = call("GET", "/ping", {}, "other.test.localhost");
  EXPECT_EQ(other_host.status, 404);
  EXPECT_NE(other_host.body.find("nobody's name"), std::string::npos) << other_host.body;
  EXPECT_EQ(call("GET", "/ping", {}, "127.0.0.1:80").status, 404);
  const auto path = call("GET", "/pong");
  EXPECT_EQ(path.status, 404);
  EXPECT_NE(path.body.find("GET /pong"), std::string::npos) << path.body;
  const auto method = call("DELETE", "/ping");
  EXPECT_EQ(method.status, 405);
  EXPECT_EQ(method.headers.get("allow"), "GET, HEAD");
  http::Headers json;
  json.add("accept", "application/json");
  EXPECT_TRUE(call("GET", "/pong", {}, "hello.test.localhost", json)
                  .body.starts_with("{\"error\":{\"code\":\"not_found\""));
}

TEST_F(Substrate, ABodyAboveTheLimitIs413) {
  deploy({function("post", "POST", "/post", module("echo"))});
  EXPECT_EQ(call("POST", "/post", std::string(1000, 'x')).status, 201);
  EXPECT_EQ(call("POST", "/post", std::string(1001, 'x')).status, 413);
}

TEST_F(Substrate, AFailureHasAnIdThatTheLogsKnow) {
  deploy({function("trap", "GET", "/trap", module("trap")),
          function("slow", "GET", "/slow", module("slow")),
          function("busy", "GET", "/busy", module("busy")),
          function("broken", "GET", "/broken", module("broken"))});
  const auto r = call("GET", "/trap");
  EXPECT_EQ(r.status, 500);
  const std::string id(r.headers.get("tau-request-id"));
  ASSERT_FALSE(id.empty());
  EXPECT_NE(r.body.find(id), std::string::npos);
  EXPECT_EQ(r.body.find("unreachable"), std::string::npos) << "details are for the owner";
  const auto logs = ask<ReadLogs>({world_.project, 0, 200, 0});
  ASSERT_TRUE(logs) << logs.error().to_string();
  ASSERT_EQ(logs->lines.size(), 3u);
  EXPECT_EQ(logs->lines[0].text, "before");
  EXPECT_EQ(logs->lines[1].text, "wasm trap: unreachable");
  EXPECT_EQ(logs->lines[2].text, "ping at <wasm>+0x10");
  for (const LogLine& line : logs->lines) {
    EXPECT_EQ(line.request, id);
    EXPECT_EQ(line.function, "trap");
  }
  EXPECT_EQ(logs->lines[2].stream, "failure");
  EXPECT_EQ(call("GET", "/slow").status, 504);
  EXPECT_EQ(call("GET", "/busy").status, 503);
  EXPECT_EQ(call("GET", "/broken").status, 500);
  EXPECT_EQ(call("GET", "/broken").status, 500);
  EXPECT_EQ(engine_.compiled, 4) << "a module that does not compile is not tried each time";
  EXPECT_EQ(ask<Statistics>({})->failures, 5u);
}

TEST_F(Substrate, WhatFunctionsPrintIsInTheLogs) {
  deploy({function("print", "GET", "/print", module("print hello log"))});
  call("GET", "/print");
  call("GET", "/print");
  const auto logs = ask<ReadLogs>({world_.project, 0, 200, 0});
  ASSERT_EQ(logs->lines.size(), 4u);
  EXPECT_EQ(logs->lines[0].text, "hello log");
  EXPECT_EQ(logs->lines[0].stream, "stdout");
  EXPECT_EQ(logs->lines[1].text, "beside it");
  EXPECT_EQ(logs->lines[1].stream, "stderr");
  EXPECT_EQ(logs->lines[0].request, logs->lines[1].request);
  EXPECT_NE(logs->lines[0].request, logs->lines[2].request);
}

TEST_F(Substrate, AFunctionThatPrintsWithoutEndFillsNothing) {
  deploy({function("flood", "GET", "/flood", module("flood")),
          function("ping", "GET", "/ping", module("say pong"))});
  for (int i = 0; i < 100; ++i) EXPECT_EQ(call("GET", "/flood").status, 200);
  EXPECT_EQ(call("GET", "/ping").body, "pong");
  std::size_t bytes = 0;
  std::string last;
  for (std::uint64_t after = 0;;) {
    const auto logs = ask<ReadLogs>({world_.project, after, 1000, 0});
    ASSERT_TRUE(logs) << logs.error().to_string();
    if (logs->lines.empty()) break;
    for (const LogLine& line : logs->lines) bytes += line.text.size();
    after = logs->lines.back().number;
    last = logs->lines.back().text;
  }
  EXPECT_LE(bytes, 1u << 20);
  EXPECT_NE(last.find("more than a request may"), std::string::npos) << last;
}

TEST_F(Substrate, AProjectThatOnlyComputesLeavesRoomForOthers) {
  deploy({function("slow", "GET", "/slow", module("slow")),
          function("ping", "GET", "/ping", module("say pong"))});
  runtime::TaskGroup group(loop_);
  std::map<int, int> statuses;
  for (int i = 0; i < 200; ++i)
    group.spawn([](scenario::World& world, std::map<int, int>& seen) -> Task<void> {
      const auto r = co_await world.call("GET", "/slow");
      ++seen[r ? r->status : 0];
    }(world_, statuses));
  runtime::block_on(loop_, group.join());
  EXPECT_EQ(statuses, (std::map<int, int>{{503, 200 - 128}, {504, 128}}));
  EXPECT_EQ(call("GET", "/ping").body, "pong") << "its share is free again";
}

TEST_F(Substrate, WhoAnnouncesBodiesAndSendsNoneTakesNoRoom) {
  deploy({function("post", "POST", "/post", module("echo"))});
  auto& network = sockets_.host("127.0.0.1");
  std::vector<std::unique_ptr<net::Connection>> announced;
  // The bound for bodies holds 10 of them.
  for (int i = 0; i < 50; ++i) {
    announced.push_back(*block_on(loop_, network.connect(world_.service->endpoints().at(0))));
    const std::string head =
        "POST /post HTTP/1.1\r\nHost: hello.test.localhost\r\nContent-Length: 1000\r\n\r\nx";
    ASSERT_TRUE(block_on(loop_, announced.back()->write(as_bytes(head))));
  }
  EXPECT_EQ(call("POST", "/post", std::string(1000, 'x')).status, 201);
}

TEST_F(Substrate, APushIsServedAtOnceAndNeverPartly) {
  deploy({function("ping", "GET", "/ping", module("say one"))});
  EXPECT_EQ(call("GET", "/ping").body, "one");
  deploy({function("ping", "GET", "/ping", module("say two"))});
  block_on(loop_, runtime::sleep_for(20ms));  // gossip
  EXPECT_EQ(call("GET", "/ping").body, "two");
}

TEST_F(Substrate, WhatIsDeployedStaysServedWhileTnsAndHoardersAreAway) {
  deploy({function("ping", "GET", "/ping", module("say one"))});
  EXPECT_EQ(call("GET", "/ping").body, "one");
  const PeerId me = world_.members_[0].identity.id();
  peers_.partition({{me}});
  for (int i = 0; i < 10; ++i) {
    block_on(loop_, runtime::sleep_for(1s));
    EXPECT_EQ(call("GET", "/ping").body, "one");
  }
  EXPECT_EQ(call("GET", "/ping", {}, "new.test.localhost").status, 503);
}

TEST_F(Substrate, ANewDeploymentThatNobodyGivesLeavesTheOldOneServing) {
  deploy({function("ping", "GET", "/ping", module("say one"))});
  EXPECT_EQ(call("GET", "/ping").body, "one");
  ASSERT_TRUE(world_.point(codec::Cid::of(codec::ContentType::dag_cbor, as_bytes("nowhere"))));
  block_on(loop_, runtime::sleep_for(20ms));
  EXPECT_EQ(call("GET", "/ping").body, "one");
}

TEST_F(Substrate, TheBlocksCameFromAnotherNodeAndOnlyOnce) {
  deploy({function("ping", "GET", "/ping", module("say one"))});
  for (int i = 0; i < 20; ++i) EXPECT_EQ(call("GET", "/ping").body, "one");
  const auto statistics = ask<Statistics>({});
  ASSERT_TRUE(statistics);
  EXPECT_EQ(statistics->requests, 20u);
  EXPECT_EQ(statistics->modules_fetched, 1u);
  EXPECT_EQ(statistics->blocks_from_peers, 2u);
  EXPECT_EQ(engine_.compiled, 1);
}

TEST_F(Substrate, TracesTheFirstAndTheLastRequestOfARoute) {
  EXPECT_EQ(ask<ReadTrace>({"hello.test.localhost", "/ping", ""}).error().code(),
            ErrorCode::not_found);
  deploy({function("ping", "GET", "/ping", module("say pong"))});
  for (int i = 0; i < 3; ++i) call("GET", "/ping");
  const auto trace = ask<ReadTrace>({"hello.test.localhost", "/ping", ""});
  ASSERT_TRUE(trace) << trace.error().to_string();
  EXPECT_EQ(trace->requests, 3u);
  const auto step = [](const Trace& t, std::string_view name) {
    for (const Step& s : t.steps)
      if (s.name == name) return s;
    return Step{};
  };
  EXPECT_GT(step(trace->first, "tns").microseconds, 0u);
  EXPECT_EQ(step(trace->first, "fetch").note, "from other nodes");
  EXPECT_GT(step(trace->first, "fetch").microseconds, 0u);
  EXPECT_EQ(step(trace->last, "fetch").note, "cached");
  EXPECT_EQ(step(trace->last, "instantiate").microseconds, 3u);
  EXPECT_EQ(step(trace->last, "run").microseconds, 4u);
  http::Headers headers;
  headers.add("tau-trace", "1");
  const auto r = call("GET", "/ping", {}, "hello.test.localhost", headers);
  EXPECT_NE(r.headers.get("server-timing").find("run;dur=0.004"), std::string_view::npos)
      << r.headers.get("server-timing");
}

TEST_F(Substrate, AMoveWhoseGossipIsLostIsSeenWithinThreeSeconds) {
  deploy({function("ping", "GET", "/ping", module("say one"))});
  EXPECT_EQ(call("GET", "/ping").body, "one");
  world_.gossip = false;
  deploy({function("ping", "GET", "/ping", module("say two"))});
  const TimePoint begun = loop_.now();
  while (call("GET", "/ping").body != "two") {
    ASSERT_LE(loop_.now() - begun, 3s);
    block_on(loop_, runtime::sleep_for(50ms));
  }
}

// The planes on loops and threads of their own, over real sockets.
TEST(SubstratePlanes, ServeOnTheirOwnThreads) {
  runtime::RealLoop control;
  SeededRandom random(11);
  p2p::simulated::SimulatedNetwork peers(control, random);
  struct Thread {
    runtime::RealLoop loop;
    net::Sockets sockets{loop};
    std::thread thread;
  };
  std::vector<std::unique_ptr<Thread>> threads;
  std::vector<Plane> planes;
  for (int i = 0; i < 2; ++i) {
    threads.push_back(std::make_unique<Thread>());
    Thread& t = *threads.back();
    planes.push_back({t.loop, t.sockets});
    t.thread = std::thread([&t] { t.loop.run(); });
  }
  net::Sockets sockets(control);
  scenario::ScriptEngine engine;
  {
    scenario::World world(
        control,
        [&](const crypto::KeyPair& key, p2p::Admission admission) {
          return std::make_unique<p2p::simulated::SimulatedHost>(
              peers, codec::peer_id_of(key.public_key()), std::move(admission), Logger());
        },
        sockets, planes, 1, engine);
    const Status started = block_on(control, world.start());
    ASSERT_TRUE(started) << started.error().to_string();
    const auto module = block_on(control, world.module("say one"));
    const auto printing = block_on(control, world.module("print x"));
    ASSERT_TRUE(block_on(control, world.deploy({function("ping", "GET", "/ping", *module),
                                                function("log", "GET", "/log", *printing)})));
    runtime::TaskGroup group(control);
    int good = 0;
    for (int i = 0; i < 100; ++i)
      group.spawn([](scenario::World& w, int& n) -> Task<void> {
        const auto r = co_await w.call("GET", "/ping");
        EXPECT_TRUE(r);
        if (r && r->body == "one") ++n;
        EXPECT_TRUE(co_await w.call("GET", "/log"));
      }(world, good));
    block_on(control, group.join());
    EXPECT_EQ(good, 100);
    auto& caller = world.members_[2].caller;
    const PeerId me = world.members_[0].identity.id();
    const auto trace = block_on(
        control, caller.call<ReadTrace>(me, kProtocol, {"hello.test.localhost", "/ping", "GET"}));
    ASSERT_TRUE(trace);
    EXPECT_EQ(trace->requests, 100u);
    EXPECT_EQ(engine.compiled, 2);
    const auto lines =
        block_on(control, caller.call<ReadLogs>(me, kProtocol, {world.project, 0, 1000, 0}));
    EXPECT_EQ(lines->lines.size(), 200u);
    block_on(control, world.stop());
  }
  for (auto& t : threads) {
    t->loop.stop();
    t->thread.join();
  }
}

}  // namespace
}  // namespace tau::substrate
