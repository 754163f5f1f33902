#include "content/exchange.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codec/peer_id.h"
#include "codec/varint.h"
#include "content/exchange_scenario.h"
#include "p2p/simulated/network.h"

namespace tau::content {
namespace {

using ::testing::HasSubstr;

struct SimulatedWorld {
  runtime::VirtualLoop loop;
  SeededRandom random{1};
  p2p::simulated::SimulatedNetwork network{loop, random};
  command::Members::HostFactory factory() {
    return [this](const crypto::KeyPair& key, p2p::Admission admission) {
      return std::make_unique<p2p::simulated::SimulatedHost>(
          network, codec::peer_id_of(key.public_key()), std::move(admission), Logger());
    };
  }
};
INSTANTIATE_TYPED_TEST_SUITE_P(Simulated, ExchangeOn, SimulatedWorld);

// What only a simulated network can be made to do.
class ExchangeSimulated : public ::testing::Test {
 protected:
  SimulatedWorld world_;
  Cloud cloud_{world_.loop, world_.factory(), 4};
};

TEST_F(ExchangeSimulated, ConcurrentGetsOfABlockShareOneFetch) {
  const Block block = block_of("shared");
  cloud_.put(0, {block});
  runtime::TaskGroup group(world_.loop);
  int got = 0;
  for (int i = 0; i < 50; ++i)
    group.spawn([](Exchange& exchange, Cid cid, int& count) -> Task<void> {
      const auto data = co_await exchange.get(cid, {});
      EXPECT_TRUE(data);
      ++count;
    }(cloud_[1].exchange, block.cid, got));
  block_on(world_.loop, group.join());
  EXPECT_EQ(got, 50);
  EXPECT_EQ(cloud_.counters(1).fetches, 1u);
  EXPECT_EQ(cloud_.counters(1).bitswap.blocks_received, 1u);
}

TEST_F(ExchangeSimulated, AGetThatGivesUpLeavesTheOthersTheirFetch) {
  const Block block = block_of("patience");
  world_.network.set_latency(100ms, 0ms);
  cloud_.put(0, {block});
  runtime::TaskGroup hasty(world_.loop), patient(world_.loop);
  const auto get = [](Exchange& exchange, Cid cid, PeerId hint, bool& ok) -> Task<void> {
    ok = (co_await exchange.get(cid, {.hints = {hint}})).has_value();
  };
  bool first = true, second = false;
  hasty.spawn(get(cloud_[1].exchange, block.cid, cloud_.id(0), first));
  patient.spawn(get(cloud_[1].exchange, block.cid, cloud_.id(0), second));
  hasty.cancel();
  block_on(world_.loop, hasty.join());
  block_on(world_.loop, patient.join());
  EXPECT_FALSE(first);
  EXPECT_TRUE(second);
  // And when all give up, the next one starts anew.
  const Block other = block_of("impatience");
  cloud_.put(0, {other});
  EXPECT_EQ(cloud_.get(1, other.cid, {.hints = {cloud_.id(0)}, .deadline = 10ms}).error().code(),
            ErrorCode::deadline_exceeded);
  EXPECT_TRUE(cloud_.get(1, other.cid, {.hints = {cloud_.id(0)}}));
}

TEST_F(ExchangeSimulated, APeerThatDiesInTheMiddleIsReplacedByAnotherHolder) {
  const Tree tree = tree_of(20'000'000);
  cloud_.put(0, tree.blocks);
  cloud_.put(2, tree.blocks);
  world_.loop.call_after(6ms, [&] { world_.network.kill(cloud_.id(0)); });
  const auto size = cloud_.get_dag(1, tree.root, {.hints = {cloud_.id(0)}});
  ASSERT_TRUE(size) << size.error().to_string();
  EXPECT_EQ(size->blocks, tree.blocks.size());
  EXPECT_GT(cloud_.counters(2).bitswap.blocks_sent, 0u);
}

TEST_F(ExchangeSimulated, APartitionDelaysAFetchAndAnotherHolderEndsIt) {
  const Tree tree = tree_of(2'000'000);
  cloud_.put(0, tree.blocks);
  cloud_.put(2, tree.blocks);
  world_.network.partition({{cloud_.id(0)}});
  const auto before = world_.loop.now();
  ASSERT_TRUE(cloud_.get_dag(1, tree.root, {.hints = {cloud_.id(0), cloud_.id(2)}}));
  EXPECT_LT(world_.loop.now() - before, 10s);
  // Behind the partition there is nobody, until it heals.
  EXPECT_FALSE(cloud_.get(0, block_of("x").cid, {.deadline = 3s}));
  world_.network.heal();
  cloud_.put(2, {block_of("x")});
  EXPECT_TRUE(cloud_.get(0, block_of("x").cid));
}

TEST_F(ExchangeSimulated, ASilentPeerCostsPatienceNotTheBlock) {
  const Block block = block_of("x");
  cloud_.put(2, {block});
  // It accepts the stream and never answers.
  cloud_[0].host.handle(std::string(kBitswapProtocol),
                        [](std::unique_ptr<p2p::Stream> stream) -> Task<void> {
                          (void)co_await runtime::sleep_for(1h);
                          stream->reset();
                        });
  const auto before = world_.loop.now();
  ASSERT_TRUE(cloud_.get(1, block.cid, {.hints = {cloud_.id(0), cloud_.id(2)}}));
  EXPECT_LT(world_.loop.now() - before, 1s);
}

TEST_F(ExchangeSimulated, LimitsOnADagAreKept) {
  const Tree tree = tree_of(5'000'000);
  cloud_.put(0, tree.blocks);
  const Fetch how{.hints = {cloud_.id(0)}};
  EXPECT_EQ(cloud_.get_dag(1, tree.root, how, {.bytes_max = 1'000'000}).error().code(),
            ErrorCode::resource_exhausted);
  EXPECT_EQ(cloud_.get_dag(2, tree.root, how, {.blocks_max = 5}).error().code(),
            ErrorCode::resource_exhausted);
  EXPECT_TRUE(cloud_.get_dag(1, tree.root, how,
                             {.blocks_max = tree.blocks.size(), .bytes_max = tree.bytes}));
}

TEST_F(ExchangeSimulated, ADagWithAHoleIsNotFoundAndNamesTheBlock) {
  Tree tree = tree_of(1000);
  const Cid missing = tree.blocks[1].cid;
  std::erase_if(tree.blocks, [&](const Block& b) { return b.cid == missing; });
  cloud_.put(0, tree.blocks);
  const auto size = cloud_.get_dag(1, tree.root);
  ASSERT_FALSE(size);
  EXPECT_EQ(size.error().code(), ErrorCode::not_found);
  EXPECT_THAT(size.error().message(), HasSubstr(missing.to_string()));
}

TEST_F(ExchangeSimulated, ABlockThatTheDiskChangedIsFetchedAgain) {
  const Block block = block_of("x");
  cloud_.put(0, {block});
  cloud_.put(1, {block});
  ASSERT_TRUE(cloud_[1].kv.corrupt("b/" + to_text(block.cid.multihash())));
  EXPECT_EQ(*cloud_.get(1, block.cid), block.data);
  EXPECT_EQ(**block_on(world_.loop, cloud_[1].blocks.get(block.cid)), block.data);
}

TEST_F(ExchangeSimulated, AStoreThatCannotWriteFailsTheGet) {
  const Block block = block_of("x");
  cloud_.put(0, {block});
  cloud_[1].kv.fail_writes(Error(ErrorCode::resource_exhausted, "disk full"));
  EXPECT_EQ(cloud_.get(1, block.cid).error().message(), "disk full");
}

TEST_F(ExchangeSimulated, StoppingEndsTheGetsThatAreUnderWay) {
  world_.network.set_latency(1s, 0ms);
  runtime::TaskGroup group(world_.loop);
  std::optional<Error> seen;
  group.spawn([](Exchange& exchange, Cid cid, std::optional<Error>& out) -> Task<void> {
    const auto data = co_await exchange.get(cid, {});
    if (!data) out = data.error();
  }(cloud_[1].exchange, block_of("x").cid, seen));
  block_on(world_.loop, cloud_[1].exchange.stop());
  block_on(world_.loop, group.join());
  ASSERT_TRUE(seen);
}

// A member that speaks bitswap by hand.
class Hostile {
 public:
  Hostile(runtime::Loop& loop, p2p::Host& host) : loop_(loop), host_(host), tasks_(loop) {}
  ~Hostile() { block_on(loop_, tasks_.stop()); }

