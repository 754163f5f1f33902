// Blocks between members of a network: what must hold on whatever hosts the test brings. A test
// file instantiates ExchangeOn with a World: `loop` and `factory()`, which makes hosts.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "codec/dag_cbor.h"
#include "command/members.h"
#include "content/exchange.h"
#include "content/unixfs.h"
#include "store/memory/memory_kv.h"

namespace tau::content {
using namespace std::chrono_literals;
using codec::Cid;
using codec::ContentType;
using runtime::block_on;
using store::Block;
using store::Durability;

inline Block block_of(std::string_view text) {
  return {Cid::of(ContentType::raw, as_bytes(text)), to_bytes(text)};
}
inline Bytes noise(std::size_t size, std::uint64_t seed = 1) {
  Bytes out(size);
  SeededRandom(seed).fill(out);
  return out;
}

struct Node {
  Node(runtime::Loop& loop, p2p::Host& at)
      : host(at), blocks(kv), exchange(loop, at, blocks, Logger()) {
    exchange.start();
  }
  p2p::Host& host;
  store::MemoryKv kv;
  store::BlockStore blocks;
  Exchange exchange;
};

// `n` members, each connected to all others, each with an exchange.
class Cloud {
 public:
  Cloud(runtime::Loop& loop, command::Members::HostFactory factory, std::size_t n)
      : loop_(loop), members_(loop, random_, std::move(factory)) {
    for (std::size_t i = 0; i < n; ++i) members_.add({"hoarder"});
    const auto started = block_on(loop_, members_.start());
    EXPECT_TRUE(started) << started.error().to_string();
    for (std::size_t i = 0; i < n; ++i)
      nodes_.push_back(std::make_unique<Node>(loop_, *members_[i].host));
  }
  ~Cloud() {
    for (auto& node : nodes_) block_on(loop_, node->exchange.stop());
    block_on(loop_, members_.stop());
  }
  Node& operator[](std::size_t i) { return *nodes_[i]; }
  PeerId id(std::size_t i) { return nodes_[i]->host.id(); }
  command::Members& members() { return members_; }

  void put(std::size_t at, std::vector<Block> blocks) {
    EXPECT_TRUE(block_on(loop_, nodes_[at]->blocks.put(std::move(blocks), Durability::buffered)));
  }
  Result<Bytes> get(std::size_t at, Cid cid, Fetch how = {}) {
    return block_on(loop_, nodes_[at]->exchange.get(cid, std::move(how)));
  }
  Result<DagSize> get_dag(std::size_t at, Cid root, Fetch how = {}, DagLimits limits = {}) {
    return block_on(loop_, nodes_[at]->exchange.get_dag(root, std::move(how), limits));
  }
  bool has(std::size_t at, Cid cid) { return *block_on(loop_, nodes_[at]->blocks.has(cid)); }
  Exchange::Counters counters(std::size_t at) { return nodes_[at]->exchange.counters(); }

  SeededRandom random_{7};

