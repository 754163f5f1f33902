#include "http/server.h"

#include <gtest/gtest.h>

#include <string>

#include "http/client.h"
#include "net/simulated.h"
#include "net/sockets.h"

namespace tau::http {
namespace {

using namespace std::chrono_literals;
using runtime::block_on;

Task<void> echo(Request& request, ResponseWriter& response) {
  if (request.path == "/ping") {
    response.send(Response::text(200, "pong"));
  } else if (request.path == "/late") {
    (void)co_await runtime::sleep_for(1s);
    response.send(Response::text(200, "late"));
  } else if (request.path == "/echo") {
    auto body = co_await request.body.read_all(100'000);
    response.send(body ? Response::text(200, *body) : body_error(body.error()));
  } else if (request.path == "/count") {
    request.body.set_limit(1u << 30);
    Bytes piece(10'000);
    std::uint64_t all = 0;
    for (;;) {
      const auto n = co_await request.body.read(piece);
      if (!n) {
        response.send(body_error(n.error()));
        co_return;
      }
      if (*n == 0) break;
      all += *n;
    }
    response.send(Response::text(200, std::to_string(all)));
  } else if (request.path == "/ignore") {
    response.send(Response::text(200, "ignored"));
  } else if (request.path == "/stream") {
    EXPECT_TRUE(co_await response.begin(Response::text(200, "a")));
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(co_await response.write(as_bytes("bc")));
    EXPECT_TRUE(co_await response.finish());
  } else if (request.path == "/cut") {
    EXPECT_TRUE(co_await response.begin(Response::text(200, "a")));
  } else if (request.path == "/split") {
    Response r = Response::text(200, "x");
    r.headers.add("x-bad", "a\r\nx-injected: 1");
    r.headers.add("content-length", "99");
    response.send(r);
  } else if (request.path == "/empty") {
    response.send(Response{204, {}, "not to be sent"});
  }
}

class HttpServer : public testing::Test {
 protected:
  void start(Server::Options options = {}) {
    server_ = std::make_unique<Server>(loop_, echo, options);
    server_->serve(*net_.listen({"127.0.0.1", 80}));
  }
  void TearDown() override {
    connection_.reset();
    if (server_) block_on(loop_, server_->stop());
  }
  // Sends the text and gives all that comes until the server closes or is silent for `patience`.
  std::string talk(std::string text, Duration patience = 500ms) {
    connection_ = *block_on(loop_, net_.connect({"127.0.0.1", 80}));
    return more(std::move(text), patience);
  }
  std::string more(std::string text, Duration patience = 500ms) {
    closed_ = false;
    return block_on(loop_, exchange(*connection_, std::move(text), patience, closed_));
  }
  static Task<std::string> exchange(net::Connection& c, std::string text, Duration patience,
                                    bool& closed) {
    std::string all;
    if (!text.empty()) (void)co_await c.write(as_bytes(text));
    Bytes piece(4096);
    for (;;) {
      const auto n = co_await runtime::with_deadline(patience, "reading", c.read(piece));
      if (!n || *n == 0) {
        closed = n || n.error().code() != ErrorCode::deadline_exceeded;
        co_return all;
      }
      all += as_text(BytesView(piece).first(*n));
    }
  }
  static std::string body(const std::string& answer) {
    return answer.substr(answer.find("\r\n\r\n") + 4);
  }
  static std::size_t count(const std::string& text, const std::string& what) {
    std::size_t n = 0;
    for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1))
      ++n;
    return n;
  }

  runtime::VirtualLoop loop_;
  net::SimulatedNetwork world_{loop_};
  net::Network& net_ = world_.host("127.0.0.1");
  std::unique_ptr<Server> server_;
  std::unique_ptr<net::Connection> connection_;
  bool closed_ = false;
};

TEST_F(HttpServer, AnswersAndKeepsTheConnection) {
  start();
  const std::string answer = talk("GET /ping HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(answer,
            "HTTP/1.1 200 OK\r\ndate: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
            "content-type: text/plain; charset=utf-8\r\ncontent-length: 4\r\n\r\npong");
  EXPECT_FALSE(closed_);
  EXPECT_EQ(body(more("GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")), "pong");
  EXPECT_EQ(server_->open_connections(), 1u);
}

TEST_F(HttpServer, AnswersPipelinedRequestsInOrder) {
  start();
  std::string text;
  for (int i = 0; i < 500; ++i)
    text +=
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n" + std::to_string(100'000 + i);
  text += "GET /late HTTP/1.1\r\nHost: a\r\n\r\nGET /ping HTTP/1.1\r\nHost: a\r\n\r\n";
  const std::string answer = talk(text, 5s);
  EXPECT_EQ(count(answer, "HTTP/1.1 200 OK"), 502u);
  EXPECT_LT(answer.find("100000"), answer.find("100001"));
  EXPECT_LT(answer.find("100498"), answer.find("100499"));
  EXPECT_LT(answer.find("100499"), answer.find("late"));
  EXPECT_LT(answer.find("late"), answer.find("pong"));
}

TEST_F(HttpServer, ReadsARequestThatArrivesByteByByte) {
  start();
  connection_ = *block_on(loop_, net_.connect({"127.0.0.1", 80}));
  std::string answer;
  for (const char c : std::string("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
                                  "\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"))
    answer += more(std::string(1, c), 1ms);
  EXPECT_EQ(body(answer), "abcde");
}

TEST_F(HttpServer, RefusesABrokenRequestAndCloses) {
  start();
  const std::string answer = talk(
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n"
      "\r\n0\r\n\r\nGET /ping HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 Bad Request\r\n")) << answer;
  EXPECT_NE(answer.find("connection: close"), std::string::npos);
  EXPECT_NE(answer.find("both Content-Length and Transfer-Encoding"), std::string::npos);
  EXPECT_EQ(count(answer, "HTTP/1.1"), 1u);
  EXPECT_TRUE(closed_);
}

TEST_F(HttpServer, ABodyAboveTheLimitIs413) {
  start();
  EXPECT_TRUE(talk("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\n\r\n")
                  .starts_with("HTTP/1.1 413 "));
  std::string chunks = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 30; ++i) chunks += "1000\r\n" + std::string(0x1000, 'x') + "\r\n";
  EXPECT_TRUE(talk(chunks).starts_with("HTTP/1.1 413 "));
  EXPECT_TRUE(closed_);
}