  // Answers whatever is asked with this.
  void answer_with(Bytes framed) {
    host_.handle(std::string(kBitswapProtocol),
                 [this, framed](std::unique_ptr<p2p::Stream> stream) {
                   return answer(*this, std::move(stream), framed);
                 });
  }
  Status send(PeerId to, Bytes framed) {
    return block_on(loop_, deliver(*this, std::move(to), std::move(framed)));
  }

 private:
  static Task<void> answer(Hostile& self, std::unique_ptr<p2p::Stream> stream, Bytes framed) {
    for (;;) {
      const auto request = co_await read_bitswap(*stream, 1s);
      if (!request || !*request) co_return;
      (void)co_await deliver(self, stream->remote(), framed);
    }
  }
  static Task<Status> deliver(Hostile& self, PeerId to, Bytes framed) {
    CO_TRY(const auto stream, self.host_.open(std::move(to), std::string(kBitswapProtocol)));
    CO_TRY_STATUS(stream->write(framed));
    CO_TRY_STATUS(stream->close_write());
    std::uint8_t byte = 0;
    CO_TRY_STATUS(stream->read({&byte, 1}));
    co_return Status{};
  }

  runtime::Loop& loop_;
  p2p::Host& host_;
  runtime::TaskGroup tasks_;
};

Bytes framed(const BitswapMessage& message) {
  Bytes out, body = encode_bitswap(message);
  codec::put_uvarint(out, body.size());
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

TEST_F(ExchangeSimulated, APeerThatLiesIsPassedOverAndNothingOfItIsStored) {
  const Block wanted = block_of("the truth"), lie = block_of("a lie");
  cloud_.put(2, {wanted});
  block_on(world_.loop, cloud_[0].exchange.stop());
  Hostile hostile(world_.loop, cloud_[0].host);
  BitswapMessage message;
  message.blocks.push_back(lie);
  const Bytes broken = {3, 0x0a, 0x7f, 0x00};
  std::uint64_t lies = 0;
  for (const Bytes& answer : {framed(message), broken, Bytes{0xff, 0xff, 0xff, 0x7f}}) {
    hostile.answer_with(answer);
    const auto got = cloud_.get(1, wanted.cid, {.hints = {cloud_.id(0)}, .deadline = 5s});
    ASSERT_TRUE(got) << got.error().to_string();
    EXPECT_EQ(*got, wanted.data);
    EXPECT_FALSE(cloud_.has(1, lie.cid));
    EXPECT_GT(cloud_.counters(1).bitswap.lies, lies);
    lies = cloud_.counters(1).bitswap.lies;
    ASSERT_TRUE(block_on(world_.loop, cloud_[1].blocks.erase(wanted.cid)));
  }
}

TEST_F(ExchangeSimulated, ASessionAsksALiarOnlyOnce) {
  block_on(world_.loop, cloud_[0].exchange.stop());
  Hostile hostile(world_.loop, cloud_[0].host);
  BitswapMessage message;
  message.blocks.push_back(block_of("a lie"));
  hostile.answer_with(framed(message));
  const Tree tree = tree_of(2'000'000);
  cloud_.put(2, tree.blocks);
  ASSERT_TRUE(cloud_.get_dag(1, tree.root, {.hints = {cloud_.id(0)}}));
  EXPECT_EQ(cloud_.counters(1).bitswap.lies, 1u);
}

TEST_F(ExchangeSimulated, HostileMessagesNeverStopAServer) {
  const Block block = block_of("still here");
  cloud_.put(1, {block});
  Hostile hostile(world_.loop, cloud_[0].host);
  SeededRandom random(5);
  for (int i = 0; i < 200; ++i) {
    Bytes junk(random.below(64));
    random.fill(junk);
    (void)hostile.send(cloud_.id(1), junk);
  }
  BitswapMessage many;
  for (int i = 0; i < 4000; ++i)
    many.wants.push_back({block_of(std::to_string(i)).cid, WantEntry::Type::block, false, true});
  (void)hostile.send(cloud_.id(1), framed(many));
  EXPECT_TRUE(cloud_.get(3, block.cid, {.hints = {cloud_.id(1)}}));
}

TEST_F(ExchangeSimulated, TwoRunsTakeTheSameVirtualTimeToTheNanosecond) {
  const auto run = [] {
    SimulatedWorld world;
    Cloud cloud(world.loop, world.factory(), 3);
    const Tree tree = tree_of(2'000'000);
    cloud.put(0, tree.blocks);
    EXPECT_TRUE(cloud.get_dag(1, tree.root));
    return world.loop.now();
  };
  EXPECT_EQ(run(), run());
}

}  // namespace
}  // namespace tau::content
