#include "testnet/control.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "http/client.h"
#include "runtime/task_group.h"
#include "testnet/simulated_process.h"

namespace tau::testnet {
namespace {

using namespace std::chrono_literals;
using http::Json;
using ::testing::UnorderedElementsAre;

class ControlTest : public ::testing::Test {
 protected:
  ControlTest() {
    UniverseOptions options;
    options.dns_port = 0;
    EXPECT_TRUE(runtime::block_on(loop, multiverse.add(std::move(options))));
    EXPECT_TRUE(runtime::block_on(loop, control.start({"127.0.0.1", 1421})));
  }
  ~ControlTest() override {
    runtime::block_on(loop, ending.join());
    runtime::block_on(loop, control.stop());
    runtime::block_on(loop, multiverse.stop());
  }
  struct Answer {
    int status = 0;
    Json body;
  };
  Answer ask(const std::string& method, const std::string& target, const std::string& host = {},
             const std::string& origin = {}, const Json& body = {}) {
    http::Client client(process.network("127.0.0.1"));
    http::ClientRequest request;
    request.method = method;
    request.target = target;
    request.host = host;
    if (!body.is_null()) request.body = body.dump();
    if (!origin.empty()) request.headers.add("Origin", origin);
    const auto response = runtime::block_on(loop, client.send(control.local(), std::move(request)));
    if (!response) return {};
    return {response->status, Json::parse(response->body, nullptr, false)};
  }
  Answer post(const std::string& target, const Json& body) {
    return ask("POST", target, {}, {}, body);
  }
  std::vector<Json> log_lines(const std::string& query) {
    http::Client client(process.network("127.0.0.1"));
    http::ClientRequest request;
    request.target = "/v1/universes/blackhole/logs?" + query;
    const auto response = runtime::block_on(loop, client.send(control.local(), std::move(request)));
    std::vector<Json> out;
    if (!response) return out;
    std::istringstream lines(response->body);
    for (std::string line; std::getline(lines, line);)
      if (!line.empty()) out.push_back(Json::parse(line));
    return out;
  }

  void universe_log(const std::string& text) {
    (*multiverse.find("blackhole"))->log_book()->add(LogLevel::info, "tns", text);
  }
  Task<void> end_universe() { (void)co_await multiverse.remove("blackhole"); }

