#include "services/seer/dns_message.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "services/seer/dns_client.h"

namespace tau::seer::dns {
namespace {

Bytes unhex(std::string_view text) {
  Bytes out;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    out.push_back(
        static_cast<std::uint8_t>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
  return out;
}

// What `dig +noedns A Hello.blackhole.localhost` sends: id 0x1234, RD, one question.
const Bytes kQuery =
    unhex("1234010000010000000000000548656c6c6f09626c61636b686f6c65096c6f63616c686f73740000010001");
// The same with an OPT record of 1232 bytes and a DNS cookie.
const Bytes kEdnsQuery = unhex(
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
  EXPECT_FALSE(parse_query(unhex("1234")).error().id);
}

TEST(DnsQuery, IsNeverAResponseNorCompressed) {
  Bytes response = kQuery;
  response[2] |= 0x80;
  EXPECT_TRUE(parse_query(response).error().is_response);
  EXPECT_FALSE(parse_query(unhex("123401000001000000000000c00c00010001")));
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
          encode_answer(*query, {Rcode::no_error, true, {address_record("127.0.0.1", 1)}, {}}, 512);
      EXPECT_LE(out.size(), 512u);
    }
  }
}

TEST(DnsAnswer, RepeatsTheQuestionAndGivesTheAddress) {
  const auto query = parse_query(kQuery);
  const Bytes out =
      encode_answer(*query, {Rcode::no_error, true, {address_record("127.1.2.3", 1)}, {}}, 512);
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
      {Rcode::no_error, true, {address_record("127.1.2.3", 1), address_record("127.1.2.4", 1)}, {}},
      512);
  EXPECT_EQ(parse_addresses(out, 0x1234, Type::a)->addresses,
            (std::vector<std::string>{"127.1.2.3", "127.1.2.4"}));
  EXPECT_FALSE(parse_addresses(out, 0x1235, Type::a));
  for (std::size_t n = 0; n < out.size(); ++n)
    EXPECT_FALSE(parse_addresses(BytesView(out).first(n), 0x1234, Type::a)) << n;
}

TEST(DnsAnswer, NameErrorCarriesTheStartOfAuthority) {
  const auto query = parse_query(kQuery);
  const Bytes out =
      encode_answer(*query, {Rcode::name_error, true, {}, Zone{"blackhole.localhost", 1}}, 512);
  EXPECT_EQ(out[3] & 15, 3);
  EXPECT_EQ(out[9], 1);  // one authority record
}

TEST(DnsAnswer, IsCutWithTheTruncatedFlagWhenItDoesNotFit) {
  const auto query = parse_query(kEdnsQuery);
  Answer answer;
  for (int i = 0; i < 200; ++i)
    answer.records.push_back(address_record("127.1.2." + std::to_string(i), 1));
  const Bytes cut = encode_answer(*query, answer, 512);
  EXPECT_LE(cut.size(), 512u);
  EXPECT_TRUE(cut[2] & 2);
  EXPECT_EQ(cut[11], 1);  // OPT is still there
  const Bytes whole = encode_answer(*query, answer, 65'535);
  EXPECT_FALSE(whole[2] & 2);
  EXPECT_EQ(whole[7], 200);
}

}  // namespace
}  // namespace tau::seer::dns
