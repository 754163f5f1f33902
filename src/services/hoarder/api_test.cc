#include "services/hoarder/api.h"

#include <gtest/gtest.h>

namespace tau::hoarder {
namespace {

const codec::Cid kRoot = codec::Cid::of(codec::ContentType::raw, as_bytes("hello world"));
// A link in DAG-CBOR: tag 42, 37 bytes, a zero, and the CID (version 1, raw, sha2-256).
const std::string kRootHex =
    "d82a58250001551220b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";

// The wire form is a promise: checked by hand against RFC 8949 and the DAG-CBOR specification (keys
// by length, then by bytes; shortest integers).
TEST(HoarderApi, BytesOnTheWireStayAsTheyAre) {
  EXPECT_EQ(to_hex(codec::to_cbor(Hold::Request{kRoot, {PeerId("p")}})),
            "a26466726f6d81617064726f6f74" + kRootHex);
  EXPECT_EQ(to_hex(codec::to_cbor(Held{kRoot, 3, 1000, 1})), "a464726f6f74" + kRootHex +
                                                                 "656279746573"
                                                                 "1903e8"
                                                                 "6573696e6365"
                                                                 "01"
                                                                 "66626c6f636b73"
                                                                 "03");
  EXPECT_EQ(to_hex(codec::to_cbor(Release::Request{kRoot})), "a164726f6f74" + kRootHex);
  EXPECT_EQ(to_hex(codec::to_cbor(Holds::Request{kRoot})), "a164726f6f74" + kRootHex);
  EXPECT_EQ(to_hex(codec::to_cbor(Holds::Response{})), "a0");
  EXPECT_EQ(to_hex(codec::to_cbor(ListHeld::Request{kRoot, 100})),
            "a2656166746572" + kRootHex + "656c696d69741864");
  EXPECT_EQ(to_hex(codec::to_cbor(ListHeld::Request{{}, 1})), "a1656c696d697401");
  EXPECT_EQ(to_hex(codec::to_cbor(ListHeld::Response{})), "a16468656c6480");
}

TEST(HoarderApi, RecordsComeBackAsTheyWere) {
  const Held held{kRoot, 3, 1000, 1};
  EXPECT_EQ(*codec::from_cbor<Held>(codec::to_cbor(held)), held);
  EXPECT_EQ(codec::from_cbor<Holds::Response>(codec::to_cbor(Holds::Response{held}))->held, held);
}

TEST(HoarderApi, OnlyThoseWhoPublishMayHoldAndRelease) {
  p2p::Certificate member;
  member.roles = {"substrate", "hoarder", "client"};
  EXPECT_FALSE(Hold::kCallers.allow(member));
  EXPECT_FALSE(Release::kCallers.allow(member));
  EXPECT_TRUE(ListHeld::kCallers.allow(member));
  member.roles = {"monkey"};
  EXPECT_TRUE(Hold::kCallers.allow(member));
}

}  // namespace
}  // namespace tau::hoarder
