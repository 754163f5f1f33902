#include "services/seer/dns_message.h"

#include <gtest/gtest.h>

#include "base/hex.h"
#include "base/random.h"
#include "services/seer/dns_client.h"
#include "services/seer/dns_records.h"

namespace tau::seer::dns {
namespace {

// What `dig +noedns A Hello.blackhole.localhost` sends: id 0x1234, RD, one question.
const Bytes kQuery = *from_hex(
    "1234010000010000000000000548656c6c6f09626c61636b686f6c65096c6f63616c686f73740000010001");
// The same with an OPT record of 1232 bytes and a DNS cookie.
const Bytes kEdnsQuery = *from_hex(
    "1234012000010000000000010548656c6c6f09626c61636b686f6c65096c6f63616c686f73740000010001"
    "00002904d000000000000c000a0008aabbccddeeff0011");

TEST(DnsQuery, IsReadAndItsNameLowered) {
  const auto query = parse_query(kQuery);
  ASSERT_TRUE(query);
  EXPECT_EQ(query->id, 0x1234);
  EXPECT_EQ(query->name, "hello.blackhole.localhost");
  EXPECT_EQ(query->type, 1);
  EXPECT_EQ(query->udp_size, 512);
  EXPECT_TRUE(query->recursion_desired);
  const auto edns = parse_query(kEdnsQuery);
  ASSERT_TRUE(edns);
  EXPECT_TRUE(edns->edns);
  EXPECT_EQ(edns->udp_size, 1232);
}

TEST(DnsQuery, IsRefusedWhenItIsCutAnywhereOrLonger) {
  for (std::size_t n = 0; n < kEdnsQuery.size(); ++n)
    EXPECT_FALSE(parse_query(BytesView(kEdnsQuery).first(n))) << n;
  Bytes longer = kQuery;
  longer.push_back(0);
  EXPECT_FALSE(parse_query(longer));
  EXPECT_FALSE(parse_query(*from_hex("1234")).error().id);
}

TEST(DnsQuery, IsNeverAResponseNorCompressed) {
  Bytes response = kQuery;
  response[2] |= 0x80;
  EXPECT_TRUE(parse_query(response).error().is_response);
  EXPECT_FALSE(parse_query(*from_hex("123401000001000000000000c00c00010001")));
}

TEST(DnsQuery, ANameMayHoldAnyByteAndLooksLikeNoOther) {
  // RFC 2181, 11: any binary string is a label. "a.b" in one label is not a and b in two.
  const auto dotted =
      parse_query(*from_hex("123401000001000000000000"
                            "03612e62"
                            "00"
                            "00010001"));
  ASSERT_TRUE(dotted);
  EXPECT_EQ(dotted->name, "a\\046b");
  const auto binary =
      parse_query(*from_hex("123401000001000000000000"
                            "0300ff5c"
                            "00"
                            "00010001"));
  ASSERT_TRUE(binary);
  EXPECT_EQ(binary->name, "\\000\\255\\092");
  Bytes longest = *from_hex("123401000001000000000000");
  for (int i = 0; i < 127; ++i) longest.insert(longest.end(), {1, 'x'});
  const Bytes end = *from_hex("0000010001");
  Bytes fits = longest;
  fits.insert(fits.end(), end.begin(), end.end());
  EXPECT_TRUE(parse_query(fits)) << "255 bytes";
  longest.insert(longest.end(), {1, 'x'});
  longest.insert(longest.end(), end.begin(), end.end());
  EXPECT_FALSE(parse_query(longest)) << "257 bytes";
}

TEST(DnsQuery, HasOneWellFormedOptRecordAtMost) {
  const std::string question =
      "12340120000100000000%0548656c6c6f09626c61636b686f6c65096c6f63616c686f73740000010001";
  const auto with = [&](const std::string& count, const std::string& rest) {
    std::string text = question;
    text.replace(text.find('%'), 1, count);
    return parse_query(*from_hex(text + rest));
  };
  const std::string opt = "00002904d0000000000000";
  EXPECT_TRUE(with("0001", opt));
  EXPECT_FALSE(with("0002", opt + opt)) << "RFC 6891, 6.1.1";
  EXPECT_FALSE(with("0001", "016100002904d0000000000000")) << "its owner is the root";
  EXPECT_FALSE(with("0001", "00002904d000000000000500010003ff")) << "an option cut short";
  const auto later = with("0001", "00002904d0000100000000");
  ASSERT_TRUE(later);
  EXPECT_EQ(later->edns_version, 1);
  const auto signature = with("0001", "c00c00fa00ff000000000002abcd");
  EXPECT_TRUE(signature) << "another record, its owner compressed";
  EXPECT_FALSE(signature->edns);
}

TEST(DnsQuery, SurvivesRandomBytes) {
  SeededRandom random(3);
  for (int i = 0; i < 20'000; ++i) {
    Bytes message = i % 2 ? kEdnsQuery : kQuery;
    for (int k = 0; k < 3; ++k)
      message[random.below(message.size())] = static_cast<std::uint8_t>(random.next_u64());
    message.resize(random.below(message.size() + 1));
    if (auto query = parse_query(message)) {
      const auto out =
          encode_answer(*query, Answer{.answers = {address_record({}, "127.0.0.1", 1)}}, 512);
      EXPECT_LE(out.size(), 512u);
    }
  }
}

TEST(DnsAnswer, RepeatsTheQuestionAndGivesTheAddress) {
  const auto query = parse_query(kQuery);
  const Bytes out =
      encode_answer(*query, Answer{.answers = {address_record({}, "127.1.2.3", 1)}}, 512);
  EXPECT_EQ(to_hex(out),
            "12348500000100010000000005"
            "48656c6c6f09626c61636b686f6c65096c6f63616c686f73740000010001"
            "c00c0001000100000001"
            "00047f010203");
}

TEST(DnsClient, ReadsWhatTheServerWritesAndRefusesTheRest) {
  const Bytes asked = encode_query(0x1234, "hello.blackhole.localhost", Type::a);
  const auto query = parse_query(asked);
  ASSERT_TRUE(query);
  const Bytes out = encode_answer(
      *query,
      Answer{.answers = {address_record({}, "127.1.2.3", 1), address_record({}, "127.1.2.4", 1)}},
      512);
  EXPECT_EQ(parse_addresses(out, 0x1234, Type::a)->addresses,
            (std::vector<std::string>{"127.1.2.3", "127.1.2.4"}));
  EXPECT_FALSE(parse_addresses(out, 0x1235, Type::a));
  for (std::size_t n = 0; n < out.size(); ++n)
    EXPECT_FALSE(parse_addresses(BytesView(out).first(n), 0x1234, Type::a)) << n;
}

TEST(DnsAnswer, NameErrorCarriesTheStartOfAuthority) {
  const auto query = parse_query(kQuery);
  const Bytes out = encode_answer(
      *query,
      Answer{.rcode = Rcode::name_error,
             .authorities = {soa_record({"blackhole.localhost", "seer.x", "hostmaster.x", 1})}},
      512);
  EXPECT_EQ(out[3] & 15, 3);
  EXPECT_EQ(out[9], 1);  // one authority record
}

TEST(DnsAnswer, IsCutWithTheTruncatedFlagWhenItDoesNotFit) {
  const auto query = parse_query(kEdnsQuery);
  Answer answer;
  for (int i = 0; i < 200; ++i)
    answer.answers.push_back(address_record({}, "127.1.2." + std::to_string(i), 1));
  const Bytes cut = encode_answer(*query, answer, 512);
  EXPECT_LE(cut.size(), 512u);
  EXPECT_TRUE(cut[2] & 2);
  EXPECT_EQ(cut[11], 1);  // OPT is still there
  const Bytes whole = encode_answer(*query, answer, 65'535);
  EXPECT_FALSE(whole[2] & 2);
  EXPECT_EQ(whole[7], 200);
}

TEST(DnsAnswer, LeavesOutAdditionalsWithoutSayingSo) {
  const auto query = parse_query(kEdnsQuery);
  Answer answer{.answers = {ns_record({}, "seer.tau.blackhole.localhost", 60)}};
  for (int i = 0; i < 30; ++i)
    answer.additionals.push_back(
        address_record("seer.tau.blackhole.localhost", "127.1.2." + std::to_string(i), 1));
  const Bytes out = encode_answer(*query, answer, 512);
  EXPECT_LE(out.size(), 512u);
  EXPECT_FALSE(out[2] & 2) << "RFC 2181, 9";
  EXPECT_EQ(out[7], 1);
  EXPECT_GT(out[11], 5);
}

TEST(DnsAnswer, OfAnotherVersionOrOpcodeSaysWhich) {
  const auto query = parse_query(kEdnsQuery);
  const Bytes version =
      encode_answer(*query, Answer{.rcode = Rcode::bad_version, .authoritative = false}, 512);
  EXPECT_EQ(version[3] & 15, 0);
  EXPECT_EQ(to_hex(BytesView(version).last(11)), "00002904d0010000000000") << "RFC 6891, 6.1.3";
  const auto notify = parse_query(*from_hex("12342400000100000000000000000600010000000000"));
  ASSERT_TRUE(notify);
  EXPECT_EQ(notify->opcode, 4);
  EXPECT_EQ(to_hex(encode_answer(
                *notify, Answer{.rcode = Rcode::not_implemented, .authoritative = false}, 512)),
            "1234a0040000000000000000");
  const auto bad = parse_query(*from_hex("123401000002000000000000"));
  ASSERT_FALSE(bad);
  EXPECT_EQ(to_hex(encode_format_error(bad.error())), "123481010000000000000000");
}

}  // namespace
}  // namespace tau::seer::dns
