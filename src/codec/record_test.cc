#include "codec/record.h"

#include <gtest/gtest.h>

namespace tau::codec {
namespace {

struct Inner {
  std::uint8_t n = 0;
  friend bool operator==(const Inner&, const Inner&) = default;
  static constexpr auto fields() { return std::tuple{field("n", &Inner::n)}; }
};
struct Outer {
  JobId id;
  std::optional<std::string> note;
  std::vector<Inner> items;
  std::map<std::string, Cid> links;
  std::array<std::uint8_t, 4> raw{};
  friend bool operator==(const Outer&, const Outer&) = default;
  static constexpr auto fields() {
    return std::tuple{field("id", &Outer::id), field("note", &Outer::note),
                      field("items", &Outer::items), field("links", &Outer::links),
                      field("raw", &Outer::raw)};
  }
};

TEST(Record, ComesBackAsItWas) {
  Outer o{JobId("j1"), "hi", {{1}, {2}}, {{"x", Cid::of(ContentType::raw, {})}}, {1, 2, 3, 4}};
  EXPECT_EQ(*from_cbor<Outer>(to_cbor(o)), o);
  o.note.reset();
  EXPECT_EQ(*from_cbor<Outer>(to_cbor(o)), o);
}

TEST(Record, PassesOverWhatANewerNodeSaysMore) {
  const Outer o{JobId("j"), {}, {{1}}, {}, {}};
  Value v = to_value(o);
  v.as<Value::Map>()->emplace("what", Value(std::int64_t{7}));
  EXPECT_EQ(*from_value<Outer>(v), o);
}

TEST(Record, SaysWhichFieldIsWrong) {
  auto broken = [](auto change) {
    Value v = to_value(Outer{JobId("j"), {}, {{1}}, {}, {}});
    change(*v.as<Value::Map>());
    return from_value<Outer>(v).error().message();
  };
  EXPECT_EQ(broken([](auto& m) { m.erase("id"); }), "field \"id\" is missing");
  EXPECT_EQ(broken([](auto& m) { m.at("id") = Value(true); }), "id: expected text, found boolean");
  EXPECT_EQ(broken([](auto& m) { m.at("raw") = Value(Bytes{1}); }),
            "raw: expected 4 bytes, found 1");
  EXPECT_EQ(broken([](auto& m) {
              (*(*m.at("items").template as<Value::List>())[0].template as<Value::Map>()).at("n") =
                  Value(std::int64_t{256});
            }),
            "items: [0]: n: integer is out of range");
}

}  // namespace
}  // namespace tau::codec
