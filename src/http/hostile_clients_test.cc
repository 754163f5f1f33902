// Clients that are slow, greedy or confused, each beside an ordinary one whose requests go on.
#include <gtest/gtest.h>

#include <string>

#include "http/server.h"
#include "net/simulated.h"

namespace tau::http {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using runtime::block_on;

constexpr std::size_t kLarge = 1u << 20;

Task<void> serve(Request& request, ResponseWriter& response) {
  if (request.path == "/large") {
    response.send(Response::text(200, std::string(kLarge, 'x')));
  } else if (request.path == "/read") {
    const auto body = co_await request.body.read_all(1u << 20);
    response.send(body ? Response::text(200, std::to_string(body->size()))
                       : body_error(body.error()));
  } else if (request.path == "/hang") {
    (void)co_await runtime::sleep_for(1h);
    response.send(Response::text(200, "late"));
  } else {
    response.send(Response::text(200, "pong"));
  }
}

class HostileClients : public testing::Test {
 protected:
  using Connection = std::unique_ptr<net::Connection>;

  void start(Server::Options options = {}) {
    server_ = std::make_unique<Server>(loop_, serve, options);
    server_->serve(*net_.listen({"127.0.0.1", 80}));
  }
  void TearDown() override {
    if (server_) block_on(loop_, server_->stop());
  }
  Connection connect() { return *block_on(loop_, net_.connect({"127.0.0.1", 80})); }
  Connection send(const std::string& text) {
    Connection c = connect();
    send(*c, text);
    return c;
  }
  void send(net::Connection& c, const std::string& text) {
    (void)block_on(loop_, c.write(as_bytes(text)));
    pass(1ms);
  }
  // What comes until the server closes or is silent for `patience`.
  std::string hear(net::Connection& c, Duration patience = 100ms) {
    std::string all;
    Bytes piece(64u << 10);
    for (;;) {
      const auto n = block_on(loop_, runtime::with_deadline(patience, "reading", c.read(piece)));
      closed_ = n ? *n == 0 : n.error().code() != ErrorCode::deadline_exceeded;
      if (!n || *n == 0) return all;
      all += as_text(BytesView(piece).first(*n));
    }
  }
  std::string ask(const std::string& text) {
    const Connection c = send(text);
    return hear(*c);
  }
  void pass(Duration time) { (void)block_on(loop_, runtime::sleep_for(time)); }
  void expect_service() {
    const std::string answer = ask("GET /ping HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_TRUE(answer.ends_with("\r\n\r\npong")) << answer;
  }

  runtime::VirtualLoop loop_;
  net::SimulatedNetwork world_{loop_};
  net::Network& net_ = world_.host("127.0.0.1");
  std::unique_ptr<Server> server_;
  bool closed_ = false;
};

TEST_F(HostileClients, ABodyThatDripsIsCutByItsRate) {
  start();
  const TimePoint begun = loop_.now();
  const Connection c = send("POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
  // Each byte comes well before the server would call the client stalled.
  while (server_->open_connections() == 1 && loop_.now() - begun < 10min) {
    send(*c, "x");
    pass(10s);
  }
  EXPECT_LE(loop_.now() - begun, 41s);
  EXPECT_EQ(server_->counters().expired, 1u);
  expect_service();
}

TEST_F(HostileClients, AReaderThatStopsReadingIsCut) {
  start();
  const Connection c = send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
  const TimePoint begun = loop_.now();
  while (server_->open_connections() == 1 && loop_.now() - begun < 1h) pass(10s);
  // 30 s, and a second for each 4 KiB of a megabyte.
  EXPECT_GE(loop_.now() - begun, 4min);
  EXPECT_LE(loop_.now() - begun, 5min);
  expect_service();
}

TEST_F(HostileClients, ReadersThatDoNotReadHoldNoMoreThanTheBound) {
  Server::Options options;
  options.answers_bytes_max = 3 * kLarge + kLarge / 2;
  start(options);
  std::vector<Connection> greedy;
  for (int i = 0; i < 10; ++i) {
    greedy.push_back(send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n"));
    pass(2s);
    expect_service();
  }
  EXPECT_EQ(server_->counters().pushed_out, 7u);
  // The ones that came first were cut, the last is served whole when it begins to read.
  EXPECT_LT(hear(*greedy[0]).size(), kLarge);
  EXPECT_TRUE(closed_);
  EXPECT_GT(hear(*greedy[9]).size(), kLarge);
}

TEST_F(HostileClients, HalfHeadsMakeRoomForWholeRequests) {
  Server::Options options;
  options.connections_max = 20;
  start(options);
  std::vector<Connection> slow;
  for (int i = 0; i < 100; ++i) {
    slow.push_back(send("GET /ping HTTP/1.1\r\nX: "));
    expect_service();
  }
  EXPECT_LE(server_->open_connections(), 20u);
}

TEST_F(HostileClients, ThousandsOfIdleConnectionsAreBoundedAndTheOldestGoFirst) {
  Server::Options options;
  options.connections_max = 100;
  start(options);
  std::vector<Connection> idle;
  for (int i = 0; i < 3000; ++i) {
    idle.push_back(connect());
    if (i % 500 == 0) {
      pass(2s);
      expect_service();
    }
  }
  pass(1s);
  EXPECT_LE(server_->open_connections(), 100u);
  hear(*idle.front());
  EXPECT_TRUE(closed_);
  send(*idle.back(), "GET /ping HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(hear(*idle.back()).ends_with("pong"));
}

TEST_F(HostileClients, ARequestThatIsHandledIsNeverPushedOut) {
  Server::Options options;
  options.connections_max = 2;
  start(options);
  const Connection first = send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n");
  pass(2s);
  for (int i = 0; i < 10; ++i) expect_service();
  pass(1s);
  EXPECT_EQ(server_->open_connections(), 1u);
  EXPECT_EQ(hear(*first), "");
  EXPECT_FALSE(closed_);
}

// Whatever looks like another protocol or another connection is answered as what it is: a request
// of HTTP/1.1, or none.
TEST_F(HostileClients, NobodyLeavesTheProtocol) {
  start();
  const std::string get = "GET /ping HTTP/1.1\r\nHost: a\r\n";
  struct Case {
    const char* what;
    std::string text;
    const char* starts;
    bool closed;
  };
  const Case cases[] = {
      {"WebSocket", get + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "HTTP/1.1 200",
       false},
      {"h2c", get + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n", "HTTP/1.1 200",
       false},
      {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 505", true},
      {"TLS", "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"s + std::string(600, '\x7f') + "\n",
       "HTTP/1.1 400", true},
      {"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 501", true},
      {"HTTP/1.0 without Host", "GET /ping HTTP/1.0\r\n\r\n", "HTTP/1.1 200", true},
      {"NULs", std::string(64, '\0') + "\r\n\r\n", "HTTP/1.1 400", true},
      {"a PROXY header", "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + get + "\r\n", "HTTP/1.1 400",
       true},
      {"TRACE", "TRACE /ping HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n", "HTTP/1.1 200", false},
  };
  for (const Case& c : cases) {
    const std::string answer = ask(c.text);
    EXPECT_TRUE(answer.starts_with(c.starts)) << c.what << ": " << answer;
    EXPECT_EQ(closed_, c.closed) << c.what;
    EXPECT_EQ(answer.find("101"), std::string::npos) << c.what;
  }
}

TEST_F(HostileClients, GarbageBehindARequestIsNoPartOfItsAnswer) {
  start();
  const std::string answer =
      ask("GET /ping HTTP/1.1\r\nHost: a\r\n\r\n\x01\x02 garbage\r\n\r\n"
          "GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200")) << answer.substr(0, 200);
  EXPECT_NE(answer.find("HTTP/1.1 400"), std::string::npos) << answer.substr(0, 500);
  EXPECT_LT(answer.size(), 1000u) << "what follows the garbage is not read as a request";
  EXPECT_TRUE(closed_);
}

TEST_F(HostileClients, HeadHasTheHeadOfGet) {
  start();
  const std::string answer = ask("HEAD /ping HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_NE(answer.find("content-length: 4\r\n"), std::string::npos) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\n")) << answer;
  EXPECT_FALSE(closed_);
}

}  // namespace
}  // namespace tau::http