  runtime::VirtualLoop loop;
  runtime::TaskGroup ending{loop};
  SimulatedProcess process{loop, 1};
  Multiverse multiverse{process, {}, Logger()};
  Control control{loop, process.network("127.0.0.1"), multiverse, Logger()};
};

TEST_F(ControlTest, TheDocumentNamesEveryRoute) {
  const auto [status, document] = ask("GET", "/openapi.json");
  ASSERT_EQ(status, 200);
  EXPECT_EQ(document["openapi"], "3.1.0");
  std::vector<std::string> routes;
  for (const auto& [path, methods] : document["paths"].items())
    for (const auto& [method, operation] : methods.items()) routes.push_back(method + " " + path);
  EXPECT_THAT(
      routes,
      UnorderedElementsAre(
          "get /openapi.json", "get /v1/spec/fixtures", "get /v1/spec/services",
          "get /v1/universes", "post /v1/universes", "get /v1/universes/{universe}",
          "delete /v1/universes/{universe}", "get /v1/universes/{universe}/nodes",
          "post /v1/universes/{universe}/nodes", "delete /v1/universes/{universe}/nodes/{node}",
          "get /v1/universes/{universe}/chaos", "post /v1/universes/{universe}/chaos",
          "delete /v1/universes/{universe}/chaos", "get /v1/universes/{universe}/logs",
          "post /v1/stop"));
  for (const auto& [path, methods] : document["paths"].items())
    for (const auto& [method, operation] : methods.items()) {
      std::vector<Json> contents = {operation.at("responses").at("200").at("content")};
      if (operation.contains("requestBody"))
        contents.push_back(operation["requestBody"].at("content"));
      for (const Json& content : contents) {
        const std::string schema = content.begin().value().at("schema").at("$ref");
        const std::string name = schema.substr(schema.rfind('/') + 1);
        EXPECT_TRUE(document["components"]["schemas"].contains(name)) << name;
      }
    }
}

TEST_F(ControlTest, ShowsUniversesAndTheirNodes) {
  const auto all = ask("GET", "/v1/universes");
  ASSERT_EQ(all.status, 200);
  ASSERT_EQ(all.body["universes"].size(), 1u);
  const auto one = ask("GET", "/v1/universes/blackhole");
  EXPECT_EQ(one.body["ready"], true);
  EXPECT_EQ(one.body["nodes"].size(), 11u);
  EXPECT_EQ(ask("GET", "/v1/universes/blackhole/nodes").body["nodes"].size(), 11u);
  EXPECT_EQ(ask("GET", "/v1/universes/other").status, 404);
}

TEST_F(ControlTest, KillsANodeByNameOrByAServiceThatOneNodeRuns) {
  EXPECT_EQ(ask("DELETE", "/v1/universes/blackhole/nodes/hoarder-2").status, 200);
  const auto nodes = ask("GET", "/v1/universes/blackhole/nodes");
  for (const Json& node : nodes.body["nodes"])
    EXPECT_EQ(node["state"], node["name"] == "hoarder-2" ? "killed" : "running");
  EXPECT_EQ(ask("DELETE", "/v1/universes/blackhole/nodes/hoarder-2").status, 412);
  EXPECT_EQ(ask("DELETE", "/v1/universes/blackhole/nodes/substrate").status, 412);
  EXPECT_EQ(ask("DELETE", "/v1/universes/blackhole/nodes/nobody").status, 404);
  EXPECT_EQ(ask("DELETE", "/v1/universes/blackhole/nodes/hoarder").status, 200);
}

TEST_F(ControlTest, OffersTheCloudsOwnApiBelowTheUniverse) {
  const auto network = ask("GET", "/v1/universes/blackhole/cloud/network");
  EXPECT_EQ(network.status, 200) << network.body;
  EXPECT_EQ(ask("GET", "/v1/universes/blackhole/cloud/projects").body["projects"].size(), 0u);
}

TEST_F(ControlTest, StartsASecondUniverseBesideTheFirst) {
  const auto made = post("/v1/universes", {{"name", "second"}});
  ASSERT_EQ(made.status, 200) << made.body;
  EXPECT_EQ(made.body["suffix"], "second.localhost");
  EXPECT_EQ(made.body["ready"], true);
  const auto first = ask("GET", "/v1/universes/blackhole").body;
  for (const auto* where : {"entry", "dns", "api"}) {
    EXPECT_TRUE(made.body[where].is_string()) << where;
    EXPECT_NE(made.body[where], first[where]) << where;
  }
  for (const Json& node : made.body["nodes"]) EXPECT_EQ(node["peers"], 10) << node["name"];
  EXPECT_EQ(post("/v1/universes", {{"name", "second"}}).status, 409);
  EXPECT_EQ(ask("DELETE", "/v1/universes/second").status, 200);
  EXPECT_EQ(ask("GET", "/v1/universes/second").status, 404);
}

TEST_F(ControlTest, RefusesAUniverseThatCannotBe) {
  EXPECT_EQ(post("/v1/universes", {{"name", "../x"}}).status, 400);
  EXPECT_EQ(post("/v1/universes", {{"name", "x"}, {"enable", {"nothing"}}}).status, 400);
  EXPECT_EQ(post("/v1/universes", {{"name", "x"}, {"surprise", 1}}).status, 400);
  EXPECT_EQ(post("/v1/universes", {{"name", "x"}, {"bind", {"substrate@1480/http"}}}).status, 409);
  EXPECT_EQ(ask("GET", "/v1/universes").body["universes"].size(), 1u);
}

TEST_F(ControlTest, AddsANodeThatServesAndStartsAKilledOneAgain) {
  const auto made = post("/v1/universes/blackhole/nodes", {{"services", {"substrate"}}});
  ASSERT_EQ(made.status, 200) << made.body;
  EXPECT_EQ(made.body["name"], "substrate-3");
  EXPECT_EQ(made.body["state"], "running");
  EXPECT_EQ(made.body["peers"], 11);
  EXPECT_TRUE(made.body["http"].is_string());

  EXPECT_EQ(post("/v1/universes/blackhole/nodes", {{"services", {"auth"}}}).status, 412);
  ASSERT_EQ(ask("DELETE", "/v1/universes/blackhole/nodes/patrick").status, 200);
  const auto again = post("/v1/universes/blackhole/nodes", {{"services", {"patrick"}}});
  ASSERT_EQ(again.status, 200) << again.body;
  EXPECT_EQ(again.body["name"], "patrick");
  EXPECT_EQ(again.body["state"], "running");
  EXPECT_EQ(ask("GET", "/v1/universes/blackhole/nodes").body["nodes"].size(), 12u);
}

TEST_F(ControlTest, AnEmptyUniverseGrowsNodeByNode) {
  ASSERT_EQ(post("/v1/universes", {{"name", "bare"}, {"empty", true}}).status, 200);
  for (const auto* service : {"tns", "auth", "seer"}) {
    const auto made = post("/v1/universes/bare/nodes", {{"services", {service}}});
    EXPECT_EQ(made.status, 200) << service << made.body;
  }
  const auto simple = post("/v1/universes/bare/nodes", {{"name", "me"}});
  EXPECT_EQ(simple.body["name"], "me") << simple.body;
  EXPECT_EQ(ask("GET", "/v1/universes/bare/cloud/projects").body["projects"].size(), 0u);
}

TEST_F(ControlTest, GivesTheLogOfOneNode) {
  ASSERT_EQ(ask("DELETE", "/v1/universes/blackhole/nodes/hoarder-2").status, 200);
  const auto all = log_lines("lines=1000");
  EXPECT_GT(all.size(), 10u);
  const auto mine = log_lines("node=hoarder-2");
  ASSERT_GE(mine.size(), 2u);
  EXPECT_LT(mine.size(), all.size());
  for (const Json& line : mine) EXPECT_EQ(line["node"], "hoarder-2");
  EXPECT_EQ(mine.back()["text"], "killed");
  EXPECT_EQ(log_lines("node=hoarder-2&lines=1").size(), 1u);
  EXPECT_EQ(log_lines("node=hoarder-2&level=error").size(), 0u);
  EXPECT_EQ(ask("GET", "/v1/universes/blackhole/logs?node=nobody").status, 404);
  EXPECT_EQ(ask("GET", "/v1/universes/blackhole/logs?lines=0").status, 400);
  EXPECT_EQ(ask("GET", "/v1/universes/blackhole/logs?level=loud").status, 400);
}

TEST_F(ControlTest, AFollowedLogGoesOnUntilTheUniverseEnds) {
  std::vector<Json> read;
  loop.call_after(25s, [&] { universe_log("late"); });
  loop.call_after(30s, [&] { ending.spawn(end_universe()); });
  for (Json& line : log_lines("follow=true&lines=1")) read.push_back(std::move(line));
  ASSERT_GE(read.size(), 2u);
  EXPECT_EQ(read[1]["text"], "late");
}

TEST_F(ControlTest, ListsServicesAndFixtures) {
  EXPECT_EQ(ask("GET", "/v1/spec/services").body["services"].size(), 7u);
  for (const Json& fixture : ask("GET", "/v1/spec/fixtures").body["fixtures"])
    EXPECT_NE(fixture["available"], fixture.contains("instead")) << fixture;
}

TEST_F(ControlTest, TurnsWebPagesAway) {
  EXPECT_EQ(ask("GET", "/v1/universes", "evil.example").status, 403);
  EXPECT_EQ(ask("POST", "/v1/stop", {}, "http://evil.example").status, 403);
  EXPECT_EQ(ask("GET", "/v1/universes/blackhole/cloud/network", "evil.example").status, 403);
}

TEST_F(ControlTest, StopEndsWhoWaitsForIt) {
  EXPECT_EQ(ask("POST", "/v1/stop").status, 200);
  EXPECT_TRUE(runtime::block_on(loop, runtime::with_deadline(1s, "stop", control.wait_for_stop())));
}

}  // namespace
}  // namespace tau::testnet
