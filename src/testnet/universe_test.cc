// A universe in virtual time: the services of dream, nothing real beneath them.
#include "testnet/universe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "codec/signed.h"
#include "http/client.h"
#include "node/network.h"
#include "project/writer.h"
#include "services/auth/api.h"
#include "services/patrick/api.h"
#include "services/seer/api.h"
#include "testnet/multiverse.h"
#include "testnet/simulated_process.h"

namespace tau::testnet {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

std::string id_of(std::string_view what) {
  return codec::Cid::of(codec::ContentType::raw, as_bytes(what)).to_string();
}

class UniverseTest : public ::testing::Test {
 protected:
  explicit UniverseTest(UniverseOptions options = {})
      : universe(process, std::move(options), Logger()) {
    const Status ready = runtime::block_on(loop, universe.start());
    EXPECT_TRUE(ready) << ready.error().to_string();
    registration.genesis = {"hello", owner.public_key().raw(), {}};
    registration.label = "hello";
    registration.repositories = {{"config", auth::RepositoryKind::config, "local"},
                                 {"code", auth::RepositoryKind::code, "local"}};
    registration.made_unix_ms = 1;
  }
  ~UniverseTest() override { runtime::block_on(loop, universe.stop()); }

  Tree config() const {
    Tree tree;
    tree["config.yaml"] = project::project_yaml({registration.project().str(), "hello", ""});
    tree["domains/main.yaml"] = project::domain_yaml({id_of("main"), "", "hello"});
    project::NewFunction ping;
    ping.id = id_of("ping");
    ping.paths = {"/ping"};
    ping.domains = {"main"};
    ping.call = "ping";
    tree["functions/ping.yaml"] = project::function_yaml(ping);
    return tree;
  }
  static Tree code(const std::string& answer) {
    return {{"functions/ping/.taubyte/config.yaml",
             project::workflow_yaml("taubyte/cpp-wasi", {"build"})},
            {"functions/ping/.taubyte/build.sh", ". /utils/wasm.sh\nbuild\n"},
            {"functions/ping/main.cc",
             "TAU_HTTP_FUNCTION(ping) { event.write(\"" + answer + "\"); }\n"}};
  }
  Status register_project() {
    return runtime::block_on(
        loop, register_with(*universe.client(), codec::sign_record(owner, registration)));
  }
  static Task<Status> register_with(node::Node& client, codec::Signed signed_registration) {
    CO_TRY(const auto done, client.caller().call_any<auth::Register>(
                                auth::kRole, auth::kProtocol, {std::move(signed_registration)}));
    (void)done;
    co_return Status{};
  }
  void push(const std::string& repository, Tree tree) {
    const auto pushed = runtime::block_on(
        loop, process.git().push(registration.project(), repository, "main", std::move(tree)));
    ASSERT_TRUE(pushed) << pushed.error().to_string();
  }
  std::string ask(const net::Endpoint& at) {
    http::Client client(process.network("127.0.0.1"));
    http::ClientRequest request;
    request.target = "/ping";
    request.host = "hello.blackhole.localhost";
    const auto response = runtime::block_on(loop, client.send(at, std::move(request)));
    return response ? response->body : response.error().to_string();
  }
  // Looks every 20 ms of virtual time.
  bool wait_until(Duration limit, const std::function<bool()>& met) {
    const TimePoint until = loop.now() + limit;
    while (!met()) {
      if (loop.now() >= until) return false;
      (void)runtime::block_on(loop, runtime::sleep_for(20ms));
    }
    return true;
  }
  std::vector<net::Endpoint> substrates() const {
    std::vector<net::Endpoint> out;
    for (const auto& node : universe.nodes())
      if (node.http) out.push_back(*node.http);
    return out;
  }

