// One conformance suite over both networks: what holds for sockets holds in the simulated world.
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "net/network.h"
#include "net/simulated.h"
#include "net/sockets.h"
#include "runtime/loop.h"
#include "runtime/task_group.h"

namespace tau::net {
namespace {

using namespace std::chrono_literals;
using runtime::block_on;

struct World {
  virtual ~World() = default;
  virtual runtime::Loop& loop() = 0;
  virtual Network& network() = 0;
};
struct RealWorld final : World {
  runtime::RealLoop real;
  Sockets sockets{real};
  runtime::Loop& loop() override { return real; }
  Network& network() override { return sockets; }
};
struct InstantWorld final : World {
  runtime::VirtualLoop virtual_loop;
  SimulatedNetwork net{virtual_loop};
  runtime::Loop& loop() override { return virtual_loop; }
  Network& network() override { return net.host("127.0.0.1"); }
};
struct SlowWorld final : World {
  runtime::VirtualLoop virtual_loop;
  SimulatedNetwork net{virtual_loop, 20ms};
  runtime::Loop& loop() override { return virtual_loop; }
  Network& network() override { return net.host("127.0.0.1"); }
};

template <class T>
class NetworkConformance : public testing::Test {
 protected:
  template <class R>
  R run(Task<R> task) {
    return block_on(world_.loop(), runtime::with_deadline(10s, "the test", std::move(task)));
  }
  T world_;
};
using Worlds = testing::Types<RealWorld, InstantWorld, SlowWorld>;
TYPED_TEST_SUITE(NetworkConformance, Worlds);

struct Pair {
  std::unique_ptr<Connection> client, server;
};
Task<Result<Pair>> pair(Network& network, Listener& listener) {
  Pair p;
  CO_TRY(p.client, network.connect(listener.local()));
  CO_TRY(p.server, listener.accept());
  co_return p;
}
Task<Result<std::string>> read_all(Connection& connection) {
  std::string all;
  Bytes buffer(10'000);
  for (;;) {
    CO_TRY(const std::size_t n, connection.read(buffer));
    if (n == 0) co_return all;
    all += as_text(BytesView(buffer).first(n));
  }
}
Task<Result<std::string>> say(Connection& from, Connection& to, std::string text) {
  CO_TRY_STATUS(from.write(as_bytes(text)));
  CO_TRY_SYNC_STATUS(from.close_write());
  co_return co_await read_all(to);
}

TYPED_TEST(NetworkConformance, CarriesBytesBothWaysAndEndsWithZero) {
  auto& network = this->world_.network();
  auto listener = network.listen({"127.0.0.1", 0});
  ASSERT_TRUE(listener) << listener.error().message();
  EXPECT_NE((*listener)->local().port, 0);
  auto p = this->run(pair(network, **listener));
  ASSERT_TRUE(p) << p.error().message();
  EXPECT_EQ(p->client->remote(), p->server->local());
  EXPECT_EQ(p->server->remote().address, "127.0.0.1");
  EXPECT_EQ(*this->run(say(*p->client, *p->server, "hello")), "hello");
  EXPECT_EQ(*this->run(say(*p->server, *p->client, "world")), "world");
}

TYPED_TEST(NetworkConformance, HoldsAWriterThatIsFasterThanTheReader) {
  auto& network = this->world_.network();
  auto listener = network.listen({"127.0.0.1", 0});
  auto p = this->run(pair(network, **listener));
  ASSERT_TRUE(p);
  const std::string megabytes(32u << 20, 'x');
  bool written = false;
  runtime::TaskGroup group(this->world_.loop());
  group.spawn([](Connection& c, const std::string& text, bool& done) -> Task<void> {
    EXPECT_TRUE(co_await c.write(as_bytes(text)));
    done = true;
    EXPECT_TRUE(c.close_write());
  }(*p->client, megabytes, written));
  EXPECT_FALSE(written);
  EXPECT_EQ(this->run(read_all(*p->server))->size(), megabytes.size());
  EXPECT_TRUE(written);
  block_on(this->world_.loop(), group.join());
}

TYPED_TEST(NetworkConformance, CancellingAReadLeavesTheOtherDirectionAlone) {
  auto& network = this->world_.network();
  auto listener = network.listen({"127.0.0.1", 0});
  auto p = this->run(pair(network, **listener));
  ASSERT_TRUE(p);
  const std::string text(8u << 20, 'x');
  runtime::TaskGroup group(this->world_.loop());
  group.spawn([](Connection& c, const std::string& t) -> Task<void> {
    EXPECT_TRUE(co_await c.write(as_bytes(t)));
    EXPECT_TRUE(c.close_write());
  }(*p->client, text));
  Bytes buffer(10);
  auto read =
      block_on(this->world_.loop(), runtime::with_deadline(5ms, "read", p->client->read(buffer)));
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), ErrorCode::deadline_exceeded);
  EXPECT_EQ(this->run(read_all(*p->server))->size(), text.size());
  block_on(this->world_.loop(), group.join());
}

TYPED_TEST(NetworkConformance, RefusesWhereNobodyListensAndASecondListener) {
  auto& network = this->world_.network();
  auto listener = network.listen({"127.0.0.1", 0});
  const Endpoint at = (*listener)->local();
  auto second = network.listen(at);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::already_exists);
  listener->reset();
  auto refused = this->run(network.connect(at));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::unavailable);
  EXPECT_NE(refused.error().message().find(at.to_string()), std::string::npos);
}

