#include "store/block_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/loop.h"
#include "store/memory/memory_kv.h"

namespace tau::store {
namespace {

using codec::Cid;
using codec::ContentType;
using runtime::block_on;

Block block_of(std::string_view text, ContentType type = ContentType::raw) {
  return {Cid::of(type, as_bytes(text)), to_bytes(text)};
}

class BlockStoreTest : public ::testing::Test {
 protected:
  runtime::VirtualLoop loop_;
  MemoryKv kv_;
  BlockStore blocks_{kv_};
};

TEST_F(BlockStoreTest, OneBlockServesEveryCidOfItsHash) {
  ASSERT_TRUE(block_on(loop_, blocks_.put({block_of("x")}, Durability::buffered)));
  const Cid other = Cid::of(ContentType::dag_cbor, as_bytes("x"));
  EXPECT_EQ(**block_on(loop_, blocks_.get(other)), to_bytes("x"));
  EXPECT_TRUE(*block_on(loop_, blocks_.has(other)));
  EXPECT_EQ(kv_.size(), 1u);
  ASSERT_TRUE(block_on(loop_, blocks_.erase(other)));
  EXPECT_FALSE(*block_on(loop_, blocks_.has(other)));
  EXPECT_EQ(*block_on(loop_, blocks_.get(other)), std::nullopt);
}

TEST_F(BlockStoreTest, RefusesDataThatIsNotWhatItsCidSays) {
  Block wrong = block_of("x");
  wrong.data = to_bytes("y");
  const auto put = block_on(loop_, blocks_.put({block_of("good"), wrong}, Durability::buffered));
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code(), ErrorCode::invalid_argument);
  EXPECT_EQ(kv_.size(), 0u) << "all or nothing";
}

TEST_F(BlockStoreTest, RefusesABlockThatNoPeerWouldAccept) {
  const Bytes big(kBlockSizeMax + 1);
  const auto put =
      block_on(loop_, blocks_.put({{Cid::of(ContentType::raw, big), big}}, Durability::buffered));
  EXPECT_EQ(put.error().code(), ErrorCode::invalid_argument);
}

TEST_F(BlockStoreTest, SaysWhenTheDiskChangedABlock) {
  const Block block = block_of("x");
  ASSERT_TRUE(block_on(loop_, blocks_.put({block}, Durability::buffered)));
  ASSERT_TRUE(kv_.corrupt("b/" + to_text(block.cid.multihash())));
  EXPECT_EQ(block_on(loop_, blocks_.get(block.cid)).error().code(), ErrorCode::data_loss);
}

}  // namespace
}  // namespace tau::store
