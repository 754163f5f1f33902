#include "codec/peer_id.h"
#include "p2p/simulated/network.h"
#include "services/hoarder/service_scenario.h"

namespace tau::hoarder {
namespace {

using namespace std::chrono_literals;
using runtime::block_on;

command::Members::HostFactory on(p2p::simulated::SimulatedNetwork& network) {
  return [&network](const crypto::KeyPair& key, p2p::Admission admission) {
    return std::make_unique<p2p::simulated::SimulatedHost>(
        network, codec::peer_id_of(key.public_key()), std::move(admission), Logger());
  };
}

TEST(HoarderService, KeepsContentOnASimulatedNetwork) {
  runtime::VirtualLoop loop;
  SeededRandom random(1);
  p2p::simulated::SimulatedNetwork network(loop, random);
  run_hoarder_scenario(loop, random, on(network));
}

class Hoarder : public ::testing::Test {
 protected:
  Hoarder() {
    members_.add({"monkey"});
    members_.add({"hoarder"});
    members_.add({"substrate"});
    EXPECT_TRUE(block_on(loop_, members_.start()));
    for (std::size_t i = 0; i < members_.size(); ++i)
      storage_.push_back(std::make_unique<Storage>(loop_, *members_[i].host));
    begin();
  }
  ~Hoarder() override {
    if (service_) block_on(loop_, service_->stop());
    for (auto& storage : storage_) block_on(loop_, storage->exchange.stop());
    block_on(loop_, members_.stop());
  }
  void begin() {
    service_ = std::make_unique<Service>(loop_, members_[1].router, storage_[1]->exchange,
                                         promises_, Logger());
    EXPECT_TRUE(block_on(loop_, service_->start()));
  }
  void end() {
    block_on(loop_, service_->stop());
    service_.reset();
  }
  void put(std::size_t at, const Content& content) {
    EXPECT_TRUE(
        block_on(loop_, storage_[at]->blocks.put(content.blocks, store::Durability::buffered)));
  }
  Result<Held> hold(codec::Cid root, std::vector<PeerId> from = {},
                    Duration deadline = Hold::kDeadline) {
    return block_on(
        loop_, members_[0].caller.call<Hold>(id(1), kProtocol, {root, std::move(from)}, deadline));
  }
  std::optional<Held> holds(codec::Cid root) {
    auto answer = block_on(loop_, members_[0].caller.call<Holds>(id(1), kProtocol, {root}));
    EXPECT_TRUE(answer);
    return answer->held;
  }
  PeerId id(std::size_t i) { return members_[i].host->id(); }

  runtime::VirtualLoop loop_;
  SeededRandom random_{1};
  p2p::simulated::SimulatedNetwork network_{loop_, random_};
  command::Members members_{loop_, random_, on(network_)};
  std::vector<std::unique_ptr<Storage>> storage_;
  store::MemoryKv promises_;
  std::unique_ptr<Service> service_;
};

TEST_F(Hoarder, FetchesFromThePeersThatAreNamed) {
  const Content content = content_of(1'000'000, 2);
  put(2, content);
  const auto held = hold(content.root, {id(2)});
  ASSERT_TRUE(held) << held.error().to_string();
  EXPECT_EQ(storage_[2]->exchange.counters().bitswap.blocks_sent, content.blocks.size());
}

TEST_F(Hoarder, PromisesNothingBeforeAllOfItIsOnTheDisk) {
  Content content = content_of(1'000'000, 3);
  const auto missing = content.blocks[1].cid;
  std::erase_if(content.blocks, [&](const auto& block) { return block.cid == missing; });
  put(0, content);
  EXPECT_EQ(hold(content.root).error().code(), ErrorCode::not_found);
  EXPECT_FALSE(holds(content.root));
  put(0, content_of(1'000'000, 3));
  promises_.fail_writes(Error(ErrorCode::resource_exhausted, "disk full"));
  EXPECT_EQ(hold(content.root).error().message(), "disk full");
  EXPECT_FALSE(holds(content.root));
  EXPECT_TRUE(hold(content.root));
  EXPECT_TRUE(holds(content.root));
}

TEST_F(Hoarder, DoesNotFetchAgainWhatItHasAlready) {
  const Content content = content_of(1'000'000, 4);
  put(0, content);
  put(1, content);
  ASSERT_TRUE(hold(content.root));
  EXPECT_EQ(storage_[1]->exchange.counters().bitswap.blocks_received, 0u);
}

TEST_F(Hoarder, KeepsItsPromisesOverARestartAndAnnouncesThemAgain) {
  const Content content = content_of(1000, 5);
  put(0, content);
  ASSERT_TRUE(hold(content.root));
  end();
  begin();
  EXPECT_TRUE(holds(content.root));
  const auto until = loop_.now() + 5s;
  std::vector<PeerId> providers;
  while (providers.empty() && loop_.now() < until) {
    providers = *block_on(loop_, members_[2].host->find_providers(content.root.multihash(), 5));
  }
  EXPECT_EQ(providers, std::vector{id(1)});
}

TEST_F(Hoarder, ListsInPages) {
  std::vector<codec::Cid> roots;
  for (std::uint64_t i = 0; i < 5; ++i) {
    const Content content = content_of(100, 10 + i);
    put(0, content);
    ASSERT_TRUE(hold(content.root));
    roots.push_back(content.root);
  }
  std::ranges::sort(roots, {}, &codec::Cid::to_string);
  std::vector<codec::Cid> listed;
  std::optional<codec::Cid> after;
  for (;;) {
    const auto page =
        block_on(loop_, members_[2].caller.call<ListHeld>(id(1), kProtocol, {after, 2}));
    ASSERT_TRUE(page);
    EXPECT_LE(page->held.size(), 2u);
    if (page->held.empty()) break;
    for (const auto& held : page->held) listed.push_back(held.root);
    after = listed.back();
  }
  EXPECT_EQ(listed, roots);
}

TEST_F(Hoarder, ManyHoldsAtOnceAllEndAndStoppingEndsThoseThatWait) {
  runtime::TaskGroup group(loop_);
  std::size_t held = 0, refused = 0;
  const auto one = [](command::Caller& caller, PeerId at, codec::Cid root, std::size_t& ok,
                      std::size_t& not_ok) -> Task<void> {
    const auto answer = co_await caller.call<Hold>(at, kProtocol, {root, {}});
    ++(answer ? ok : not_ok);
  };
  for (std::uint64_t i = 0; i < 30; ++i) {
    const Content content = content_of(100'000, 100 + i);
    put(0, content);
    group.spawn(one(members_[0].caller, id(1), content.root, held, refused));
  }
  block_on(loop_, group.join());
  EXPECT_EQ(held, 30u);
  network_.set_latency(1s, 0ms);
  for (std::uint64_t i = 0; i < 30; ++i)
    group.spawn(one(members_[0].caller, id(1), content_of(100, 200 + i).root, held, refused));
  block_on(loop_, runtime::sleep_for(2s));
  end();
  block_on(loop_, group.join());
  EXPECT_EQ(refused, 30u);
}

TEST_F(Hoarder, RefusesMoreHintsThanItWouldAsk) {
  const Content content = content_of(100, 6);
  EXPECT_EQ(hold(content.root, std::vector<PeerId>(kHintsMax + 1, id(2))).error().code(),
            ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace tau::hoarder
