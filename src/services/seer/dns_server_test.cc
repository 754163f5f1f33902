#include "services/seer/dns_server.h"

#include <gtest/gtest.h>

#include "net/simulated.h"
#include "services/seer/dns_client.h"
#include "services/seer/made_status.h"

namespace tau::seer {
namespace {

using namespace std::chrono_literals;
using dns::Rcode;
using dns::Type;

// The server alone, in virtual time, on a network in memory; tns is a function that takes its time.
class DnsServerTest : public testing::Test {
 protected:
  DnsServerTest() {
    DnsServer::Options options;
    options.listen = {"127.0.0.1", 53};
    options.zone.suffix = "cloud.example";
    options.limits = {100, 20, 2};
    server.emplace(
        loop, world.host("127.0.0.1"), options, nodes,
        [this](std::string name) { return is_claimed(std::move(name)); }, random, Logger());
    EXPECT_TRUE(runtime::block_on(loop, server->start()));
  }
  ~DnsServerTest() override { runtime::block_on(loop, server->stop()); }

  Task<Result<bool>> is_claimed(std::string name) {
    ++asked[name];
    CO_TRY_STATUS(runtime::sleep_for(tns_takes));
    co_return name == "hello.cloud.example";
  }
  void advance(Duration by) { runtime::block_on(loop, runtime::sleep_for(by)); }

  void announce() {
    for (const char* ip : {"203.0.113.1", "203.0.113.2"})
      EXPECT_TRUE(nodes.hear(made_status(ip, {{"substrate"}, {ip}, 80, 0, {}, {}}), 0, loop.now()));
  }

  // What comes back to `from` for these questions, sent at once over UDP.
  std::vector<Bytes> ask_udp(const std::string& from, const std::vector<Bytes>& queries) {
    announce();
    auto socket = *world.host(from).bind({from, 0});
    for (const Bytes& query : queries) EXPECT_TRUE(socket->send(server->local(), query));
    std::vector<Bytes> got;
    for (;;) {
      auto one = runtime::block_on(loop, runtime::with_deadline(1s, "dns", socket->receive()));
      if (!one) return got;
      got.push_back(std::move(one->data));
    }
  }
  std::unique_ptr<net::Connection> connect(const std::string& from) {
    auto connection = runtime::block_on(loop, world.host(from).connect(server->local()));
    EXPECT_TRUE(connection);
    return *std::move(connection);
  }
  void send(net::Connection& connection, BytesView query) {
    announce();
    Bytes framed;
    dns::put16(framed, static_cast<std::uint16_t>(query.size()));
    framed.insert(framed.end(), query.begin(), query.end());
    EXPECT_TRUE(runtime::block_on(loop, connection.write(framed)));
  }
  // The next message; empty at the end of the connection.
  Bytes receive(net::Connection& connection) {
    const auto exactly = [&](std::size_t size) {
      Bytes out;
      while (out.size() < size) {
        Bytes buffer(size - out.size());
        const auto n = runtime::block_on(loop, connection.read(buffer));
        if (!n || *n == 0) return Bytes{};
        out.insert(out.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(*n));
      }
      return out;
    };
    const Bytes head = exactly(2);
    return head.empty() ? Bytes{} : exactly(static_cast<std::size_t>(head[0] << 8 | head[1]));
  }
  static int id_of(const Bytes& message) { return message[0] << 8 | message[1]; }
  static bool truncated(const Bytes& message) { return message[2] & 2; }
  static int rcode_of(const Bytes& message) { return message[3] & 15; }

