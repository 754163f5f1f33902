#include "codec/cid.h"

#include <gtest/gtest.h>

#include "codec/multibase.h"
#include "codec/peer_id.h"
#include "codec/varint.h"

namespace tau::codec {
namespace {

// "hello world" under both versions, as other implementations print it.
TEST(Cid, PrintsWhatOtherImplementationsPrint) {
  const Cid cid = Cid::of(ContentType::raw, as_bytes("hello world"));
  EXPECT_EQ(cid.to_string(), "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");
  EXPECT_TRUE(cid.matches(as_bytes("hello world")));
  EXPECT_FALSE(cid.matches(as_bytes("hello world!")));
}

TEST(Cid, TextAndBytesComeBack) {
  for (const char* text : {"QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
                           "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",
                           "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"}) {
    const auto cid = Cid::parse(text);
    ASSERT_TRUE(cid) << text;
    EXPECT_EQ(cid->to_string(), text);
    EXPECT_EQ(*Cid::from_bytes(cid->to_bytes()), *cid);
  }
}

TEST(Cid, RefusesWhatItDoesNotKnowWithAReason) {
  for (const char* text : {"", "hello", "Qm", "bafkr", "b!", "z",
                           "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5ea"}) {
    const auto cid = Cid::parse(text);
    EXPECT_FALSE(cid) << text;
  }
  const Bytes sha1 = {1, 0x55, 0x11, 20, 0, 0, 0, 0, 0, 0, 0, 0,
                      0, 0,    0,    0,  0, 0, 0, 0, 0, 0, 0, 0};
  EXPECT_NE(Cid::from_bytes(sha1).error().message().find("only sha2-256"), std::string::npos);
}

TEST(Base32, AgreesWithRfc4648) {
  EXPECT_EQ(base32_encode(as_bytes("foobar")), "mzxw6ytboi");
  EXPECT_EQ(base32_encode(as_bytes("foob")), "mzxw6yq");
  for (std::string_view s : {"", "f", "fo", "foo", "foob", "fooba", "foobar"})
    EXPECT_EQ(to_text(*base32_decode(base32_encode(as_bytes(s)))), s);
  EXPECT_FALSE(base32_decode("mzxw6yr"));
}

TEST(Base58, KeepsLeadingZeros) {
  EXPECT_EQ(base58btc_encode(as_bytes("Hello World!")), "2NEpo7TZRRrLZSi2U");
  const Bytes zeros = {0, 0, 1};
  EXPECT_EQ(*base58btc_decode(base58btc_encode(zeros)), zeros);
  EXPECT_FALSE(base58btc_decode("0"));
}

TEST(PeerIdText, HoldsItsKey) {
  SeededRandom random(1);
  const auto key = crypto::KeyPair::generate(random);
  const PeerId id = peer_id_of(key.public_key());
  EXPECT_TRUE(id.str().starts_with("12D3KooW"));
  EXPECT_EQ(*public_key_of(id), key.public_key());
  EXPECT_FALSE(public_key_of(PeerId("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N")));
  EXPECT_FALSE(public_key_of(PeerId("0OIl")));
}

TEST(Varint, ShortestFormOnly) {
  for (std::uint64_t n : {0ull, 127ull, 128ull, 300ull, 1ull << 62}) {
    Bytes out;
    put_uvarint(out, n);
    BytesView in = out;
    EXPECT_EQ(*take_uvarint(in), n);
    EXPECT_TRUE(in.empty());
  }
  for (Bytes bad : {Bytes{}, Bytes{0x80}, Bytes{0x81, 0x00}, Bytes(10, 0xff)}) {
    BytesView in = bad;
    EXPECT_FALSE(take_uvarint(in));
  }
}

}  // namespace
}  // namespace tau::codec