TYPED_TEST(NetworkConformance, ListenersThatShareAPortBothExist) {
  auto& network = this->world_.network();
  auto first = network.listen({"127.0.0.1", 0}, SharePort::yes);
  ASSERT_TRUE(first);
  auto second = network.listen((*first)->local(), SharePort::yes);
  ASSERT_TRUE(second) << second.error().message();
}

TYPED_TEST(NetworkConformance, AWaitingAcceptEndsWithItsScope) {
  auto& network = this->world_.network();
  auto listener = network.listen({"127.0.0.1", 0});
  auto r =
      block_on(this->world_.loop(), runtime::with_deadline(5ms, "accept", (*listener)->accept()));
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), ErrorCode::deadline_exceeded);
  EXPECT_TRUE(this->run(pair(network, **listener)));
}

TYPED_TEST(NetworkConformance, WritingToAnEndThatIsGoneFails) {
  auto& network = this->world_.network();
  auto listener = network.listen({"127.0.0.1", 0});
  auto p = this->run(pair(network, **listener));
  ASSERT_TRUE(p);
  p->server.reset();
  auto r = this->run([](Connection& c) -> Task<Status> {
    const std::string text(1000, 'x');
    for (int i = 0; i < 10'000; ++i) CO_TRY_STATUS(c.write(as_bytes(text)));
    co_return Status{};
  }(*p->client));
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), ErrorCode::unavailable);
}

TYPED_TEST(NetworkConformance, DatagramsArriveWithTheirSender) {
  auto& network = this->world_.network();
  auto a = network.bind({"127.0.0.1", 0}), b = network.bind({"127.0.0.1", 0});
  ASSERT_TRUE(a && b);
  ASSERT_TRUE((*a)->send((*b)->local(), as_bytes("ping")));
  auto got = this->run((*b)->receive());
  ASSERT_TRUE(got);
  EXPECT_EQ(as_text(got->data), "ping");
  EXPECT_EQ(got->peer, (*a)->local());
  // To a port where nobody is: lost without an error, and the socket goes on.
  const Endpoint gone = (*b)->local();
  b->reset();
  EXPECT_TRUE((*a)->send(gone, as_bytes("ping")));
  ASSERT_TRUE((*a)->send((*a)->local(), as_bytes("self")));
  EXPECT_EQ(as_text(this->run((*a)->receive())->data), "self");
}

TEST(SimulatedNetwork, AKilledHostBreaksItsConnectionsAndRefusesNewOnes) {
  runtime::VirtualLoop loop;
  SimulatedNetwork world(loop, 1ms);
  Network &a = world.host("10.0.0.1"), &b = world.host("10.0.0.2");
  auto listener = a.listen({"0.0.0.0", 80});
  ASSERT_TRUE(listener);
  auto p = block_on(loop, pair(b, **listener));
  ASSERT_TRUE(p);
  EXPECT_EQ(p->server->remote().address, "10.0.0.2");
  world.kill("10.0.0.1");
  Bytes buffer(10);
  EXPECT_EQ(block_on(loop, p->client->read(buffer)).error().code(), ErrorCode::unavailable);
  EXPECT_EQ(block_on(loop, b.connect({"10.0.0.1", 80})).error().code(), ErrorCode::unavailable);
  EXPECT_EQ(block_on(loop, (*listener)->accept()).error().code(), ErrorCode::unavailable);
}

TEST(Endpoint, ReadsNumericAddressesOnly) {
  EXPECT_EQ(Endpoint::parse("127.0.0.1:80"), (Endpoint{"127.0.0.1", 80}));
  EXPECT_EQ(Endpoint::parse("[::1]:8080"), (Endpoint{"::1", 8080}));
  EXPECT_EQ(Endpoint::parse("[::1]:8080")->to_string(), "[::1]:8080");
  for (const char* bad : {"", ":80", "localhost:80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536",
                          "127.0.0.1:80x", "::1:80", "[127.0.0.1]:80", "127.0.0.1 :80"})
    EXPECT_FALSE(Endpoint::parse(bad)) << bad;
}

}  // namespace
}  // namespace tau::net
