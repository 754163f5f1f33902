#include "services/seer/zone.h"

#include <gtest/gtest.h>

#include "services/seer/made_status.h"

namespace tau::seer {
namespace {

using namespace std::chrono_literals;
using dns::Rcode;
using dns::Type;

constexpr TimePoint kNow{1h};

dns::Query question(std::string name, Type type) {
  dns::Query query;
  query.name = std::move(name);
  query.type = static_cast<std::uint16_t>(type);
  query.qclass = 1;
  return query;
}

class ZoneAnswers : public testing::Test {
 protected:
  ZoneAnswers() {
    const auto announce = [&](std::string peer, Announcement what) {
      for (auto& multiaddr : what.multiaddrs) multiaddr += "/p2p/" + peer;
      const auto status = nodes.hear(made_status(peer, std::move(what)), 0, kNow);
      EXPECT_TRUE(status) << status.error().to_string();
    };
    announce("seerA", {{"seer"}, {}, 0, 0, "192.0.2.53:53", {"/ip4/192.0.2.7/tcp/4001"}});
    announce("seerB", {{"seer"}, {}, 0, 0, "[2001:db8::53]:53", {"/ip4/192.0.2.8/tcp/4001"}});
    announce("seerC", {{"seer"}, {}, 0, 0, "0.0.0.0:53", {"/ip4/192.0.2.9/tcp/4001"}});
    announce("sub", {{"substrate"}, {"192.0.2.1", "2001:db8::1"}, 80, 0, {}, {}});
    announce(
        "tns",
        {{"tns"}, {}, 0, 0, {}, {"/ip4/192.0.2.4/tcp/4001", "/ip6/2001:db8::4/udp/4001/quic-v1"}});
  }
  struct Seen {
    Rcode rcode;
    std::vector<dns::Record> answers, authorities, additionals;
    bool authoritative;
  };
  Seen own(std::string name, Type type) {
    EXPECT_FALSE(zone.is_for_users(name)) << name;
    auto a = zone.own(question(std::move(name), type), kNow);
    return {a.rcode, a.answers, a.authorities, a.additionals, a.authoritative};
  }
  Seen user(std::string name, Type type, bool claimed) {
    EXPECT_TRUE(zone.is_for_users(name)) << name;
    auto a = zone.of_user(question(std::move(name), type), claimed, kNow);
    return {a.rcode, a.answers, a.authorities, a.additionals, a.authoritative};
  }
  static std::vector<std::string> data(const std::vector<dns::Record>& records) {
    std::vector<std::string> out;
    for (const auto& record : records) out.push_back(to_hex(record.data));
    std::ranges::sort(out);
    return out;
  }
  // That there is nothing, and the SOA says how long that may be kept.
  static void expect_negative(const Seen& seen, Rcode rcode, const std::string& zone_name) {
    EXPECT_EQ(seen.rcode, rcode);
    EXPECT_TRUE(seen.answers.empty());
    ASSERT_EQ(seen.authorities.size(), 1u);
    EXPECT_EQ(seen.authorities[0].type, Type::soa);
    EXPECT_EQ(seen.authorities[0].owner, zone_name);
    EXPECT_EQ(seen.authorities[0].ttl_seconds, 5u);
  }
  static std::string text(const dns::Record& record) {
    return std::string(record.data.begin() + 1, record.data.end());
  }

