// Faults in a universe in virtual time: what each does, and that it ends.
#include "testnet/chaos/chaos.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codec/signed.h"
#include "http/client.h"
#include "services/auth/api.h"
#include "services/seer/api.h"
#include "testnet/simulated_process.h"
#include "testnet/universe.h"

namespace tau::testnet {
namespace {

using namespace std::chrono_literals;
using http::Json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Fault, IsReadBackAsItWasWritten) {
  const Fault delay{FaultKind::delay, {"tns", "seer"}, 5s, 200ms, false};
  const Fault cut{FaultKind::partition, {"hoarder-1"}, {}, {}, true};
  for (const Fault& fault : {delay, cut}) {
    const auto again = fault_of(to_json(fault));
    ASSERT_TRUE(again) << again.error().to_string();
    EXPECT_EQ(*again, fault);
  }
}

TEST(Fault, SaysWhatIsWrongWithIt) {
  const auto error = [](const char* text) {
    const auto read = fault_of(Json::parse(text));
    return read ? "" : read.error().message();
  };
  EXPECT_THAT(error(R"({"fault":"fire","nodes":["tns"]})"), HasSubstr("kill, pause, partition"));
  EXPECT_THAT(error(R"({"fault":"pause"})"), HasSubstr("nodes"));
  EXPECT_THAT(error(R"({"fault":"pause","nodes":[]})"), HasSubstr("nodes"));
  EXPECT_THAT(error(R"({"fault":"pause","nodes":[7]})"), HasSubstr("names"));
  EXPECT_THAT(error(R"({"fault":"delay","nodes":["tns"]})"), HasSubstr("by how much"));
  EXPECT_THAT(error(R"({"fault":"pause","nodes":["tns"],"by_ms":1})"), HasSubstr("not for pause"));
  EXPECT_THAT(error(R"({"fault":"pause","nodes":["tns"],"for_ms":-1})"), HasSubstr("for_ms"));
  EXPECT_THAT(error(R"({"fault":"pause","nodes":["tns"],"one_way":true})"), HasSubstr("one_way"));
  EXPECT_THAT(error(R"({"fault":"pause","nodes":["tns"],"four_ms":1})"), HasSubstr("four_ms"));
  EXPECT_THAT(error("[]"), HasSubstr("object"));
}

TEST(RandomFaults, AreTheSameForTheSameSeed) {
  const std::vector<std::string> nodes = {"tns", "auth", "seer", "hoarder-1", "monkey-1"};
  const auto texts = [&](std::uint64_t seed) {
    std::vector<std::string> out;
    for (const auto& [at, fault] : random_faults(seed, nodes, 5min))
      out.push_back(std::to_string(at / 1ms) + to_json(fault).dump());
    return out;
  };
  EXPECT_GT(texts(1).size(), 50u);
  EXPECT_EQ(texts(1), texts(1));
  EXPECT_NE(texts(1), texts(2));
}

TEST(RandomFaults, LeaveMostNodesAlive) {
  const std::vector<std::string> nodes = {"a", "b", "c", "d", "e", "f"};
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const auto plan = random_faults(seed, nodes, 5min);
    for (const PlannedFault& now : plan) {
      std::set<std::string> dead;
      for (const auto& [at, fault] : plan)
        if (fault.kind == FaultKind::kill && at <= now.at && now.at < at + fault.lasts)
          dead.insert(fault.nodes.begin(), fault.nodes.end());
      EXPECT_LE(dead.size(), 2u) << "seed " << seed;
    }
  }
}

class ChaosTest : public ::testing::Test {
 protected:
  ChaosTest() {
    const Status ready = runtime::block_on(loop, universe.start());
    EXPECT_TRUE(ready) << ready.error().to_string();
  }
  ~ChaosTest() override { runtime::block_on(loop, universe.stop()); }

