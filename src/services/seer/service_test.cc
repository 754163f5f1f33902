#include "services/seer/service.h"

#include <gtest/gtest.h>

#include "codec/peer_id.h"
#include "command/members.h"
#include "net/simulated.h"
#include "p2p/simulated/network.h"
#include "services/tns/api.h"
#include "store/memory/memory_kv.h"

namespace tau::seer {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kSuffix = "blackhole.localhost";

class Names {
 public:
  Task<Result<tns::Resolve::Response>> handle(command::Peer, tns::Resolve::Request request) {
    tns::Resolve::Response response;
    if (request.host == "hello.blackhole.localhost" || request.host == "shop.example.com")
      response.project = ProjectId("p");
    co_return response;
  }
};

// A seer, a tns stand-in and two substrates, in virtual time.
class Seer : public testing::Test {
 protected:
  Seer()
      : members_(loop_, random_, [this](const crypto::KeyPair& key, p2p::Admission admission) {
          return std::make_unique<p2p::simulated::SimulatedHost>(
              peers_, codec::peer_id_of(key.public_key()), std::move(admission), Logger());
        }) {
    members_.add({"seer"});
    members_.add({"tns"});
    members_.add({"substrate"});
    members_.add({"substrate"});
    EXPECT_TRUE(runtime::block_on(loop_, members_.start()));
    members_[1].router.serve(tns::kProtocol, names_, command::List<tns::Resolve>{});
    rows_ = store::with_prefix(disk_, "seer/");
    exchange_ = std::make_unique<content::Exchange>(loop_, *members_[0].host, blocks_, Logger());
    exchange_->start();
    service_ = std::make_unique<Service>(
        Roster::Parts{loop_, *members_[0].host, *exchange_, *rows_, members_[0].identity,
                      members_[0].admission, random_},
        members_[0].router, members_[0].caller, sockets_.host("127.0.0.1"),
        Options{{"127.0.0.1", 53}, std::string(kSuffix)}, Logger());
    EXPECT_TRUE(runtime::block_on(loop_, service_->start()));
  }
  ~Seer() override {
    if (started_) runtime::block_on(loop_, service_->stop());
    runtime::block_on(loop_, exchange_->stop());
    runtime::block_on(loop_, members_[1].router.unserve(tns::kProtocol));
    runtime::block_on(loop_, members_.stop());
  }

  void announce(std::size_t member, std::string address) {
    NodeStatus status{
        {{"substrate"}, {std::move(address)}, 1480, 0, {}, {}}, 1, 1, loop_.wall_unix_ms()};
    auto done = runtime::block_on(
        loop_, members_[member].caller.call_any<Report>(
                   kRole, kProtocol, {1, 1, 0, members_[member].identity.sign(status)}));
    ASSERT_TRUE(done) << done.error().to_string();
  }
  static Bytes query(std::string_view name, std::uint16_t type) {
    Bytes out = {0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0};
    while (!name.empty()) {
      const auto dot = std::min(name.find('.'), name.size());
      out.push_back(static_cast<std::uint8_t>(dot));
      out.insert(out.end(), name.begin(), name.begin() + static_cast<std::ptrdiff_t>(dot));
      name.remove_prefix(std::min(dot + 1, name.size()));
    }
    out.insert(out.end(),
               {0, static_cast<std::uint8_t>(type >> 8), static_cast<std::uint8_t>(type), 0, 1});
    return out;
  }
  struct Seen {
    int rcode, answers;
    std::string first;  // the first answer's last four bytes as an IPv4 address
  };
  Seen ask_udp(std::string_view name, std::uint16_t type = 1) {
    auto socket = *sockets_.host("127.0.0.9").bind({"127.0.0.9", 0});
    EXPECT_TRUE(socket->send(service_->dns(), query(name, type)));
    auto got = runtime::block_on(loop_, runtime::with_deadline(5s, "dns", socket->receive()));
    if (!got) return {-1, 0, ""};
    const Bytes& m = got->data;
    const std::size_t at = query(name, type).size() + 12;
    std::string first;
    if (m[7] > 0)
      first = std::to_string(m[at]) + "." + std::to_string(m[at + 1]) + "." +
              std::to_string(m[at + 2]) + "." + std::to_string(m[at + 3]);
    return {m[3] & 15, m[7], first};
  }

  runtime::VirtualLoop loop_;
  SeededRandom random_{1};
  p2p::simulated::SimulatedNetwork peers_{loop_, random_};
  net::SimulatedNetwork sockets_{loop_};
  command::Members members_;
  Names names_;
  store::MemoryKv disk_;
  store::BlockStore blocks_{disk_};
  std::unique_ptr<store::Kv> rows_;
  std::unique_ptr<content::Exchange> exchange_;
  std::unique_ptr<Service> service_;
  bool started_ = true;
};

TEST_F(Seer, ThatFindsItsPortTakenSaysSoAndLeavesNothingBehind) {
  runtime::block_on(loop_, service_->stop());
  const auto taken = sockets_.host("127.0.0.1").listen({"127.0.0.1", 53});
  ASSERT_TRUE(taken);
  const auto started = runtime::block_on(loop_, service_->start());
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().message().find("127.0.0.1:53"), std::string::npos)
      << started.error().message();
  started_ = false;  // nobody stops what did not start
}

