// What hoarder must do, on whatever hosts the test brings.
#pragma once

#include <gtest/gtest.h>

#include "codec/dag_cbor.h"
#include "command/members.h"
#include "content/unixfs.h"
#include "services/hoarder/service.h"
#include "store/memory/memory_kv.h"

namespace tau::hoarder {

// One node's disk and exchange.
struct Storage {
  Storage(runtime::Loop& loop, p2p::Host& host)
      : blocks(kv), exchange(loop, host, blocks, Logger()) {
    exchange.start();
  }
  store::MemoryKv kv;
  store::BlockStore blocks;
  content::Exchange exchange;
};

// A DAG-CBOR root over a file: what a small deployment looks like.
struct Content {
  codec::Cid root;
  std::vector<store::Block> blocks;
  std::uint64_t bytes = 0;
};
inline Content content_of(std::size_t file_bytes, std::uint64_t seed) {
  Bytes data(file_bytes);
  SeededRandom(seed).fill(data);
  auto file = content::file_of(data);
  Content out{{}, std::move(file.blocks), 0};
  Bytes root = codec::encode(codec::Value(codec::Value::List{codec::Value(file.root)}));
  out.root = codec::Cid::of(codec::ContentType::dag_cbor, root);
  out.blocks.push_back({out.root, std::move(root)});
  for (const auto& block : out.blocks) out.bytes += block.data.size();
  return out;
}

inline void run_hoarder_scenario(runtime::Loop& loop, Random& random,
                                 command::Members::HostFactory hosts) {
  using runtime::block_on;
  command::Members members(loop, random, std::move(hosts));
  auto& monkey = members.add({"monkey"});
  auto& keeper = members.add({"hoarder"});
  auto& reader = members.add({"substrate"});
  const auto started = block_on(loop, members.start());
  ASSERT_TRUE(started) << started.error().to_string();
  auto built = std::make_unique<Storage>(loop, *monkey.host);
  auto kept = std::make_unique<Storage>(loop, *keeper.host);
  auto read = std::make_unique<Storage>(loop, *reader.host);
  store::MemoryKv promises;
  auto service = std::make_unique<Service>(loop, keeper.router, kept->exchange, promises, Logger());
  ASSERT_TRUE(block_on(loop, service->start()));
  const PeerId at = keeper.host->id();

  const Content content = content_of(3'000'000, 1);
  ASSERT_TRUE(block_on(loop, built->blocks.put(content.blocks, store::Durability::buffered)));
  const auto held = block_on(loop, monkey.caller.call<Hold>(at, kProtocol, {content.root, {}}));
  ASSERT_TRUE(held) << held.error().to_string();
  EXPECT_EQ(held->blocks, content.blocks.size());
  EXPECT_EQ(held->bytes, content.bytes);
  EXPECT_EQ(kept->exchange.counters().bitswap.blocks_received, content.blocks.size());
  EXPECT_EQ(*block_on(loop, monkey.caller.call<Hold>(at, kProtocol, {content.root, {}})), *held)
      << "again is no error and changes nothing";

  // The builder is gone and the hoarder's machine loses what was not synced: the content stays.
  block_on(loop, built->exchange.stop());
  kept->kv.crash();
  promises.crash();
  const auto size = block_on(loop, read->exchange.get_dag(content.root, {.hints = {at}}, {}));
  ASSERT_TRUE(size) << size.error().to_string();
  EXPECT_EQ(size->bytes, content.bytes);
  const auto answer = block_on(loop, reader.caller.call<Holds>(at, kProtocol, {content.root}));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->held, *held);

  EXPECT_EQ(
      block_on(loop, reader.caller.call<Hold>(at, kProtocol, {content.root, {}})).error().code(),
      ErrorCode::permission_denied);
  const auto absent = codec::Cid::of(codec::ContentType::raw, as_bytes("nobody has this"));
  EXPECT_EQ(block_on(loop, monkey.caller.call<Hold>(at, kProtocol, {absent, {}})).error().code(),
            ErrorCode::not_found);
  EXPECT_FALSE(block_on(loop, reader.caller.call<Holds>(at, kProtocol, {absent}))->held);

  ASSERT_TRUE(block_on(loop, monkey.caller.call<Release>(at, kProtocol, {content.root})));
  ASSERT_TRUE(block_on(loop, monkey.caller.call<Release>(at, kProtocol, {content.root})));
  EXPECT_FALSE(block_on(loop, reader.caller.call<Holds>(at, kProtocol, {content.root}))->held);

  block_on(loop, service->stop());
  block_on(loop, service->stop());
  for (auto* storage : {built.get(), kept.get(), read.get()})
    block_on(loop, storage->exchange.stop());
  block_on(loop, members.stop());
}

}  // namespace tau::hoarder
