#include "testnet/control.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/client.h"
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
    runtime::block_on(loop, control.stop());
    runtime::block_on(loop, multiverse.stop());
  }
  struct Answer {
    int status = 0;
    Json body;
  };
  Answer ask(const std::string& method, const std::string& target, const std::string& host = {},
             const std::string& origin = {}) {
    http::Client client(process.network("127.0.0.1"));
    http::ClientRequest request;
    request.method = method;
    request.target = target;
    request.host = host;
    if (!origin.empty()) request.headers.add("Origin", origin);
    const auto response = runtime::block_on(loop, client.send(control.local(), std::move(request)));
    if (!response) return {};
    return {response->status, Json::parse(response->body, nullptr, false)};
  }

  runtime::VirtualLoop loop;
  SimulatedProcess process{loop, 1};
  Multiverse multiverse{process, Logger()};
  Control control{loop, process.network("127.0.0.1"), multiverse, Logger()};
};

TEST_F(ControlTest, TheDocumentNamesEveryRoute) {
  const auto [status, document] = ask("GET", "/openapi.json");
  ASSERT_EQ(status, 200);
  EXPECT_EQ(document["openapi"], "3.1.0");
  std::vector<std::string> routes;
  for (const auto& [path, methods] : document["paths"].items())
    for (const auto& [method, operation] : methods.items()) routes.push_back(method + " " + path);
  EXPECT_THAT(routes, UnorderedElementsAre(
                          "get /openapi.json", "get /v1/universes", "get /v1/universes/{universe}",
                          "delete /v1/universes/{universe}", "get /v1/universes/{universe}/nodes",
                          "delete /v1/universes/{universe}/nodes/{node}", "post /v1/stop"));
  for (const auto& [path, methods] : document["paths"].items())
    for (const auto& [method, operation] : methods.items()) {
      const std::string schema =
          operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"];
      const std::string name = schema.substr(schema.rfind('/') + 1);
      EXPECT_TRUE(document["components"]["schemas"].contains(name)) << name;
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
