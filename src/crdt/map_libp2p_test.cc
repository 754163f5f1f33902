// Ten replicas on real libp2p hosts.
#include <gtest/gtest.h>

#include "command/members.h"
#include "crdt/map.h"
#include "p2p/libp2p/host.h"
#include "store/memory/memory_kv.h"

namespace tau::crdt {
namespace {

using namespace std::chrono_literals;
using runtime::block_on;

struct Node {
  Node(runtime::Loop& loop, command::Member& member, Random& random)
      : rows(store::with_prefix(disk, "crdt/")),
        blocks(disk),
        exchange(loop, *member.host, blocks, Logger()),
        map(loop, *member.host, exchange, *rows, member.identity, member.admission, random,
            {.name = "test", .writers = "seer"}, Logger()) {}
  store::MemoryKv disk;
  std::unique_ptr<store::Kv> rows;
  store::BlockStore blocks;
  content::Exchange exchange;
  Map map;
};

class MapOnLibP2p : public ::testing::Test {
 protected:
  void start(std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) members_.add({"seer"});
    const auto started = block_on(loop_, members_.start());
    ASSERT_TRUE(started) << started.error().to_string();
    for (std::size_t i = 0; i < n; ++i) {
      nodes_.push_back(std::make_unique<Node>(loop_, members_[i], random_));
      nodes_.back()->exchange.start();
      const auto map = block_on(loop_, nodes_.back()->map.start());
      ASSERT_TRUE(map) << map.error().to_string();
    }
  }
  void TearDown() override {
    for (auto& node : nodes_) {
      block_on(loop_, node->map.stop());
      block_on(loop_, node->exchange.stop());
    }
    block_on(loop_, members_.stop());
  }
  template <class F>
  bool wait_for(F condition) {
    const auto end = loop_.now() + 30s;
    while (!condition()) {
      if (loop_.now() > end) return false;
      (void)block_on(loop_, runtime::sleep_for(2ms));
    }
    return true;
  }
  std::optional<Bytes> get(std::size_t i, std::string key) {
    return *block_on(loop_, nodes_[i]->map.get(std::move(key)));
  }

  runtime::RealLoop loop_;
  p2p::libp2p::Runtime runtime_;
  SystemRandom random_;
  command::Members members_{
      loop_, random_, [this](const crypto::KeyPair& key, p2p::Admission admission) {
        return std::make_unique<p2p::libp2p::LibP2pHost>(
            loop_, runtime_, p2p::libp2p::Options{.key = key, .admission = std::move(admission)},
            Logger());
      }};
  std::vector<std::unique_ptr<Node>> nodes_;
};

TEST_F(MapOnLibP2p, TenNodesThatAllWriteComeToTheSameContent) {
  start(10);
  for (std::size_t i = 0; i < 10; ++i) {
    for (int k = 0; k < 5; ++k) {
      const auto key = std::to_string(i) + "/" + std::to_string(k);
      ASSERT_TRUE(block_on(loop_, nodes_[i]->map.put(key, to_bytes("v"))));
    }
    ASSERT_TRUE(block_on(loop_, nodes_[i]->map.put("shared", to_bytes(std::to_string(i)))));
  }
  // One too large for an announcement.
  ASSERT_TRUE(block_on(loop_, nodes_[0]->map.put("big", Bytes(200'000, 'x'))));
  ASSERT_TRUE(wait_for([&] {
    for (auto& node : nodes_)
      if (node->map.state().context() != nodes_[0]->map.state().context() ||
          node->map.state().context().size() != 10)
        return false;
    return true;
  }));
  for (std::size_t i = 0; i < 10; ++i) {
    EXPECT_EQ(block_on(loop_, nodes_[i]->map.list("", "", 1000))->size(), 52u);
    EXPECT_EQ(get(i, "shared"), get(0, "shared"));
  }
  ASSERT_TRUE(block_on(loop_, nodes_[3]->map.erase("shared")));
  EXPECT_TRUE(wait_for([&] {
    for (std::size_t i = 0; i < 10; ++i)
      if (get(i, "shared")) return false;
    return true;
  }));
}

}  // namespace
}  // namespace tau::crdt
