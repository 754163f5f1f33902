#include "content/bitswap_message.h"

#include <gtest/gtest.h>

#include "base/hex.h"
#include "codec/protobuf.h"

namespace tau::content {
namespace {

using codec::Cid;
using codec::ContentType;

const Cid kHello = Cid::of(ContentType::raw, as_bytes("hello world"));
const std::string kHelloHex =
    "01551220b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";

// The bytes that js @helia/bitswap writes for these messages.
TEST(BitswapMessage, ReadsTheWantsOfAnotherImplementation) {
  const auto message = decode_bitswap(*from_hex(
      "0a600a2c0a24" + kHelloHex + "1001200028010a2e0a24" + kHelloHex + "10011801200028001000"));
  ASSERT_TRUE(message) << message.error().to_string();
  ASSERT_EQ(message->wants.size(), 2u);
  EXPECT_EQ(message->wants[0], (WantEntry{kHello, WantEntry::Type::block, false, true}));
  EXPECT_EQ(message->wants[1], (WantEntry{kHello, WantEntry::Type::block, true, false}));
  EXPECT_FALSE(message->full);
}

TEST(BitswapMessage, WritesBlocksAndPresencesAsAnotherImplementationDoes) {
  BitswapMessage block;
  block.blocks.push_back({kHello, to_bytes("hello world")});
  EXPECT_EQ(to_hex(encode_bitswap(block)), "1a130a0401551220120b68656c6c6f20776f726c64");
  BitswapMessage presence;
  presence.presences = {{kHello.to_bytes(), false}, {kHello.to_bytes(), true}};
  EXPECT_EQ(to_hex(encode_bitswap(presence)), "22280a24" + kHelloHex + "100122260a24" + kHelloHex);
}

TEST(BitswapMessage, ComesBackAsItWas) {
  BitswapMessage message;
  message.full = true;
  message.wants = {{kHello, WantEntry::Type::block, false, true},
                   {kHello, WantEntry::Type::have, false, false},
                   {kHello, WantEntry::Type::block, true, false}};
  message.blocks = {{kHello, to_bytes("hello world")}};
  message.presences = {{kHello.to_bytes(), true}};
  const auto back = decode_bitswap(encode_bitswap(message));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->wants, message.wants);
  EXPECT_TRUE(back->full);
  ASSERT_EQ(back->blocks.size(), 1u);
  EXPECT_EQ(back->blocks[0].cid, kHello);
  EXPECT_EQ(back->presences, message.presences);
  EXPECT_TRUE(decode_bitswap({})->empty());
}

TEST(BitswapMessage, NamesABlockByItsDataWhateverWasClaimed) {
  const auto message = decode_bitswap(*from_hex("1a130a0401701220120b68656c6c6f20776f726c65"));
  ASSERT_TRUE(message);
  EXPECT_TRUE(message->blocks[0].cid.matches(as_bytes("hello worle")));
}

TEST(BitswapMessage, AnswersWantsForUnknownHashesWithoutKnowingThem) {
  // A CID of blake2b-256.
  const std::string blake = "0171a0e40220" + std::string(64, '7');
  const auto message = decode_bitswap(*from_hex("0a2c0a2a0a26" + blake + "2801"));
  ASSERT_TRUE(message) << message.error().to_string();
  EXPECT_TRUE(message->wants.empty());
  ASSERT_EQ(message->unknown_wants.size(), 1u);
  EXPECT_EQ(to_hex(message->unknown_wants[0]), blake);
}

TEST(BitswapMessage, RefusesWhatBreaksTheBounds) {
  for (const char* hex : {"0a05", "1a020a00",
                          "1a080a0401551320"
                          "1200",
                          "1a080a0402551220"
                          "1200",
                          "0a020a01", "0801", "1a00"})
    EXPECT_FALSE(decode_bitswap(*from_hex(hex))) << hex;
  codec::ProtobufWriter inner, outer;
  inner.bytes(1, *from_hex("01551220")).bytes(2, Bytes(store::kBlockSizeMax + 1));
  outer.bytes(3, inner.view());
  EXPECT_FALSE(decode_bitswap(outer.view())) << "a block of more than 2 MiB";
  BitswapMessage many;
  many.wants.assign(kWantsPerMessageMax + 1, {kHello, WantEntry::Type::block, false, true});
  EXPECT_FALSE(decode_bitswap(encode_bitswap(many)));
}

}  // namespace
}  // namespace tau::content
