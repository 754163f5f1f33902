#include "services/monkey/artifacts.h"

#include <gtest/gtest.h>

#include "content/unixfs.h"
#include "crypto/ed25519.h"
#include "services/monkey/service_scenario.h"
#include "store/memory/memory_kv.h"

namespace tau::monkey {
namespace {

class FakeModule final : public vm::Module {
 public:
  explicit FakeModule(std::string code) : code_(std::move(code)) {}
  bool has_function(std::string_view) const override { return true; }
  Result<Bytes> serialize() const override { return to_bytes(code_); }
  Task<std::expected<vm::RunTimes, vm::RunFailure>> run(std::string_view, std::uint32_t, void*,
                                                        vm::RunLimits) const override {
    co_return vm::RunTimes{};
  }

 private:
  std::string code_;
};

class FakeEngine final : public vm::Engine {
 public:
  Result<std::shared_ptr<const vm::Module>> compile(BytesView wasm, vm::Effort effort) override {
    ++compiled;
    EXPECT_EQ(effort, vm::Effort::full);
    if (as_text(wasm) == "broken") return fail(ErrorCode::invalid_argument, "no module");
    return std::make_shared<FakeModule>("code of " + to_text(wasm));
  }
  Result<std::shared_ptr<const vm::Module>> load(BytesView) override {
    return fail(ErrorCode::unimplemented, "");
  }
  std::string compatibility() const override { return "fake 1"; }
  int compiled = 0;
};

class ArtifactsTest : public ::testing::Test {
 protected:
  ArtifactsTest() : node_(members_.add({"monkey"})) {
    EXPECT_TRUE(runtime::block_on(loop_, members_.start()));
    storage_ = std::make_unique<Storage>(loop_, *node_.host);
  }
  ~ArtifactsTest() override {
    runtime::block_on(loop_, log_tasks_.stop());
    runtime::block_on(loop_, storage_->exchange.stop());
    storage_.reset();
    runtime::block_on(loop_, members_.stop());
  }

  BuiltFunction built(const std::string& name, const std::string& wasm) {
    BuiltFunction out;
    out.name = name;
    out.module = *runtime::block_on(
        loop_, content::add_file(storage_->blocks, to_bytes(wasm), store::Durability::buffered));
    return out;
  }
  Result<std::optional<codec::Cid>> make(std::vector<BuiltFunction> functions) {
    ArtifactMaker maker(loop_, storage_->exchange, pool_, cache_, node_.identity, &engine_);
    return runtime::block_on(loop_, maker.make(std::move(functions), log_));
  }
  Artifacts opened(const codec::Cid& root) {
    const Bytes block = **runtime::block_on(loop_, storage_->blocks.get(root));
    auto record = open_compiled(node_.admission, block, loop_.wall_unix_ms());
    EXPECT_TRUE(record) << record.error().to_string();
    EXPECT_EQ(record->signer.peer, node_.identity.id());
    return record->record;
  }

  runtime::VirtualLoop loop_{1'700'000'000'000};
  SeededRandom random_{3};
  p2p::simulated::SimulatedNetwork network_{loop_, random_};
  command::Members members_{loop_, random_, hosts_on(network_)};
  command::Member& node_;
  std::unique_ptr<Storage> storage_;
  runtime::ThreadPool pool_{0};
  store::MemoryKv kv_;
  ModuleCache cache_{kv_};
  FakeEngine engine_;
  runtime::TaskGroup log_tasks_{loop_};
  std::string logged_;
  BuildLog log_{loop_, [this](std::string text, std::uint64_t) -> Task<Result<std::uint64_t>> {
                  logged_ += text;
                  return [](std::uint64_t has) -> Task<Result<std::uint64_t>> {
                    co_return has;
                  }(logged_.size());
                }};
};

TEST_F(ArtifactsTest, SignsTheMachineCodeOfEveryModuleOnce) {
  const auto ping = built("ping", "one"), pong = built("pong", "two"), same = built("pang", "one");
  const auto root = make({ping, pong, same});
  ASSERT_TRUE(root && *root);
  const Artifacts record = opened(**root);
  EXPECT_EQ(record.engine, "fake 1");
  ASSERT_EQ(record.artifacts.size(), 2u);
  EXPECT_EQ(record.artifacts[0].module, ping.module);
  content::LocalSource local(storage_->blocks);
  for (const auto& one : record.artifacts) {
    const auto code = runtime::block_on(loop_, content::read_file(local, one.artifact, 100));
    ASSERT_TRUE(code);
    EXPECT_EQ(code->size(), one.bytes);
    EXPECT_EQ(as_text(*code), one.module == ping.module ? "code of one" : "code of two");
  }
  // Who holds everything below the block has the code.
  const auto size = runtime::block_on(loop_, storage_->exchange.get_dag(**root, {}, {}));
  EXPECT_EQ(size->blocks, 3u);
}

TEST_F(ArtifactsTest, WhatWasCompiledBeforeIsNotCompiledAgain) {
  const auto ping = built("ping", "one");
  ASSERT_TRUE(make({ping}));
  const auto root = make({ping, built("pong", "two")});
  EXPECT_EQ(engine_.compiled, 2);
  EXPECT_EQ(opened(**root).artifacts[0].bytes, std::string_view("code of one").size());
}

TEST_F(ArtifactsTest, AModuleThatDoesNotCompileIsLeftOutAndTheLogSaysWhy) {
  log_tasks_.spawn(log_.run());
  const auto root = make({built("ping", "broken"), built("pong", "two")});
  ASSERT_TRUE(root && *root);
  EXPECT_EQ(opened(**root).artifacts.size(), 1u);
  EXPECT_FALSE(*make({built("ping", "broken")}));
  log_.finish();
  runtime::block_on(loop_, log_tasks_.join());
  EXPECT_NE(logged_.find("[ping] not compiled ahead: no module"), std::string::npos) << logged_;
}

TEST_F(ArtifactsTest, ARecordIsHeldToItsBounds) {
  const auto open = [&](const Artifacts& record) {
    return open_compiled(node_.admission, codec::to_cbor(Compiled{node_.identity.sign(record), {}}),
                         loop_.wall_unix_ms());
  };
  const auto cid = codec::Cid::of(codec::ContentType::raw, as_bytes("x"));
  EXPECT_TRUE(open({"fake 1", {{cid, cid, 1}}, 1}));
  EXPECT_FALSE(open({"", {{cid, cid, 1}}, 1}));
  EXPECT_FALSE(open({std::string(301, 'x'), {}, 1}));
  EXPECT_FALSE(open({"fake 1", {{cid, cid, 0}}, 1}));
  EXPECT_FALSE(open({"fake 1", {{cid, cid, kArtifactBytesMax + 1}}, 1}));
  EXPECT_FALSE(open({"fake 1", std::vector<Artifact>(2001, {cid, cid, 1}), 1}));
  EXPECT_FALSE(open_compiled(node_.admission, Bytes(kCompiledBytesMax + 1), 1));
}

}  // namespace
}  // namespace tau::monkey