TEST_F(HttpServer, StreamsALargeBodyInWithoutHoldingIt) {
  start();
  connection_ = *block_on(loop_, net_.connect({"127.0.0.1", 80}));
  const std::string piece = "100000\r\n" + std::string(0x100000, 'x') + "\r\n";
  std::string answer =
      more("POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 1ms);
  for (int i = 0; i < 20; ++i) answer += more(piece, 1ms);
  answer += more("0\r\n\r\n");
  EXPECT_EQ(body(answer), std::to_string(20 << 20));
  EXPECT_EQ(body(more("POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n" +
                      std::string(3'000'000, 'y'))),
            "3000000");
}

TEST_F(HttpServer, SaysContinueWhenTheHandlerWantsTheBody) {
  start();
  const std::string head =
      " HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
  EXPECT_EQ(talk("POST /echo" + head), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_EQ(body(more("abc")), "abc");
  // A handler that does not want it: a final answer, and the connection ends.
  const std::string answer = talk("POST /ignore" + head);
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK")) << answer;
  EXPECT_NE(answer.find("connection: close"), std::string::npos);
}

TEST_F(HttpServer, DropsAnUnreadBodyBeforeTheNextRequest) {
  start();
  const std::string answer = talk(
      "POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /ping HTTP/1.1\r\n"
      "Host: a\r\n\r\n");
  EXPECT_EQ(count(answer, "HTTP/1.1 200"), 2u);
  EXPECT_NE(answer.find("pong"), std::string::npos);
  // An unread chunked body ends the connection: what follows is never read as a request.
  const std::string chunked = talk(
      "POST /ignore HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5\r\nhello\r\n0\r\n\r\nGET /ping HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(count(chunked, "HTTP/1.1 200"), 1u);
  EXPECT_NE(chunked.find("connection: close"), std::string::npos);
}

TEST_F(HttpServer, StreamsAnAnswerInChunks) {
  start();
  EXPECT_EQ(body(talk("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")),
            "1\r\na\r\n2\r\nbc\r\n2\r\nbc\r\n2\r\nbc\r\n0\r\n\r\n");
  EXPECT_FALSE(closed_);
  EXPECT_EQ(body(talk("GET /stream HTTP/1.0\r\n\r\n")), "abcbcbc");
  EXPECT_TRUE(closed_);
  // Cut short: no last chunk, so that the client sees it.
  EXPECT_EQ(body(talk("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n")), "1\r\na\r\n");
  EXPECT_TRUE(closed_);
}

TEST_F(HttpServer, AHandlerCannotBreakTheFraming) {
  start();
  const std::string answer = talk("GET /split HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(answer.find("injected"), std::string::npos);
  EXPECT_EQ(count(answer, "content-length"), 1u);
  EXPECT_EQ(body(talk("HEAD /ping HTTP/1.1\r\nHost: a\r\n\r\n")), "");
  const std::string empty = talk("GET /empty HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(body(empty), "");
  EXPECT_EQ(empty.find("content-length"), std::string::npos);
  EXPECT_TRUE(talk("GET /silent HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 500 "));
}

TEST_F(HttpServer, ClosesSlowAndIdleConnections) {
  start();
  const TimePoint begun = loop_.now();
  EXPECT_EQ(talk("GET /ping HTTP/1.1\r\n", 60s), "");
  EXPECT_TRUE(closed_);
  EXPECT_LE(loop_.now() - begun, 12s);
  // Dripping does not help.
  connection_ = *block_on(loop_, net_.connect({"127.0.0.1", 80}));
  const TimePoint drip = loop_.now();
  more("GET / HTTP/1.1\r\nX: ", 1s);
  while (!closed_ && loop_.now() - drip < 60s) more("x", 1s);
  EXPECT_TRUE(closed_);
  EXPECT_LE(loop_.now() - drip, 13s);
  // Idle after an answer: 60 s.
  EXPECT_EQ(body(talk("GET /ping HTTP/1.1\r\nHost: a\r\n\r\n", 1s)), "pong");
  const TimePoint idle = loop_.now();
  more("", 120s);
  EXPECT_TRUE(closed_);
  EXPECT_GE(loop_.now() - idle, 57s);
  EXPECT_LE(loop_.now() - idle, 62s);
  // In the middle of a body: 30 s.
  talk("POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc", 40s);
  EXPECT_TRUE(closed_);
  EXPECT_EQ(server_->open_connections(), 0u);
}

TEST_F(HttpServer, AFullServerMakesRoomByClosingTheLongestIdle) {
  Server::Options options;
  options.connections_max = 2;
  start(options);
  auto first = *block_on(loop_, net_.connect({"127.0.0.1", 80}));
  EXPECT_EQ(body(talk("GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")), "pong");
  auto second = std::move(connection_);
  EXPECT_EQ(body(talk("GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")), "pong");
  EXPECT_EQ(server_->open_connections(), 2u);
}

TEST_F(HttpServer, StopLetsARunningRequestFinish) {
  start();
  connection_ = *block_on(loop_, net_.connect({"127.0.0.1", 80}));
  more("GET /late HTTP/1.1\r\nHost: a\r\n\r\n", 10ms);
  block_on(loop_, server_->stop());
  const std::string answer = more("");
  EXPECT_EQ(body(answer), "late");
  EXPECT_TRUE(closed_);
  EXPECT_FALSE(block_on(loop_, net_.connect({"127.0.0.1", 80})));
}

TEST_F(HttpServer, TheClientReadsWhatTheServerSends) {
  start();
  Client client(net_);
  const net::Endpoint at{"127.0.0.1", 80};
  auto pong = block_on(loop_, client.send(at, {.target = "/ping"}));
  ASSERT_TRUE(pong) << pong.error().message();
  EXPECT_EQ(pong->body, "pong");
  EXPECT_EQ(pong->headers.get("Content-Type"), "text/plain; charset=utf-8");
  auto sent = block_on(
      loop_,
      client.send(at, {.method = "POST", .target = "/echo", .body = std::string(90'000, 'x')}));
  EXPECT_EQ(sent->body.size(), 90'000u);
  EXPECT_EQ(block_on(loop_, client.send(at, {.target = "/stream"}))->body, "abcbcbc");
  EXPECT_EQ(block_on(loop_, client.send(at, {.target = "/empty"}))->status, 204);
  auto cut = block_on(loop_, client.send(at, {.target = "/cut"}));
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().code(), ErrorCode::unavailable);
  auto refused = block_on(loop_, client.send({"127.0.0.1", 81}, {}));
  EXPECT_EQ(refused.error().code(), ErrorCode::unavailable);
}

TEST(HttpOverSockets, ServesManyClientsAtOnce) {
  runtime::RealLoop loop;
  net::Sockets sockets(loop);
  Server server(loop, echo, {});
  auto listener = sockets.listen({"127.0.0.1", 0});
  ASSERT_TRUE(listener);
  const net::Endpoint at = (*listener)->local();
  server.serve(std::move(*listener));
  runtime::TaskGroup group(loop);
  int answered = 0;
  for (int i = 0; i < 50; ++i)
    group.spawn([](net::Network& network, net::Endpoint to, int size, int& n) -> Task<void> {
      Client client(network);
      auto r = co_await client.send(
          to, {.method = "POST", .target = "/count", .body = std::string(size, 'x')});
      EXPECT_TRUE(r) << (r ? "" : r.error().message());
      if (r) EXPECT_EQ(r->body, std::to_string(size));
      ++n;
    }(sockets, at, i * 40'000, answered));
  block_on(loop, group.join());
  EXPECT_EQ(answered, 50);
  block_on(loop, server.stop());
}

TEST(Url, NamesAnEndpointAndATarget) {
  const auto url = Url::parse("http://a.b.localhost:8080/x?y=1");
  ASSERT_TRUE(url);
  EXPECT_EQ(url->endpoint, (net::Endpoint{"127.0.0.1", 8080}));
  EXPECT_EQ(url->host, "a.b.localhost:8080");
  EXPECT_EQ(url->target, "/x?y=1");
  EXPECT_EQ(Url::parse("http://[::1]")->endpoint, (net::Endpoint{"::1", 80}));
  EXPECT_FALSE(Url::parse("https://127.0.0.1/"));
  EXPECT_FALSE(Url::parse("http://example.com/"));
}

}  // namespace
}  // namespace tau::http