  void begin(Fault fault) {
    const auto begun = runtime::block_on(loop, universe.chaos().begin(std::move(fault)));
    ASSERT_TRUE(begun) << begun.error().to_string();
  }
  void wait(Duration time) { (void)runtime::block_on(loop, runtime::sleep_for(time)); }
  node::Node& node(std::string_view name) {
    const auto found = universe.find(name);
    CHECK(found);
    return **found;
  }
  std::string state(std::string_view name) {
    for (const auto& view : universe.nodes())
      if (view.name == name) return view.state;
    return "";
  }
  static Task<Status> list_nodes(node::Node& from, PeerId seer) {
    CO_TRY(const auto listed,
           from.caller().call<seer::ListNodes>(std::move(seer), seer::kProtocol, {std::string()}));
    (void)listed;
    co_return Status{};
  }
  // Whether seer answers that node, and after how long.
  std::pair<bool, Duration> asks_seer(std::string_view from) {
    const TimePoint began = loop.now();
    const Status asked = runtime::block_on(loop, list_nodes(node(from), node("seer").id()));
    return {asked.has_value(), loop.now() - began};
  }
  static Task<Result<bool>> visit(http::Client& client, net::Endpoint at) {
    http::ClientRequest request;
    request.target = "/";
    request.host = "nobody.blackhole.localhost";
    CO_TRY(const auto response, client.send(at, std::move(request)));
    co_return response.status != 0;
  }
  bool answers(const net::Endpoint& at) {
    http::Client client(process.network("127.0.0.1"));
    return runtime::block_on(loop, runtime::with_deadline(2s, "a visit", visit(client, at)))
        .has_value();
  }
  Status register_project() {
    auth::Registration r;
    r.genesis = {"hello", owner.public_key().raw(), {}};
    r.label = "hello";
    r.repositories = {{"code", auth::RepositoryKind::code, "local"}};
    r.made_unix_ms = 1;
    return runtime::block_on(loop, registering(*universe.client(), codec::sign_record(owner, r)));
  }
  static Task<Status> registering(node::Node& client, codec::Signed registration) {
    CO_TRY(const auto done, client.caller().call_any<auth::Register>(auth::kRole, auth::kProtocol,
                                                                     {std::move(registration)}));
    (void)done;
    co_return Status{};
  }

  runtime::VirtualLoop loop;
  SimulatedProcess process{loop, 20};
  Universe universe{process, {}, Logger()};
  SeededRandom random{3};
  crypto::KeyPair owner = crypto::KeyPair::generate(random);
};

TEST_F(ChaosTest, APausedNodeAnswersNobodyUntilItGoesOn) {
  const net::Endpoint at = *node("substrate-1").http();
  ASSERT_TRUE(answers(at));
  begin({FaultKind::pause, {"substrate-1"}, 10s});
  EXPECT_FALSE(answers(at));
  EXPECT_FALSE(asks_seer("substrate-1").first);
  EXPECT_TRUE(asks_seer("substrate-2").first) << "the others go on";
  wait(10s);
  EXPECT_TRUE(answers(at));
  EXPECT_TRUE(asks_seer("substrate-1").first);
}

TEST_F(ChaosTest, APartitionSeparatesItsNodesFromAllOthersOnly) {
  begin({FaultKind::partition, {"seer", "hoarder-1"}});
  EXPECT_FALSE(asks_seer("substrate-1").first);
  EXPECT_TRUE(asks_seer("hoarder-1").first) << "both are on the same side";
  ASSERT_TRUE(runtime::block_on(loop, universe.chaos().heal()));
  EXPECT_TRUE(asks_seer("substrate-1").first);
}

TEST_F(ChaosTest, OneWayThatIsCutLeavesTheOtherOpen) {
  begin({FaultKind::partition, {"seer"}, {}, {}, true});
  EXPECT_FALSE(asks_seer("substrate-1").first) << "the answer is lost";
  ASSERT_TRUE(runtime::block_on(loop, universe.chaos().heal()));
  begin({FaultKind::partition, {"substrate-1"}, {}, {}, true});
  EXPECT_FALSE(asks_seer("substrate-1").first) << "the question is lost";
  EXPECT_TRUE(asks_seer("substrate-2").first);
}

TEST_F(ChaosTest, ALongPartitionEndsConnectionsWhichComeBackAfterwards) {
  begin({FaultKind::partition, {"seer"}, 60s});
  wait(30s);
  EXPECT_TRUE(node("seer").host().peers().empty());
  wait(31s);
  const TimePoint until = loop.now() + 60s;
  while (!asks_seer("substrate-1").first && loop.now() < until) wait(100ms);
  EXPECT_TRUE(asks_seer("substrate-1").first);
}