  runtime::VirtualLoop loop;
  SeededRandom random{5};
  net::SimulatedNetwork world{loop};
  Nodes nodes;
  std::map<std::string, int> asked;
  Duration tns_takes = 1ms;
  std::optional<DnsServer> server;
};

TEST_F(DnsServerTest, AFloodFromOneNetworkLeavesTheOthersTheirAnswers) {
  std::vector<Bytes> flood;
  for (int i = 0; i < 250; ++i)
    flood.push_back(dns::encode_query(static_cast<std::uint16_t>(i),
                                      "made-up-" + std::to_string(i) + ".cloud.example", Type::a));
  for (int round = 0; round < 8; ++round) (void)ask_udp("192.0.2.66", flood);
  // While it goes on:
  auto attacker = *world.host("192.0.2.66").bind({"192.0.2.66", 0});
  for (const Bytes& query : flood) EXPECT_TRUE(attacker->send(server->local(), query));
  const auto answers =
      ask_udp("198.51.100.1", {dns::encode_query(7, "hello.cloud.example", Type::a),
                               dns::encode_query(8, "nobody.cloud.example", Type::a)});
  ASSERT_EQ(answers.size(), 2u);
  for (const Bytes& answer : answers) {
    EXPECT_FALSE(truncated(answer));
    EXPECT_EQ(rcode_of(answer), id_of(answer) == 7 ? 0 : 3);
  }
  const auto counted = server->statistics();
  EXPECT_LT(counted.lookups, 9 * 20 * 3) << "tns was spared";
  EXPECT_GT(counted.dropped, 500u);
  EXPECT_GT(counted.slipped, 500u);
}

TEST_F(DnsServerTest, WhoIsLimitedOverUdpIsAnsweredOverTcp) {
  const Bytes query = dns::encode_query(7, "hello.cloud.example", Type::a);
  (void)ask_udp("192.0.2.1", {query});
  const auto answers = ask_udp("192.0.2.1", std::vector<Bytes>(200, query));
  const auto whole = std::ranges::count_if(answers, [](const Bytes& a) { return !truncated(a); });
  EXPECT_GE(whole, 99);
  EXPECT_LE(whole, 101);
  EXPECT_NEAR(static_cast<double>(answers.size()), 150, 3) << "every second of the rest";
  for (const Bytes& answer : answers) EXPECT_EQ(answer[7], truncated(answer) ? 0 : 2);
  auto connection = connect("192.0.2.1");
  send(*connection, query);
  EXPECT_EQ(receive(*connection)[7], 2);
}

TEST_F(DnsServerTest, AnswersOfOneConnectionGoOutAsTheyAreReady) {
  tns_takes = 500ms;
  auto connection = connect("192.0.2.1");
  send(*connection, dns::encode_query(1, "slow.cloud.example", Type::a));
  send(*connection, dns::encode_query(2, "cloud.example", Type::soa));
  EXPECT_EQ(id_of(receive(*connection)), 2) << "RFC 7766, 6.2.1.1";
  EXPECT_EQ(id_of(receive(*connection)), 1);
  for (std::uint16_t id = 10; id < 60; ++id)
    send(*connection, dns::encode_query(id, "cloud.example", Type::ns));
  for (std::uint16_t id = 10; id < 60; ++id) EXPECT_FALSE(receive(*connection).empty());
}

TEST_F(DnsServerTest, AsksTnsOnceHoweverManyWantToKnow) {
  tns_takes = 100ms;
  EXPECT_EQ(ask_udp("192.0.2.1",
                    std::vector<Bytes>(15, dns::encode_query(1, "hello.cloud.example", Type::a)))
                .size(),
            15u);
  EXPECT_EQ(asked["hello.cloud.example"], 1);
  (void)ask_udp("192.0.2.1", {dns::encode_query(1, "not a host.cloud.example", Type::a)});
  EXPECT_EQ(asked.size(), 1u) << "what cannot be a host is no question to tns";
}

TEST_F(DnsServerTest, AConnectionEndsWhenNothingComesOrTooSlowly) {
  const auto ends_after = [&](net::Connection& connection) {
    const TimePoint start = loop.now();
    EXPECT_TRUE(receive(connection).empty());
    return loop.now() - start;
  };
  auto silent = connect("192.0.2.1");
  EXPECT_EQ(ends_after(*silent), 10s);
  auto slow = connect("192.0.2.1");
  EXPECT_TRUE(runtime::block_on(loop, slow->write(Bytes{0})));
  EXPECT_EQ(ends_after(*slow), 3s);
  auto large = connect("192.0.2.1");
  EXPECT_TRUE(runtime::block_on(loop, large->write(Bytes{0xff, 0xff})));
  EXPECT_EQ(ends_after(*large), 0s);
  auto senseless = connect("192.0.2.1");
  send(*senseless, Bytes{1, 2, 3});
  EXPECT_LE(ends_after(*senseless), 10s);
}

TEST_F(DnsServerTest, OneNetworkCannotTakeAllConnections) {
  std::vector<std::unique_ptr<net::Connection>> held;
  for (int i = 0; i < 40; ++i) held.push_back(connect("192.0.2." + std::to_string(i + 1)));
  advance(10ms);
  EXPECT_EQ(server->statistics().connections_refused, 24u);
  auto other = connect("198.51.100.1");
  send(*other, dns::encode_query(1, "cloud.example", Type::soa));
  EXPECT_EQ(receive(*other)[7], 1);
  held.clear();
  advance(20s);
  auto again = connect("192.0.2.1");
  send(*again, dns::encode_query(1, "cloud.example", Type::soa));
  EXPECT_EQ(receive(*again)[7], 1);
}

TEST_F(DnsServerTest, MalformedQuestionsGetFormatErrorsAndResponsesNothing) {
  const Bytes good = dns::encode_query(0x1234, "hello.cloud.example", Type::a);
  std::vector<Bytes> cut;
  for (std::size_t n = 12; n < good.size(); ++n)
    cut.emplace_back(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n));
  cut.resize(15);  // within the limit
  const auto answers = ask_udp("192.0.2.1", cut);
  EXPECT_EQ(answers.size(), cut.size());
  for (const Bytes& answer : answers) {
    EXPECT_EQ(id_of(answer), 0x1234);
    EXPECT_EQ(rcode_of(answer), 1);
  }
  Bytes response = good;
  response[2] |= 0x80;
  EXPECT_TRUE(ask_udp("192.0.2.1", {response, {}, {1}, {1, 2, 3}}).empty());
  EXPECT_EQ(server->statistics().malformed, cut.size() + 4);
}

TEST_F(DnsServerTest, RefusesWhatItDoesNotDo) {
  const auto rcode = [&](Bytes query) { return rcode_of(ask_udp("192.0.2.1", {query}).at(0)); };
  EXPECT_EQ(rcode(dns::encode_query(1, "cloud.example", Type::axfr)), 5);
  Bytes chaos = dns::encode_query(1, "version.bind", Type::txt);
  chaos.back() = 3;
  EXPECT_EQ(rcode(chaos), 5);
  Bytes update = dns::encode_query(1, "cloud.example", Type::soa);
  update[2] = 5 << 3;
  EXPECT_EQ(rcode(update), 4);
  EXPECT_EQ(rcode(dns::encode_query(1, "example.org", Type::a)), 5);
}

}  // namespace
}  // namespace tau::seer