  runtime::VirtualLoop loop;
  SimulatedProcess process{loop, 20};
  Universe universe;
  SeededRandom random{3};
  crypto::KeyPair owner = crypto::KeyPair::generate(random);
  auth::Registration registration;
};

TEST_F(UniverseTest, IsReadyWithinASecond) {
  ASSERT_TRUE(universe.ready());
  EXPECT_LT(*universe.ready_after(), 1s);
  for (const auto& node : universe.nodes()) {
    EXPECT_EQ(node.state, "running");
    EXPECT_EQ(node.peers, 10u) << node.name;
  }
  EXPECT_EQ(substrates().size(), 2u);
}

TEST_F(UniverseTest, APushIsBuiltHeldPublishedAndServedByEverySubstrate) {
  ASSERT_TRUE(register_project());
  push("config", config());
  push("code", code("pong"));
  for (const auto& at : substrates())
    EXPECT_TRUE(wait_until(30s, [&] { return ask(at) == "pong"; })) << ask(at);
  push("code", code("pong, louder"));
  for (const auto& at : substrates())
    EXPECT_TRUE(wait_until(30s, [&] { return ask(at) == "pong, louder"; })) << ask(at);
}

TEST_F(UniverseTest, GoesOnWithoutAHoarderAMonkeyAndASubstrate) {
  ASSERT_TRUE(register_project());
  for (const auto* name : {"hoarder-1", "monkey-2", "substrate-1"})
    ASSERT_TRUE(runtime::block_on(loop, universe.kill(name)));
  push("config", config());
  push("code", code("pong"));
  ASSERT_EQ(substrates().size(), 1u);
  EXPECT_TRUE(wait_until(60s, [&] { return ask(substrates()[0]) == "pong"; }))
      << ask(substrates()[0]);
}

TEST_F(UniverseTest, AMonkeyThatIsRevokedDuringItsBuildPublishesNothingAndAnotherOneBuildsIt) {
  ASSERT_TRUE(register_project());
  push("config", config());
  push("code", code("pong"));
  std::optional<patrick::JobStatus> building;
  const auto look = [&](patrick::JobState wanted) {
    const auto jobs =
        runtime::block_on(loop, universe.client()->caller().call_any<patrick::ListJobs>(
                                    patrick::kRole, patrick::kProtocol,
                                    patrick::ListJobs::Request{registration.project(), 20}));
    if (!jobs) return false;
    for (const auto& job : jobs->jobs) {
      if (job.state != wanted) continue;
      building = job;
      return true;
    }
    return false;
  };
  ASSERT_TRUE(wait_until(30s, [&] { return look(patrick::JobState::building); }));
  const PeerId revoked = *building->monkey;
  const auto list =
      p2p::sign_revocations(universe.root(), {node::root_key_text(universe.root().public_key()),
                                              1,
                                              loop.wall_unix_ms(),
                                              {{.peer = revoked, .reason = "it was stolen"}}});
  ASSERT_TRUE(list);
  node::Node* anyone = *universe.find("hoarder-1");
  ASSERT_TRUE(runtime::block_on(loop, anyone->credentials().adopt(*list)));
  EXPECT_TRUE(wait_until(1s, [&] {
    return std::ranges::all_of(universe.nodes(), [&](const auto& view) {
      if (view.id == revoked) return view.peers == 0;
      const auto peers = (*universe.find(view.name))->host().peers();
      return std::ranges::find(peers, revoked) == peers.end();
    });
  })) << "within a second nobody has a connection to it";
  for (const auto& at : substrates())
    EXPECT_TRUE(wait_until(60s, [&] { return ask(at) == "pong"; })) << ask(at);
  ASSERT_TRUE(look(patrick::JobState::succeeded));
  EXPECT_NE(*building->monkey, revoked);
}

TEST_F(UniverseTest, SeerForgetsADeadSubstrateWithinThreeSeconds) {
  ASSERT_TRUE(runtime::block_on(loop, universe.kill("substrate-2")));
  const auto listed = [&] {
    const auto nodes =
        runtime::block_on(loop, universe.client()->caller().call_any<seer::ListNodes>(
                                    seer::kRole, seer::kProtocol, {"substrate"}));
    return nodes ? nodes->nodes.size() : 0;
  };
  EXPECT_TRUE(wait_until(3s, [&] { return listed() == 1; }));
}

TEST_F(UniverseTest, ANodeThatIsAddedServesWhatWasPushedBefore) {
  ASSERT_TRUE(register_project());
  push("config", config());
  push("code", code("pong"));
  ASSERT_TRUE(wait_until(30s, [&] { return ask(substrates()[0]) == "pong"; }));
  const auto added = runtime::block_on(loop, universe.add({"", {"substrate"}}));
  ASSERT_TRUE(added) << added.error().to_string();
  ASSERT_EQ(substrates().size(), 3u);
  EXPECT_TRUE(wait_until(30s, [&] { return ask(*added->http) == "pong"; })) << ask(*added->http);
}

TEST_F(UniverseTest, ANodeThatWasKilledStartsAgainWithWhatItHad) {
  ASSERT_TRUE(register_project());
  push("config", config());
  push("code", code("pong"));
  ASSERT_TRUE(wait_until(30s, [&] { return ask(substrates()[0]) == "pong"; }));
  const PeerId before = (*universe.find("patrick"))->id();
  ASSERT_TRUE(runtime::block_on(loop, universe.kill("patrick")));
  const auto again = runtime::block_on(loop, universe.add({"patrick", {"patrick"}}));
  ASSERT_TRUE(again) << again.error().to_string();
  EXPECT_EQ(again->id, before);
  EXPECT_EQ(again->state, "running");
  EXPECT_FALSE(runtime::block_on(loop, universe.add({"patrick", {"patrick"}})));
}

TEST_F(UniverseTest, TnsNodesThatAreAddedTakeOverFromTheFirst) {
  ASSERT_TRUE(register_project());
  push("config", config());
  push("code", code("pong"));
  ASSERT_TRUE(wait_until(30s, [&] { return ask(substrates()[0]) == "pong"; }));
  for (int i = 0; i < 2; ++i) {
    const auto added = runtime::block_on(loop, universe.add({"", {"tns"}}));
    ASSERT_TRUE(added) << added.error().to_string();
    EXPECT_EQ(added->state, "running");
  }
  ASSERT_TRUE(wait_until(60s, [&] { return (*universe.find("tns"))->voters() == 3; }));
  ASSERT_TRUE(runtime::block_on(loop, universe.kill("tns")));
  push("code", code("without the first"));
  for (const auto& at : substrates())
    EXPECT_TRUE(wait_until(30s, [&] { return ask(at) == "without the first"; })) << ask(at);
}

class ThreeTnsUniverseTest : public UniverseTest {
 protected:
  ThreeTnsUniverseTest() : UniverseTest(options()) {}
  static UniverseOptions options() {
    UniverseOptions options;
    options.plan = lay_out({.copies = {{"tns", 3}}})->nodes;
    return options;
  }
};

TEST_F(ThreeTnsUniverseTest, GoesOnPublishingWhicheverTnsNodeDies) {
  ASSERT_TRUE(register_project());
  push("config", config());
  push("code", code("pong"));
  ASSERT_TRUE(wait_until(30s, [&] { return ask(substrates()[0]) == "pong"; }));
  for (const std::string name : {"tns", "tns-2", "tns-3"}) {
    ASSERT_TRUE(runtime::block_on(loop, universe.kill(name)));
    push("code", code("without " + name));
    for (const auto& at : substrates())
      EXPECT_TRUE(wait_until(30s, [&] { return ask(at) == "without " + name; })) << ask(at);
    const auto again = runtime::block_on(loop, universe.add({name, {"tns"}}));
    ASSERT_TRUE(again) << again.error().to_string();
  }
}

TEST_F(ThreeTnsUniverseTest, AMinorityOfTnsPublishesNothingAndServesOn) {
  ASSERT_TRUE(register_project());
  push("config", config());
  push("code", code("pong"));
  for (const auto& at : substrates())
    ASSERT_TRUE(wait_until(30s, [&] { return ask(at) == "pong"; }));
  for (const char* name : {"tns", "tns-3"})
    ASSERT_TRUE(runtime::block_on(loop, universe.kill(name)));
  push("code", code("too few agree"));
  EXPECT_FALSE(wait_until(10s, [&] { return ask(substrates()[0]) != "pong"; }))
      << ask(substrates()[0]);
  const auto again = runtime::block_on(loop, universe.add({"tns", {"tns"}}));
  ASSERT_TRUE(again) << again.error().to_string();
  EXPECT_TRUE(wait_until(60s, [&] { return ask(substrates()[0]) == "too few agree"; }));
}

class ThreePatricksUniverseTest : public UniverseTest {
 protected:
  ThreePatricksUniverseTest() : UniverseTest(options()) {}
  static UniverseOptions options() {
    UniverseOptions options;
    options.plan = lay_out({.copies = {{"patrick", 3}}})->nodes;
    return options;
  }
  // The project's repositories are at the second of them.
  Status push_there(const std::string& repository, Tree tree) {
    const auto pushed = runtime::block_on(
        loop, process.git_of("patrick-2")
                  .push(registration.project(), repository, "main", std::move(tree)));
    if (pushed) return {};
    return fail(pushed.error());
  }
};

TEST_F(ThreePatricksUniverseTest, WhatWasAcceptedGoesLiveWhicheverPatrickDies) {
  ASSERT_TRUE(register_project());
  ASSERT_TRUE(push_there("config", config()));
  ASSERT_TRUE(push_there("code", code("pong")));
  ASSERT_TRUE(wait_until(30s, [&] { return ask(substrates()[0]) == "pong"; }));
  for (const std::string name : {"patrick", "patrick-2", "patrick-3"}) {
    // One of them leads. The one that took the push is killed, too, with its repositories.
    ASSERT_TRUE(push_there("code", code("without " + name)));
    ASSERT_TRUE(runtime::block_on(loop, universe.kill(name)));
    for (const auto& at : substrates())
      EXPECT_TRUE(wait_until(60s, [&] { return ask(at) == "without " + name; }))
          << name << ": " << ask(at);
    const auto again = runtime::block_on(loop, universe.add({name, {"patrick"}}));
    ASSERT_TRUE(again) << again.error().to_string();
    ASSERT_TRUE(wait_until(10s, [&] { return (*universe.find(name))->decides(); }));
  }
}

TEST_F(ThreePatricksUniverseTest, ABuildOutlivesWhicheverPatrickDies) {
  ASSERT_TRUE(register_project());
  ASSERT_TRUE(push_there("config", config()));
  ASSERT_TRUE(push_there("code", code("pong")));
  ASSERT_TRUE(wait_until(30s, [&] { return ask(substrates()[0]) == "pong"; }));
  for (const std::string name : {"patrick", "patrick-3", "patrick-2"}) {
    ASSERT_TRUE(push_there("code", code("while " + name + " dies")));
    (void)runtime::block_on(loop, runtime::sleep_for(300ms));  // it is being built
    ASSERT_TRUE(runtime::block_on(loop, universe.kill(name)));
    for (const auto& at : substrates())
      EXPECT_TRUE(wait_until(60s, [&] { return ask(at) == "while " + name + " dies"; }))
          << name << ": " << ask(at);
    const auto again = runtime::block_on(loop, universe.add({name, {"patrick"}}));
    ASSERT_TRUE(again) << again.error().to_string();
    ASSERT_TRUE(wait_until(10s, [&] { return (*universe.find(name))->decides(); }));
  }
}

// What is kept, in a folder of the real disk; the databases are the simulated world's.
class KeptUniverseTest : public ::testing::Test {
 protected:
  KeptUniverseTest() {
    std::string name = (std::filesystem::temp_directory_path() / "kept-XXXXXX").string();
    EXPECT_TRUE(::mkdtemp(name.data()));
    folder = name;
  }
  ~KeptUniverseTest() override {
    runtime::block_on(loop, multiverse->stop());
    multiverse.reset();
    std::filesystem::remove_all(folder);
  }
  void start() {
    if (multiverse) runtime::block_on(loop, multiverse->stop());
    multiverse = std::make_unique<Multiverse>(
        process,
        Multiverse::Options{[this](std::string_view name, Keep) {
                              return Result<std::filesystem::path>(folder / std::string(name));
                            },
                            Keep::yes},
        Logger());
    const Status made = runtime::block_on(loop, multiverse->create({"home"}));
    ASSERT_TRUE(made) << made.error().to_string();
  }
  Universe& universe() { return **multiverse->find("home"); }

