#include "services/substrate/ready_modules.h"

#include <gtest/gtest.h>

#include "net/simulated.h"
#include "p2p/simulated/network.h"
#include "services/monkey/api.h"
#include "services/substrate/service_scenario.h"

namespace tau::substrate {
namespace {

using namespace std::chrono_literals;
using runtime::block_on;
using scenario::function;

class Ready : public testing::Test {
 protected:
  static constexpr const char* kScript = "say pong";

  Ready()
      : world_(
            loop_,
            [this](const crypto::KeyPair& key, p2p::Admission admission) {
              return std::make_unique<p2p::simulated::SimulatedHost>(
                  peers_, codec::peer_id_of(key.public_key()), std::move(admission), Logger());
            },
            sockets_.host("127.0.0.1"), {{loop_, sockets_.host("127.0.0.1")}}, 0, engine_),
        monkey_(world_.members_.add({"monkey"}).identity) {}
  ~Ready() override { block_on(loop_, world_.stop()); }

  void start() {
    world_.make_service();
    const Status started = block_on(loop_, world_.start());
    ASSERT_TRUE(started) << started.error().to_string();
  }
  void start_trusting_the_network() {
    world_.options_.ready.trust_network = true;
    start();
  }
  codec::Cid module(const std::string& script = kScript) {
    return *block_on(loop_, world_.module(script));
  }
  // At the hoarder, as a monkey's code is.
  codec::Cid code(const std::string& text) {
    return *block_on(loop_, content::add_file(world_.stores_[2].blocks, to_bytes(text),
                                              store::Durability::buffered));
  }
  static std::string code_of(const std::string& script) { return "machine code of " + script; }

  monkey::Artifacts record_of(codec::Cid module, codec::Cid artifact, std::size_t bytes) {
    return {engine_.version, {{module, artifact, bytes}}, 1};
  }
  monkey::Artifacts honest() {
    const std::string text = code_of(kScript);
    return record_of(module(), code(text), text.size());
  }
  void offer(const p2p::NodeSigned& record, std::vector<codec::Cid> links = {}) {
    const Bytes block = codec::to_cbor(monkey::Compiled{record, std::move(links)});
    world_.compiled = codec::Cid::of(codec::ContentType::dag_cbor, block);
    std::vector<store::Block> blocks;
    blocks.push_back({*world_.compiled, block});
    ASSERT_TRUE(block_on(
        loop_, world_.stores_[2].blocks.put(std::move(blocks), store::Durability::buffered)));
  }
  void deploy(const std::string& script = kScript) {
    const Status done =
        block_on(loop_, world_.deploy({function("ping", "GET", "/ping", module(script))}));
    ASSERT_TRUE(done) << done.error().to_string();
  }
  std::string answer() {
    http::Headers headers;
    headers.add("tau-trace", "1");
    auto r = block_on(loop_, world_.call("GET", "/ping", {}, "hello.test.localhost", headers));
    EXPECT_TRUE(r) << (r ? "" : r.error().to_string());
    if (!r) return "";
    timing_ = std::string(r->headers.get("server-timing"));
    return r->body;
  }
  void expect_that_it_compiles_itself() {
    deploy();
    EXPECT_EQ(answer(), "pong");
    EXPECT_EQ(engine_.compiled, 1);
    EXPECT_EQ(engine_.loaded, 0) << "nothing that is not believed reaches the engine";
  }