TEST_F(ChaosTest, ADelayIsThereBothWays) {
  const Duration before = asks_seer("substrate-1").second;
  begin({FaultKind::delay, {"seer"}, {}, 200ms});
  const auto [answered, took] = asks_seer("substrate-1");
  EXPECT_TRUE(answered);
  EXPECT_GE(took, before + 400ms);
  EXPECT_LT(took, before + 2s);
}

TEST_F(ChaosTest, AFullDiskRefusesWritesUntilThereIsRoom) {
  begin({FaultKind::disk_full, {"auth"}, 5s});
  const Status refused = register_project();
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("disk is full"));
  wait(5s);
  const Status registered = register_project();
  EXPECT_TRUE(registered) << registered.error().to_string();
}

TEST_F(ChaosTest, ASlowDiskTakesItsTime) {
  begin({FaultKind::slow_disk, {"auth"}, {}, 500ms});
  const TimePoint began = loop.now();
  ASSERT_TRUE(register_project());
  EXPECT_GE(loop.now() - began, 500ms);
}

TEST_F(ChaosTest, AKilledNodeStartsAgain) {
  begin({FaultKind::kill, {"hoarder-1"}, 3s});
  EXPECT_EQ(state("hoarder-1"), "killed");
  const auto twice =
      runtime::block_on(loop, universe.chaos().begin({FaultKind::kill, {"hoarder-1"}}));
  EXPECT_FALSE(twice);
  const TimePoint until = loop.now() + 60s;
  while (state("hoarder-1") != "running" && loop.now() < until) wait(50ms);
  EXPECT_EQ(state("hoarder-1"), "running");
}

TEST_F(ChaosTest, HealEndsEverythingAndTheRecordTellsWhatWas) {
  begin({FaultKind::kill, {"hoarder-1"}});
  wait(1s);
  begin({FaultKind::pause, {node("seer").id().str()}, 1h});
  EXPECT_EQ(universe.chaos().active().size(), 2u);
  const Status healed = runtime::block_on(loop, universe.chaos().heal());
  EXPECT_TRUE(healed) << healed.error().to_string();
  EXPECT_TRUE(universe.chaos().active().empty());
  EXPECT_EQ(state("hoarder-1"), "running");
  EXPECT_TRUE(asks_seer("substrate-1").first);

  const auto& record = universe.chaos().record();
  ASSERT_EQ(record.size(), 3u);
  EXPECT_EQ(record[0].at, Duration{});
  EXPECT_EQ(record[0].fault->kind, FaultKind::kill);
  EXPECT_GE(record[1].at, 1s);
  EXPECT_THAT(record[1].fault->nodes, ElementsAre("seer")) << "by the node's name";
  EXPECT_FALSE(record[2].fault) << "the heal";
}

TEST_F(ChaosTest, ANodeThatIsNotThereIsNamed) {
  const auto begun =
      runtime::block_on(loop, universe.chaos().begin({FaultKind::pause, {"nobody"}}));
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().code(), ErrorCode::not_found);
  EXPECT_THAT(begun.error().message(), HasSubstr("nobody"));
  EXPECT_TRUE(universe.chaos().record().empty());
}

// Whatever breaks, and in which order: when it is over, everything works.
TEST_F(ChaosTest, AMinuteOfFaultsAtRandomLeavesAWorkingUniverse) {
  std::vector<std::string> names;
  for (const auto& view : universe.nodes())
    if (!view.services.empty()) names.push_back(view.name);
  const TimePoint began = loop.now();
  for (const auto& [at, fault] : random_faults(7, names, 60s)) {
    if (at > loop.now() - began) wait(at - (loop.now() - began));
    (void)runtime::block_on(loop, universe.chaos().begin(fault));  // some are refused: dead already
  }
  Status healed = runtime::block_on(loop, universe.chaos().heal());
  const TimePoint until = loop.now() + 120s;
  const auto all_run = [&] {
    return std::ranges::all_of(universe.nodes(),
                               [](const auto& v) { return v.state == "running"; });
  };
  while (!all_run() && loop.now() < until) wait(500ms);
  for (const auto& view : universe.nodes())
    EXPECT_EQ(view.state, "running")
        << view.name << (healed ? "" : ": " + healed.error().message());
  while (!asks_seer("substrate-1").first && loop.now() < until) wait(500ms);
  EXPECT_TRUE(asks_seer("substrate-1").first);
}

}  // namespace
}  // namespace tau::testnet
