#include "codec/dag_cbor.h"

#include <gtest/gtest.h>

#include "base/hex.h"

namespace tau::codec {
namespace {

// RFC 8949 appendix A, the values that DAG-CBOR has.
TEST(DagCbor, AgreesWithRfc8949) {
  const std::pair<Value, const char*> rows[] = {
      {Value(std::int64_t{0}), "00"},
      {Value(std::int64_t{23}), "17"},
      {Value(std::int64_t{24}), "1818"},
      {Value(std::int64_t{1000}), "1903e8"},
      {Value(std::int64_t{1000000000000}), "1b000000e8d4a51000"},
      {Value(std::uint64_t{18446744073709551615ull}), "1bffffffffffffffff"},
      {Value(std::int64_t{-1}), "20"},
      {Value(std::int64_t{-1000}), "3903e7"},
      {Value(1.1), "fb3ff199999999999a"},
      {Value(false), "f4"},
      {Value(true), "f5"},
      {Value(), "f6"},
      {Value(Bytes{1, 2, 3, 4}), "4401020304"},
      {Value(std::string("IETF")), "6449455446"},
      {Value(std::string("\u00fc")), "62c3bc"},
      {Value(Value::List{}), "80"},
  };
  for (const auto& [value, hex] : rows) {
    EXPECT_EQ(to_hex(encode(value)), hex);
    EXPECT_EQ(*decode(*from_hex(hex)), value) << hex;
  }
}

TEST(DagCbor, OrdersKeysByLengthThenBytes) {
  Value::Map map;
  map.emplace("aa", Value(std::int64_t{1}));
  map.emplace("b", Value(std::int64_t{2}));
  EXPECT_EQ(to_hex(encode(Value(map))),
            "a2616202626161"
            "01");
}

TEST(DagCbor, ALinkIsTag42WithAZeroPrefix) {
  const Cid cid = Cid::of(ContentType::raw, as_bytes("x"));
  const Bytes out = encode(Value(cid));
  EXPECT_EQ(to_hex(BytesView(out).first(5)), "d82a582500");
  EXPECT_EQ(*decode(out)->as<Cid>(), cid);
}

TEST(DagCbor, RefusesEverythingThatIsNotTheOneForm) {
  for (const char* hex : {"",
                          "18",
                          "1800",
                          "190001",
                          "5f",
                          "9f",
                          "ff",
                          "f7",
                          "f97e00",
                          "fb7ff8000000000000",
                          "a2616101616102",
                          "a26162016161"
                          "02",
                          "a1"
                          "01"
                          "01",
                          "c101",
                          "d82a4101",
                          "61ff",
                          "9b7fffffffffffffff",
                          "bb7fffffffffffffff",
                          "7bffffffffffffffff",
                          "0000",
                          "3bffffffffffffffff"})
    EXPECT_FALSE(decode(*from_hex(hex))) << hex;
  EXPECT_FALSE(decode(Bytes(100, 0x81))) << "depth";
}

}  // namespace
}  // namespace tau::codec
