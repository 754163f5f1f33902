#include "services/tns/api.h"

#include <gtest/gtest.h>

namespace tau::tns {
namespace {

Pointer sample() {
  return {ProjectId("p1"),
          "main",
          7,
          codec::Cid::of(codec::ContentType::dag_cbor, as_bytes("{}")),
          {"hello.x.localhost"},
          {PeerId("peer1")},
          1'700'000'000'000,
          {},
          {}};
}

// The expected bytes come from a separate DAG-CBOR encoder.
TEST(TnsApi, BytesOnTheWireStayAsTheyAre) {
  EXPECT_EQ(to_hex(codec::to_cbor(sample())),
            "a7637365710765686f737473817168656c6c6f2e782e6c6f63616c686f7374656d6f7665641b0000018bcf"
            "e56800666272616e6368646d61696e67686f6c64657273816570656572316770726f6a6563746270316a64"
            "65706c6f796d656e74d82a5825000171122044136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310"
            "c060f61caaff8a");
  EXPECT_EQ(to_hex(codec::to_cbor(Moved{ProjectId("p1"), "main", 7, {"a.b"}})),
            "a4637365710765686f7374738163612e62666272616e6368646d61696e6770726f6a656374627031");
  EXPECT_EQ(to_hex(codec::to_cbor(Lookup::Request{"hello.x.localhost"})),
            "a164686f73747168656c6c6f2e782e6c6f63616c686f7374");
  EXPECT_EQ(to_hex(codec::to_cbor(Resolve::Request{"hello.x.localhost"})),
            "a164686f73747168656c6c6f2e782e6c6f63616c686f7374");
  EXPECT_EQ(to_hex(codec::to_cbor(GetPointer::Request{ProjectId("p1"), "main"})),
            "a2666272616e6368646d61696e6770726f6a656374627031");
  EXPECT_EQ(to_hex(codec::to_cbor(Claim::Request{{{1}, {2}}})),
            "a16c726567697374726174696f6ea264626f64794101697369676e61747572654102");
  EXPECT_EQ(to_hex(codec::to_cbor(Resolve::Response{})), "a1666272616e636860");
  const p2p::NodeSigned item{{{1, 2}, {3}}, {4}};
  EXPECT_EQ(to_hex(codec::to_cbor(Lookup::Response{item})),
            "a167706f696e746572a2667265636f7264a264626f6479420102697369676e617475726541036b63657274"
            "696669636174654104");
  EXPECT_EQ(
      to_hex(codec::to_cbor(Publish::Request{item, item})),
      "a2636a6f62a2667265636f7264a264626f6479420102697369676e617475726541036b6365727469666963"
      "6174654104677265636569707"
      "4a2667265636f7264a264626f6479420102697369676e617475726541036b63657274696669636174654104");
}

TEST(TnsApi, PointersComeBackAsTheyWere) {
  EXPECT_EQ(*codec::from_cbor<Pointer>(codec::to_cbor(sample())), sample());
}

TEST(HostNames, AreCheckedBeforeAnythingElse) {
  for (const char* good : {"a", "hello.blackhole.localhost", "dev--hello.x", "_dns.x1.example"})
    EXPECT_TRUE(check_host(good)) << good;
  for (const char* bad :
       {"", ".", "a.", ".a", "a..b", "A.b", "-a.b", "a-.b", "a b", "a/b", "a:80", "ä.de"})
    EXPECT_FALSE(check_host(bad)) << bad;
  EXPECT_FALSE(check_host(std::string(64, 'a')));
  EXPECT_TRUE(check_host(std::string(63, 'a')));
  std::string longest;
  for (int i = 0; i < 127; ++i) longest += "a.";
  EXPECT_FALSE(check_host(longest + "a"));  // 255
}

TEST(Previews, AnswerAtTheBranchBeforeTheLabel) {
  EXPECT_EQ(preview_label("feature/Log_in"), "feature-log-in");
  EXPECT_EQ(preview_label("--a--"), "a");
  EXPECT_EQ(preview_label("///"), "");
  EXPECT_EQ(preview_host("dev", "hello.x.localhost"), "dev--hello.x.localhost");
  EXPECT_EQ(preview_host("/", "hello.x.localhost"), std::nullopt);
  const auto cut = preview_host(std::string(100, 'b'), "hello.x.localhost");
  ASSERT_TRUE(cut);
  EXPECT_EQ(cut->find('.'), 63u);
  Pointer pointer = sample();
  EXPECT_EQ(routed_host(pointer, "a--b.x"), "a--b.x");
  pointer.branch = "dev";
  EXPECT_EQ(routed_host(pointer, "dev--hello.x.localhost"), "hello.x.localhost");
}

}  // namespace
}  // namespace tau::tns