  runtime::VirtualLoop loop;
  SimulatedProcess process{loop, 4};
  std::filesystem::path folder;
  std::unique_ptr<Multiverse> multiverse;
};

TEST_F(KeptUniverseTest, StartsAgainWithTheSameNodesKeysAndPorts) {
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(runtime::block_on(loop, universe().add({"", {"substrate"}})));
  std::map<std::string, PeerId> ids;
  for (const auto& node : universe().nodes()) ids.emplace(node.name, node.id);
  const auto entry = universe().entry(), api = universe().api(), dns = universe().dns();
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_EQ(universe().nodes().size(), 12u);
  for (const auto& node : universe().nodes()) EXPECT_EQ(ids[node.name], node.id) << node.name;
  EXPECT_EQ(universe().entry(), entry);
  EXPECT_EQ(universe().api(), api);
  EXPECT_EQ(universe().dns(), dns);
}

TEST_F(KeptUniverseTest, AnswersDnsElsewhereWhileAnotherProgramHoldsItsPort) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto entry = universe().entry(), api = universe().api(), dns = universe().dns();
  runtime::block_on(loop, multiverse->stop());
  multiverse.reset();
  // A connection of another program takes the port of TCP and leaves that of UDP free.
  const auto taken = process.network(dns->address).listen(*dns);
  ASSERT_TRUE(taken) << taken.error().to_string();
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_NE(universe().dns(), dns);
  EXPECT_EQ(universe().entry(), entry);
  EXPECT_EQ(universe().api(), api);
}