  runtime::VirtualLoop loop_{1'700'000'000'000};
  SeededRandom random_{11};
  p2p::simulated::SimulatedNetwork peers_{loop_, random_};
  net::SimulatedNetwork sockets_{loop_};
  scenario::ScriptEngine engine_;
  scenario::World world_;
  const p2p::NodeIdentity& monkey_;
  std::string timing_;
};

TEST_F(Ready, WhatATrustedMonkeyCompiledIsRunUncompiled) {
  start_trusting_the_network();
  offer(monkey_.sign(honest()));
  deploy();
  EXPECT_EQ(answer(), "pong");
  EXPECT_EQ(engine_.compiled, 0);
  EXPECT_EQ(engine_.loaded, 1);
  EXPECT_NE(timing_.find("compiled ahead by a trusted node"), std::string::npos) << timing_;
}

TEST_F(Ready, AMonkeyThatIsNamedIsTrusted) {
  world_.options_.ready.trusted = {monkey_.id()};
  start();
  offer(monkey_.sign(honest()));
  deploy();
  EXPECT_EQ(answer(), "pong");
  EXPECT_EQ(engine_.compiled, 0);
}

TEST_F(Ready, NobodyIsTrustedUnlessToldSo) {
  start();
  offer(monkey_.sign(honest()));
  expect_that_it_compiles_itself();
}

TEST_F(Ready, AMonkeyThatIsNotNamedIsNotTrusted) {
  world_.options_.ready.trusted = {PeerId("another")};
  start();
  offer(monkey_.sign(honest()));
  expect_that_it_compiles_itself();
}

TEST_F(Ready, ANodeThatIsNoMonkeyIsNotTrustedWithTheNetwork) {
  start_trusting_the_network();
  offer(world_.members_[2].identity.sign(honest()));  // a hoarder
  expect_that_it_compiles_itself();
}

TEST_F(Ready, ARecordThatWasChangedAfterItWasSignedIsNotBelieved) {
  start_trusting_the_network();
  p2p::NodeSigned record = monkey_.sign(honest());
  const std::string text = code_of("say gotcha");
  record.record.body = codec::to_cbor(record_of(module(), code(text), text.size()));
  offer(record);
  expect_that_it_compiles_itself();
}

TEST_F(Ready, LinksBesideTheRecordAreNotBelieved) {
  start_trusting_the_network();
  offer(monkey_.sign(honest()), {code(code_of("say gotcha"))});
  deploy();
  EXPECT_EQ(answer(), "pong");
}

TEST_F(Ready, MachineCodeOfAnotherEngineIsNotLoaded) {
  start_trusting_the_network();
  monkey::Artifacts record = honest();
  record.engine = "script 2";
  offer(monkey_.sign(record));
  expect_that_it_compiles_itself();
}

TEST_F(Ready, MachineCodeOfAnotherModuleIsNotLoaded) {
  start_trusting_the_network();
  const std::string text = code_of("say other");
  offer(monkey_.sign(record_of(module("say other"), code(text), text.size())));
  expect_that_it_compiles_itself();
}

TEST_F(Ready, MachineCodeThatIsShorterOrLongerThanSignedIsNotLoaded) {
  start_trusting_the_network();
  for (const std::size_t more : {0u, 2u}) {
    const std::string script = "say pong" + std::string(more, '!');
    const std::string text = code_of(script);
    engine_.compiled = 0;
    offer(monkey_.sign(record_of(module(script), code(text), text.size() - 1 + more)));
    deploy(script);
    block_on(loop_, runtime::sleep_for(20ms));  // gossip
    EXPECT_EQ(answer(), script.substr(4));
    EXPECT_EQ(engine_.compiled, 1);
    EXPECT_EQ(engine_.loaded, 0);
  }
}

TEST_F(Ready, WhatTheEngineDoesNotLoadIsCompiled) {
  start_trusting_the_network();
  const std::string text = "not what an engine takes";
  offer(monkey_.sign(record_of(module(), code(text), text.size())));
  deploy();
  EXPECT_EQ(answer(), "pong");
  EXPECT_EQ(engine_.compiled, 1);
}

TEST_F(Ready, WhatNobodyGivesIsCompiled) {
  start_trusting_the_network();
  const auto nowhere = codec::Cid::of(codec::ContentType::raw, as_bytes("nowhere"));
  offer(monkey_.sign(record_of(module(), nowhere, 100)));
  expect_that_it_compiles_itself();
  world_.compiled = codec::Cid::of(codec::ContentType::dag_cbor, as_bytes("nowhere"));
  deploy("say two");
  block_on(loop_, runtime::sleep_for(20ms));  // gossip
  EXPECT_EQ(answer(), "two");
}

TEST_F(Ready, ABlockThatIsNoRecordIsPassedOver) {
  start_trusting_the_network();
  const Bytes block = codec::to_cbor(record_of(module(), module(), 1));
  world_.compiled = codec::Cid::of(codec::ContentType::dag_cbor, block);
  std::vector<store::Block> blocks;
  blocks.push_back({*world_.compiled, block});
  ASSERT_TRUE(block_on(
      loop_, world_.stores_[2].blocks.put(std::move(blocks), store::Durability::buffered)));
  expect_that_it_compiles_itself();
}

TEST_F(Ready, ANodeThatStartsAgainCompilesNothing) {
  start();
  deploy();
  EXPECT_EQ(answer(), "pong");
  EXPECT_EQ(engine_.compiled, 1);
  block_on(loop_, runtime::sleep_for(1s));
  ASSERT_TRUE(block_on(loop_, world_.restart()));
  EXPECT_EQ(answer(), "pong");
  EXPECT_EQ(engine_.compiled, 1);
  EXPECT_EQ(engine_.loaded, 1);
  EXPECT_NE(timing_.find("compiled here before"), std::string::npos) << timing_;
}

TEST_F(Ready, WhatTheDiskChangedIsCompiledAgain) {
  start();
  deploy();
  EXPECT_EQ(answer(), "pong");
  block_on(loop_, runtime::sleep_for(1s));
  const auto kept = block_on(loop_, world_.own_kv_.scan("code/", "", 10));
  ASSERT_EQ(kept->size(), 1u);
  store::Batch batch;
  batch.put(kept->front().key, to_bytes(code_of("say gone")));  // as long as it was
  ASSERT_TRUE(block_on(loop_, world_.own_kv_.write(std::move(batch), store::Durability::synced)));
  ASSERT_TRUE(block_on(loop_, world_.restart()));
  EXPECT_EQ(answer(), "pong");
  EXPECT_EQ(engine_.compiled, 2);
  EXPECT_EQ(engine_.loaded, 0);
}

TEST_F(Ready, WhatAnotherEngineKeptIsDropped) {
  start();
  deploy();
  EXPECT_EQ(answer(), "pong");
  block_on(loop_, runtime::sleep_for(1s));
  engine_.version = "script 2";
  ASSERT_TRUE(block_on(loop_, world_.restart()));
  EXPECT_TRUE(block_on(loop_, world_.own_kv_.scan("", "", 10))->empty());
  EXPECT_EQ(answer(), "pong");
  EXPECT_EQ(engine_.compiled, 2);
}

TEST_F(Ready, WhatIsKeptIsBoundedAndTheOldestGoesFirst) {
  world_.options_.ready.bytes_max = 2 * code_of("say 0").size();
  start();
  for (const char* script : {"say 0", "say 1", "say 2"}) {
    deploy(script);
    block_on(loop_, runtime::sleep_for(1s));
    EXPECT_EQ(answer(), std::string(script).substr(4));
    block_on(loop_, runtime::sleep_for(1s));
  }
  EXPECT_EQ(block_on(loop_, world_.own_kv_.scan("entry/", "", 10))->size(), 2u);
  const auto kept = block_on(loop_, world_.own_kv_.scan("code/", "", 10));
  ASSERT_EQ(kept->size(), 2u);
  for (const auto& entry : *kept) EXPECT_NE(to_text(entry.value), code_of("say 0"));
}

TEST_F(Ready, ALargeModuleIsCompiledQuicklyForWhoWaitsAndWellLater) {
  start();
  const std::string body(40'000, 'x');
  deploy("say " + body);
  EXPECT_EQ(answer(), body);
  EXPECT_EQ(engine_.compiled_quickly, 1);
  EXPECT_EQ(engine_.compiled, 0);
  EXPECT_TRUE(block_on(loop_, world_.own_kv_.scan("entry/", "", 10))->empty())
      << "what was compiled quickly is not worth keeping";
  block_on(loop_, runtime::sleep_for(3s));
  EXPECT_EQ(engine_.compiled, 1);
  EXPECT_EQ(answer(), body);
  ASSERT_TRUE(block_on(loop_, world_.restart()));
  EXPECT_EQ(answer(), body);
  EXPECT_EQ(engine_.compiled_quickly + engine_.compiled, 2);
  EXPECT_EQ(engine_.loaded, 1);
}

}  // namespace
}  // namespace tau::substrate