 private:
  runtime::Loop& loop_;
  command::Members members_;
  std::vector<std::unique_ptr<Node>> nodes_;
};

// A tree of a DAG-CBOR root, a file of several chunks and a few small blocks.
struct Tree {
  Cid root;
  std::vector<Block> blocks;
  std::uint64_t bytes = 0;
};
inline Tree tree_of(std::size_t file_bytes, int leaves = 3) {
  Tree tree;
  File file = file_of(noise(file_bytes));
  tree.blocks = std::move(file.blocks);
  codec::Value::List list = {codec::Value(file.root)};
  for (int i = 0; i < leaves; ++i) {
    tree.blocks.push_back(block_of("leaf " + std::to_string(i)));
    list.push_back(codec::Value(tree.blocks.back().cid));
  }
  list.push_back(codec::Value(file.root));  // linked twice, held once
  Bytes root = codec::encode(codec::Value(std::move(list)));
  tree.root = Cid::of(ContentType::dag_cbor, root);
  tree.blocks.push_back({tree.root, std::move(root)});
  for (const auto& block : tree.blocks) tree.bytes += block.data.size();
  return tree;
}

template <class World>
class ExchangeOn : public ::testing::Test {
 protected:
  World world_;
  Cloud cloud_{world_.loop, world_.factory(), 3};
};
TYPED_TEST_SUITE_P(ExchangeOn);

TYPED_TEST_P(ExchangeOn, ABlockComesFromThePeerThatHasItAndStays) {
  auto& cloud = this->cloud_;
  const Block block = block_of("hello world");
  cloud.put(0, {block});
  const auto got = cloud.get(1, block.cid, {.hints = {cloud.id(0)}});
  ASSERT_TRUE(got) << got.error().to_string();
  EXPECT_EQ(*got, block.data);
  EXPECT_TRUE(cloud.has(1, block.cid));
  EXPECT_EQ(cloud.counters(1).bitswap.blocks_received, 1u);
  EXPECT_EQ(cloud.counters(1).bitswap.bytes_received, block.data.size());
  EXPECT_EQ(cloud.counters(0).bitswap.blocks_sent, 1u);
  ASSERT_TRUE(cloud.get(1, block.cid));
  EXPECT_EQ(cloud.counters(1).local_hits, 1u);
  EXPECT_EQ(cloud.counters(1).bitswap.blocks_received, 1u);
}

TYPED_TEST_P(ExchangeOn, ABlockIsFoundWithoutAHint) {
  auto& cloud = this->cloud_;
  const Block block = block_of("somewhere");
  cloud.put(2, {block});
  const auto got = cloud.get(0, block.cid);
  ASSERT_TRUE(got) << got.error().to_string();
  EXPECT_EQ(*got, block.data);
}

TYPED_TEST_P(ExchangeOn, ABlockThatNobodyHasIsNotFound) {
  const auto got = this->cloud_.get(0, block_of("nowhere").cid);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code(), ErrorCode::not_found);
  EXPECT_THAT(got.error().message(), ::testing::HasSubstr("none of the 2 connected peers"));
}

TYPED_TEST_P(ExchangeOn, ALargestBlockGoesThroughAndAFileComesBackWhole) {
  auto& cloud = this->cloud_;
  Bytes big = noise(store::kBlockSizeMax);
  const Cid cid = Cid::of(ContentType::raw, big);
  cloud.put(0, {{cid, big}});
  EXPECT_EQ(*cloud.get(1, cid, {.hints = {cloud.id(0)}}), big);

  const Bytes content = noise(3'000'000, 2);
  const Cid root =
      *block_on(this->world_.loop, add_file(cloud[0].blocks, content, Durability::buffered));
  const auto source = cloud[1].exchange.source({.hints = {cloud.id(0)}});
  const auto read = block_on(this->world_.loop, read_file(*source, root, content.size()));
  ASSERT_TRUE(read) << read.error().to_string();
  EXPECT_EQ(*read, content);
}

TYPED_TEST_P(ExchangeOn, AWholeDagIsFetchedAndSynced) {
  auto& cloud = this->cloud_;
  const Tree tree = tree_of(5'000'000, 20);
  cloud.put(0, tree.blocks);
  const auto size =
      cloud.get_dag(1, tree.root, {.hints = {cloud.id(0)}, .durability = Durability::synced});
  ASSERT_TRUE(size) << size.error().to_string();
  EXPECT_EQ(*size, (DagSize{tree.blocks.size(), tree.bytes}));
  EXPECT_EQ(cloud[1].kv.unsynced_batches(), 0u);
  EXPECT_EQ(cloud.counters(1).bitswap.blocks_received, tree.blocks.size()) << "each of them once";
  cloud[1].kv.crash();
  for (const auto& block : tree.blocks) EXPECT_TRUE(cloud.has(1, block.cid));
  // Again, from the store alone.
  EXPECT_EQ(*cloud.get_dag(1, tree.root), *size);
  EXPECT_EQ(cloud.counters(1).bitswap.blocks_received, tree.blocks.size());
}

TYPED_TEST_P(ExchangeOn, AProviderIsFound) {
  auto& cloud = this->cloud_;
  const Block block = block_of("announced");
  cloud.put(2, {block});
  const auto provided = block_on(this->world_.loop, cloud[2].exchange.provide(block.cid));
  ASSERT_TRUE(provided) << provided.error().to_string();
  EXPECT_TRUE(cloud.get(0, block.cid));
}

REGISTER_TYPED_TEST_SUITE_P(ExchangeOn, ABlockComesFromThePeerThatHasItAndStays,
                            ABlockIsFoundWithoutAHint, ABlockThatNobodyHasIsNotFound,
                            ALargestBlockGoesThroughAndAFileComesBackWhole,
                            AWholeDagIsFetchedAndSynced, AProviderIsFound);

}  // namespace tau::content
