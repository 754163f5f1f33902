#include "codec/dag_pb.h"

#include <gtest/gtest.h>

#include "base/hex.h"
#include "codec/protobuf.h"

namespace tau::codec {
namespace {

// protobuf.dev/programming-guides/encoding: its own examples.
TEST(Protobuf, AgreesWithItsGuide) {
  ProtobufWriter out;
  out.varint(1, 150).text(2, "testing");
  EXPECT_EQ(to_hex(out.view()), "089601120774657374696e67");
  ProtobufReader in(out.view());
  const auto first = *in.next();
  EXPECT_EQ(first.number, 1u);
  EXPECT_EQ(*first.as_varint(), 150u);
  const auto second = *in.next();
  EXPECT_EQ(as_text(*second.as_data()), "testing");
  EXPECT_TRUE(in.done());
  EXPECT_FALSE(second.as_varint());
  EXPECT_FALSE(first.as_data());
}

TEST(Protobuf, ReadsNegativeAndFixedNumbers) {
  const Bytes data = *from_hex(
      "08ffffffffffffffffff01"
      "1501000000"
      "190200000000000000");
  ProtobufReader in(data);
  EXPECT_EQ(in.next()->value, UINT64_MAX);
  EXPECT_EQ(in.next()->value, 1u);
  EXPECT_EQ(in.next()->value, 2u);
  EXPECT_TRUE(in.done());
}

TEST(Protobuf, RefusesWhatGoesBeyondItsData) {
  for (const char* hex : {"08", "0880", "0a05",
                          "0a0161"
                          "0a02",
                          "00", "0b", "0c", "0e", "1501", "19010203", "08ffffffffffffffffff02",
                          "0affffffffffffffffff01", "ffffffffffffffffff0100"}) {
    const Bytes data = *from_hex(hex);
    bool failed = false;
    for (ProtobufReader in(data); !in.done() && !failed;) failed = !in.next();
    EXPECT_TRUE(failed) << hex;
  }
}

// The CIDs that every IPFS node prints for these.
TEST(DagPb, AgreesWithPublishedCids) {
  const Bytes directory =
      encode_dag_pb({{}, encode_unixfs({UnixFsData::Kind::directory, {}, {}, {}})});
  EXPECT_EQ(to_hex(directory), "0a020801");
  EXPECT_TRUE(Cid::parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn")->matches(directory));
  const Bytes empty_file = encode_dag_pb({{}, encode_unixfs({UnixFsData::Kind::file, {}, 0, {}})});
  EXPECT_TRUE(Cid::parse("QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH")->matches(empty_file));
  const Bytes node = encode_dag_pb({});
  EXPECT_TRUE(Cid::parse("QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n")->matches(node));
  const Bytes hello =
      encode_dag_pb({{}, encode_unixfs({UnixFsData::Kind::file, to_bytes("hello world"), 11, {}})});
  EXPECT_TRUE(Cid::parse("Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD")->matches(hello));
}

// Written by js ipfs-unixfs-importer for a file of 262145 bytes in two raw leaves.
constexpr const char* kTwoLeaves =
    "122c0a2401551220b894e06a1bb9f33076f3a98fa4abb89b64c6e91e52316b5f3a629b45fb50004012001880801012"
    "2a0a2401551220966c7c47125c74575a9a1153b799faf55be33a04e3d9f98760a3eeac377103df120018010a0c0802"
    "18818010208080102001";

TEST(DagPb, ReadsAndWritesWhatAnotherImplementationWrote) {
  const Bytes block = *from_hex(kTwoLeaves);
  ASSERT_TRUE(
      Cid::parse("bafybeiaetu4skxr5b4g57tk74tmreuhvuqs2fnmg6k5bhyravlup5cmeri")->matches(block));
  const auto node = decode_dag_pb(block);
  ASSERT_TRUE(node) << node.error().to_string();
  ASSERT_EQ(node->links.size(), 2u);
  EXPECT_EQ(node->links[0].total_size, 262144u);
  EXPECT_EQ(node->links[0].name, "");
  EXPECT_EQ(node->links[0].cid.to_string(),
            "bafkreifystqgug5z6myhn45jr6skxoe3mtdoshssgfvv6otctnc7wuaaia");
  const auto data = decode_unixfs(*node->data);
  ASSERT_TRUE(data);
  EXPECT_EQ(data->kind, UnixFsData::Kind::file);
  EXPECT_EQ(data->file_size, 262145u);
  EXPECT_EQ(data->block_sizes, (std::vector<std::uint64_t>{262144, 1}));
  EXPECT_EQ(encode_dag_pb({node->links, encode_unixfs(*data)}), block);
}

// What the rules of ipld.io/specs/codecs/dag-pb forbid.
TEST(DagPb, RefusesWhatTheSpecificationRefuses) {
  const std::string link =
      "0a24015512200000000000000000000000000000000000000000000000000000000000000000";
  EXPECT_TRUE(decode_dag_pb(*from_hex("0a00")));
  EXPECT_TRUE(decode_dag_pb(*from_hex("1226" + link)));
  EXPECT_TRUE(
      decode_dag_pb(*from_hex("0a0101"
                              "1226" +
                              link)))
      << "data first: old writers";
  for (const std::string& hex :
       {std::string("1200"), std::string("12021200"), std::string("0a010a0a010b"),
        "1226" + link +
            "0a0101"
            "1226" +
            link,
        "1a0101" + std::string(), "124c" + link + link, "1228" + link + "2000",
        "1228" + link + "1001", std::string("0801"), "1227" + link})
    EXPECT_FALSE(decode_dag_pb(*from_hex(hex))) << hex;
}

TEST(UnixFs, ReadsPackedBlockSizesAndSkipsModeAndTime) {
  const auto packed =
      decode_unixfs(*from_hex("0802"
                              "1803"
                              "2204"
                              "01800102"
                              "38a403"
                              "42020801"));
  ASSERT_TRUE(packed) << packed.error().to_string();
  EXPECT_EQ(packed->block_sizes, (std::vector<std::uint64_t>{1, 128, 2}));
  EXPECT_FALSE(
      decode_unixfs(*from_hex("08022202"
                              "0180")))
      << "the last number is cut short";
  EXPECT_FALSE(decode_unixfs(*from_hex("1803"))) << "no kind";
  EXPECT_FALSE(decode_unixfs(*from_hex("0806"))) << "unknown kind";
}

}  // namespace
}  // namespace tau::codec