TEST_F(Seer, AnswersWithLiveSubstratesInRotatingOrder) {
  announce(2, "127.1.0.1");
  announce(3, "127.1.0.2");
  const auto first = ask_udp("hello.blackhole.localhost"),
             second = ask_udp("HELLO.blackhole.localhost");
  EXPECT_EQ(first.answers, 2);
  EXPECT_EQ(second.answers, 2);
  EXPECT_NE(first.first, second.first);
  EXPECT_EQ(ask_udp("shop.example.com").answers, 2) << "a claimed name outside the zone";
}

TEST_F(Seer, TellsNoNameFromNoData) {
  announce(2, "127.1.0.1");
  EXPECT_EQ(ask_udp("nobody.blackhole.localhost").rcode, 3);
  const auto ipv6 = ask_udp("hello.blackhole.localhost", 28);
  EXPECT_EQ(ipv6.rcode, 0);
  EXPECT_EQ(ipv6.answers, 0);
  EXPECT_EQ(ask_udp("example.org").rcode, 5);
  EXPECT_EQ(ask_udp(kSuffix, 6).answers, 1);
}

TEST_F(Seer, ADeadNodeIsGoneAtOnceWhenItsConnectionBreaksAndWithinThreeSecondsOtherwise) {
  announce(2, "127.1.0.1");
  announce(3, "127.1.0.2");
  peers_.kill(members_[2].identity.id());
  runtime::block_on(loop_, runtime::sleep_for(10ms));
  EXPECT_EQ(ask_udp("hello.blackhole.localhost").answers, 1);
  runtime::block_on(loop_, runtime::sleep_for(2500ms));
  EXPECT_EQ(ask_udp("hello.blackhole.localhost").answers, 0);
  announce(3, "127.1.0.2");
  EXPECT_EQ(ask_udp("hello.blackhole.localhost").first, "127.1.0.2");
}

TEST_F(Seer, AnswersOverTcpToo) {
  announce(2, "127.1.0.1");
  auto& client = sockets_.host("127.0.0.9");
  const auto answer = runtime::block_on(
      loop_, [](net::Network& from, net::Endpoint to, Bytes q) -> Task<Result<Bytes>> {
        CO_TRY(auto connection, from.connect(to));
        Bytes framed = {static_cast<std::uint8_t>(q.size() >> 8),
                        static_cast<std::uint8_t>(q.size())};
        framed.insert(framed.end(), q.begin(), q.end());
        for (int i = 0; i < 2; ++i)
          CO_TRY_STATUS(connection->write(framed));  // two queries, one connection
        Bytes got;
        while (got.size() < 2 * (2 + q.size() + 16)) {
          std::uint8_t buffer[512];
          CO_TRY(const auto n, connection->read(buffer));
          if (n == 0) break;
          got.insert(got.end(), buffer, buffer + n);
        }
        co_return got;
      }(client, service_->dns(), query("hello.blackhole.localhost", 1)));
  ASSERT_TRUE(answer) << answer.error().to_string();
  EXPECT_EQ((*answer)[2 + 7], 1);
}

TEST_F(Seer, KeepsItsLastAnswerWhileTnsIsGone) {
  announce(2, "127.1.0.1");
  EXPECT_EQ(ask_udp("hello.blackhole.localhost").answers, 1);
  runtime::block_on(loop_, members_[1].router.unserve(tns::kProtocol));
  runtime::block_on(loop_, runtime::sleep_for(5min));
  announce(2, "127.1.0.1");
  EXPECT_EQ(ask_udp("hello.blackhole.localhost").answers, 1);
  EXPECT_EQ(ask_udp("other.blackhole.localhost").rcode, 2)
      << "never asked before: server failure, not a wrong no";
}

TEST_F(Seer, ListsLiveNodes) {
  announce(2, "127.1.0.1");
  const auto list = runtime::block_on(
      loop_, members_[3].caller.call_any<ListNodes>(kRole, kProtocol, {"substrate"}));
  ASSERT_TRUE(list);
  ASSERT_EQ(list->nodes.size(), 1u);
  EXPECT_EQ(list->nodes[0].peer, members_[2].identity.id());
  ASSERT_TRUE(runtime::block_on(loop_, members_[2].caller.call_any<Leave>(kRole, kProtocol, {})));
  EXPECT_TRUE(
      runtime::block_on(loop_, members_[3].caller.call_any<ListNodes>(kRole, kProtocol, {""}))
          ->nodes.empty());
}

}  // namespace
}  // namespace tau::seer