TEST_F(KeptUniverseTest, OneThatWasKilledIsRememberedAsStoppedAndErasedOnlyOnDemand) {
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(runtime::block_on(loop, multiverse->remove("home")));
  const auto kept = read_kept(folder / "home");
  ASSERT_TRUE(kept && *kept);
  EXPECT_TRUE((*kept)->stopped);
  const Status other = runtime::block_on(loop, multiverse->create({"home", {.empty = true}}));
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().message(), HasSubstr("--erase"));
  ASSERT_TRUE(runtime::block_on(loop, multiverse->create({"home"})));
  EXPECT_FALSE((*read_kept(folder / "home"))->stopped);
  ASSERT_TRUE(runtime::block_on(loop, multiverse->remove("home", Erase::yes)));
  EXPECT_FALSE(std::filesystem::exists(folder / "home"));
}

// Its monkey asks its patrick without a connection between them that could end.
TEST(OneNode, ThatRunsEverythingStops) {
  runtime::VirtualLoop loop;
  SimulatedProcess process(loop, 1);
  std::string folder = (std::filesystem::temp_directory_path() / "tau-one-XXXXXX").string();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  UniverseOptions options;
  options.data = folder;
  options.plan = {{"one", {"auth", "seer", "tns", "patrick", "hoarder", "monkey", "substrate"}}};
  Universe universe(process, options, Logger());
  const Status started = runtime::block_on(loop, universe.start());
  ASSERT_TRUE(started) << started.error().to_string();
  (void)runtime::block_on(loop, runtime::sleep_for(5s));
  const TimePoint told = loop.now();
  runtime::block_on(loop, universe.stop());
  EXPECT_LT(loop.now() - told, 5s);
  std::filesystem::remove_all(folder);
}

TEST(LoopbackAddress, IsItsOwnForEachSubstrateAndNeverTheUsualOne) {
  EXPECT_NE(loopback_address("blackhole", 0), loopback_address("blackhole", 1));
  EXPECT_EQ(loopback_address("blackhole", 0), loopback_address("blackhole", 0));
  EXPECT_NE(loopback_address("blackhole", 0), loopback_address("other", 0));
  for (std::size_t i = 0; i < 300; ++i)
    EXPECT_NE(loopback_address("universe" + std::to_string(i), i), "127.0.0.1");
}

}  // namespace
}  // namespace tau::testnet