  Nodes nodes;
  Zone zone{{"cloud.example", 5, {"letsencrypt.org"}}, nodes};
};

TEST_F(ZoneAnswers, TheApexHasStartOfAuthorityAndNameServersWithGlue) {
  const auto soa = own("cloud.example", Type::soa);
  ASSERT_EQ(soa.answers.size(), 1u);
  EXPECT_TRUE(soa.authoritative);
  EXPECT_EQ(soa.answers[0].owner, "cloud.example");
  const auto ns = own("cloud.example", Type::ns);
  ASSERT_EQ(ns.answers.size(), 1u);
  EXPECT_EQ(to_hex(ns.answers[0].data), to_hex(as_bytes("\x04seer\x03tau\x05"
                                                        "cloud\x07"
                                                        "example")) +
                                            "00");
  for (const auto& glue : ns.additionals) EXPECT_EQ(glue.owner, "seer.tau.cloud.example");
  // The third seer answers on every address: its node's is given.
  EXPECT_EQ(data(ns.additionals),
            (std::vector<std::string>{"20010db8000000000000000000000053", "c0000209", "c0000235"}));
  expect_negative(own("cloud.example", Type::a), Rcode::no_error, "cloud.example");
}

TEST_F(ZoneAnswers, AServicesNameHasItsNodesAddressesAndMultiaddrs) {
  EXPECT_EQ(data(own("tns.tau.cloud.example", Type::a).answers),
            (std::vector<std::string>{"c0000204"}));
  EXPECT_EQ(data(own("tns.tau.cloud.example", Type::aaaa).answers),
            (std::vector<std::string>{"20010db8000000000000000000000004"}));
  EXPECT_EQ(data(own("substrate.tau.cloud.example", Type::a).answers),
            (std::vector<std::string>{"c0000201"}));
  const auto txt = own("tns.tau.cloud.example", Type::txt);
  ASSERT_EQ(txt.answers.size(), 2u);
  EXPECT_EQ(text(txt.answers[0]), "/ip4/192.0.2.4/tcp/4001/p2p/tns");
  const auto dnsaddr = own("_dnsaddr.tns.tau.cloud.example", Type::txt);
  ASSERT_EQ(dnsaddr.answers.size(), 2u);
  EXPECT_TRUE(text(dnsaddr.answers[0]).starts_with("dnsaddr=/ip")) << text(dnsaddr.answers[0]);
}

TEST_F(ZoneAnswers, NoDataIsNotNoName) {
  expect_negative(own("tau.cloud.example", Type::a), Rcode::no_error, "cloud.example");
  expect_negative(own("auth.tau.cloud.example", Type::a), Rcode::no_error, "cloud.example");
  expect_negative(own("seer.tau.cloud.example", Type::mx), Rcode::no_error, "cloud.example");
  expect_negative(own("nothing.tau.cloud.example", Type::a), Rcode::name_error, "cloud.example");
  expect_negative(own("a.seer.tau.cloud.example", Type::a), Rcode::name_error, "cloud.example");
  expect_negative(user("hello.cloud.example", Type::mx, true), Rcode::no_error, "cloud.example");
  expect_negative(user("hello.cloud.example", Type::a, false), Rcode::name_error, "cloud.example");
}

TEST_F(ZoneAnswers, AClaimedNameHasTheSubstratesOfBothFamilies) {
  const auto a = user("hello.cloud.example", Type::a, true);
  EXPECT_EQ(data(a.answers), (std::vector<std::string>{"c0000201"}));
  EXPECT_EQ(a.answers[0].ttl_seconds, 5u);
  EXPECT_EQ(data(user("hello.cloud.example", Type::aaaa, true).answers),
            (std::vector<std::string>{"20010db8000000000000000000000001"}));
}

TEST_F(ZoneAnswers, AClaimedNameElsewhereIsAZoneOfItsOwnAndTheRestIsRefused) {
  EXPECT_EQ(user("shop.example.org", Type::a, true).answers.size(), 1u);
  EXPECT_EQ(user("shop.example.org", Type::soa, true).answers[0].owner, "shop.example.org");
  EXPECT_EQ(user("shop.example.org", Type::ns, true).answers.size(), 1u);
  expect_negative(user("shop.example.org", Type::txt, true), Rcode::no_error, "shop.example.org");
  const auto outside = user("example.org", Type::a, false);
  EXPECT_EQ(outside.rcode, Rcode::refused);
  EXPECT_FALSE(outside.authoritative);
  EXPECT_TRUE(outside.authorities.empty());
  EXPECT_EQ(user("xcloud.example", Type::a, false).rcode, Rcode::refused);
}

TEST_F(ZoneAnswers, SayWhoMayIssueCertificatesWhereANameExists) {
  for (const auto& seen :
       {own("cloud.example", Type::caa), own("substrate.tau.cloud.example", Type::caa),
        user("hello.cloud.example", Type::caa, true)}) {
    ASSERT_EQ(seen.answers.size(), 1u);
    // RFC 8659, 4.1: flags, the tag's length, the tag, the value to the end.
    EXPECT_EQ(to_hex(seen.answers[0].data), "0005" + to_hex(as_bytes("issueletsencrypt.org")));
  }
  EXPECT_EQ(user("hello.cloud.example", Type::caa, false).rcode, Rcode::name_error);
}

TEST_F(ZoneAnswers, AQuestionForAllTypesGetsOneShortRecord) {
  const auto any = user("hello.cloud.example", Type::any, true);
  ASSERT_EQ(any.answers.size(), 1u);
  EXPECT_EQ(any.answers[0].type, Type::hinfo);
  EXPECT_EQ(to_hex(any.answers[0].data), "07" + to_hex(as_bytes("RFC8482")) + "00");
}

TEST_F(ZoneAnswers, ALongTextIsSeveralStrings) {
  const auto record = dns::txt_record(std::string(300, 'x'), 1);
  EXPECT_EQ(record.data.size(), 302u);
  EXPECT_EQ(record.data[0], 255);
  EXPECT_EQ(record.data[256], 45);
}

}  // namespace
}  // namespace tau::seer
