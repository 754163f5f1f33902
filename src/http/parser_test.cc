#include "http/parser.h"

#include <gtest/gtest.h>

#include <string>

#include "base/random.h"

namespace tau::http {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

// The status that the request is refused with; 0: it was accepted; -1: more is needed.
int verdict(const std::string& text, RequestHead* out = nullptr) {
  RequestHead local;
  RequestHead& head = out ? *out : local;
  HeadScanner scanner;
  const auto scanned = scanner.scan(text, {});
  if (const auto* refusal = std::get_if<Refusal>(&scanned)) return refusal->status;
  const std::size_t size = std::get<std::size_t>(scanned);
  if (size == 0) return -1;
  const auto refusal = parse_request_head(std::string_view(text).substr(0, size), {}, head);
  return refusal ? refusal->status : 0;
}

TEST(Parser, ReadsAnOrdinaryRequest) {
  const std::string text =
      "GET /a/b?x=1&y=%20 HTTP/1.1\r\nHost: a.example:8080\r\nX-One:  two \t\r\nX-Empty:\r\n\r\n";
  RequestHead head;
  ASSERT_EQ(verdict(text, &head), 0);
  EXPECT_EQ(head.method, "GET");
  EXPECT_EQ(head.path, "/a/b");
  EXPECT_EQ(head.query, "x=1&y=%20");
  EXPECT_EQ(head.authority, "a.example:8080");
  EXPECT_EQ(head.host(), "a.example");
  EXPECT_EQ(head.headers.get("x-ONE"), "two");
  EXPECT_TRUE(head.headers.contains("x-empty"));
  EXPECT_EQ(head.headers.get("x-empty"), "");
  EXPECT_TRUE(head.keep_alive);
  EXPECT_EQ(head.framing, Framing::none);
}

TEST(Parser, TheTargetsHostWinsOverTheHeader) {
  RequestHead head;
  const std::string absolute = "GET http://b.example/x?y HTTP/1.1\r\nHost: a.example\r\n\r\n";
  ASSERT_EQ(verdict(absolute, &head), 0);
  EXPECT_EQ(head.authority, "b.example");
  EXPECT_EQ(head.path, "/x");
  EXPECT_EQ(head.query, "y");
  const std::string star = "OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\n";
  ASSERT_EQ(verdict(star, &head), 0);
  EXPECT_EQ(head.host(), "[::1]");
}

TEST(Parser, KnowsWhenTheConnectionEnds) {
  RequestHead head;
  verdict("GET / HTTP/1.0\r\n\r\n", &head);
  EXPECT_FALSE(head.keep_alive);
  verdict("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", &head);
  EXPECT_TRUE(head.keep_alive);
  verdict("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, close\r\n\r\n", &head);
  EXPECT_FALSE(head.keep_alive);
}

struct Case {
  const char* name;
  std::string text;
  int status;
};
std::string with(const std::string& fields) {
  return "POST / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
}
const Case kCases[] = {
    {"nothing yet", "", -1},
    {"half a line", "GET / HT", -1},
    {"no end of the head", "GET / HTTP/1.1\r\nHost: a\r\n", -1},
    {"an empty line before it", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0},
    {"two empty lines before it", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
    {"bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
    {"bare CR in a value", with("X: a\rb\r\n"), 400},
    {"NUL in a value", with("X: a\0b\r\n"s), 400},
    {"NUL in a name", with("X\0: b\r\n"s), 400},
    {"folded line", with("X: a\r\n b\r\n"), 400},
    {"space before the colon", with("Content-Length : 3\r\n"), 400},
    {"tab before the colon", with("X\t: 3\r\n"), 400},
    {"space before the name", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
    {"no name", with(": x\r\n"), 400},
    {"no colon", with("X\r\n"), 400},
    {"both lengths", with("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), 400},
    {"both lengths, other order", with("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"), 400},
    {"two lengths", with("Content-Length: 3\r\nContent-Length: 4\r\n"), 400},
    {"two equal lengths", with("Content-Length: 3\r\nContent-Length: 3\r\n"), 400},
    {"list of lengths", with("Content-Length: 3, 3\r\n"), 400},
    {"signed length", with("Content-Length: +3\r\n"), 400},
    {"negative length", with("Content-Length: -3\r\n"), 400},
    {"hexadecimal length", with("Content-Length: 0x3\r\n"), 400},
    {"empty length", with("Content-Length:\r\n"), 400},
    {"length above 64 bits", with("Content-Length: 99999999999999999999\r\n"), 400},
    {"length with spaces inside", with("Content-Length: 3 3\r\n"), 400},
    {"length", with("Content-Length: 3\r\n"), 0},
    {"chunked", with("Transfer-Encoding: Chunked\r\n"), 0},
    {"chunked twice", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
    {"gzip, chunked", with("Transfer-Encoding: gzip, chunked\r\n"), 501},
    {"identity", with("Transfer-Encoding: identity\r\n"), 501},
    {"xchunked", with("Transfer-Encoding: xchunked\r\n"), 501},
    {"vertical tab chunked", with("Transfer-Encoding: \vchunked\r\n"), 400},
    {"chunked in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
    {"two Hosts", with("Host: b\r\n"), 400},
    {"Host with user information", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
    {"Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
    {"Host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
    {"Host with a bad port", "GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n", 400},
    {"Host with an open bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400},
    {"no version", "GET /\r\n\r\n", 400},
    {"HTTP/0.9 words", "GET / HTTP\r\n\r\n", 400},
    {"lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n", 400},
    {"HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
    {"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505},
    {"version with more digits", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400},
    {"two spaces before the target", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"tab in the target", "GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"fragment", "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"non-ASCII target", "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"relative target", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"ftp target", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"star with GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 501},
    {"method with a bad letter", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"long method", std::string(33, 'A') + " / HTTP/1.1\r\nHost: a\r\n\r\n", 501},
    {"unknown Expect", with("Expect: a-miracle\r\n"), 417},
    {"Expect", with("Expect: 100-Continue\r\nContent-Length: 3\r\n"), 0},
    {"long target", "GET /" + std::string(8 << 10, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
    {"endless target", "GET /" + std::string(12 << 10, 'a'), 414},
    {"endless header", "GET / HTTP/1.1\r\nX: " + std::string(17 << 10, 'a'), 431},
    {"TLS instead of HTTP", "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\n"s, 400},
};

TEST(Parser, RefusesWhatTwoReadersCouldReadDifferently) {
  for (const Case& c : kCases) EXPECT_EQ(verdict(c.text), c.status) << c.name;
}

TEST(Parser, BoundsTheNumberOfFields) {
  std::string fields;
  for (int i = 0; i < 99; ++i) fields += "X: y\r\n";
  EXPECT_EQ(verdict(with(fields)), 0);  // 100 with Host
  EXPECT_EQ(verdict(with(fields + "X: y\r\n")), 431);
}

TEST(Parser, FindsTheHeadWhereverItIsCut) {
  const std::string text = "\r\nGET / HTTP/1.1\r\nHost: a\r\nX: yz\r\n\r\n";
  HeadScanner scanner;
  for (std::size_t n = 0; n < text.size(); ++n) {
    const auto r = scanner.scan(std::string_view(text).substr(0, n), {});
    ASSERT_TRUE(std::holds_alternative<std::size_t>(r));
    EXPECT_EQ(std::get<std::size_t>(r), 0u);
  }
  EXPECT_EQ(std::get<std::size_t>(scanner.scan(text + "more", {})), text.size());
}

// Decodes with the input cut into pieces of `piece` bytes; nothing when it is refused.
std::optional<std::string> decode_chunks(const std::string& text, std::size_t piece,
                                         std::string* rest = nullptr) {
  ChunkDecoder decoder;
  std::string input, out;
  std::size_t given = 0;
  for (;;) {
    const auto step = decoder.next(input, 7);
    if (step.refusal) return std::nullopt;
    out += step.data;
    input.erase(0, step.consumed);
    if (step.finished) {
      if (rest) *rest = input + text.substr(given);
      return out;
    }
    if (!step.data.empty()) continue;
    if (given == text.size()) return "unfinished";
    input += text.substr(given, piece);
    given = std::min(text.size(), given + piece);
  }
}

TEST(Chunks, DecodeHoweverTheyAreCut) {
  const std::string text =
      "5;ext=\"1\"\r\nhello\r\n00a\r\n, chunked \r\n0\r\nX-Trailer: 1\r\n\r\nGET /";
  for (std::size_t piece = 1; piece <= text.size(); ++piece) {
    std::string rest;
    EXPECT_EQ(decode_chunks(text, piece, &rest), "hello, chunked ") << piece;
    EXPECT_EQ(rest, "GET /");
  }
}

TEST(Chunks, RefuseWhatIsAmbiguous) {
  for (const std::string text :
       {"5\nhello\r\n0\r\n\r\n", "5\r\nhelloX\r\n0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "x\r\n",
        "\r\n", "-1\r\n", " 5\r\nhello\r\n", "0x5\r\nhello\r\n", "5 5\r\nhello\r\n",
        "1000000000000000\r\n", "5;\x01\r\nhello\r\n", "0\r\n folded\r\n\r\n",
        "0\r\nX : y\r\n\r\n"})
    for (const std::size_t piece : {1, 100}) EXPECT_FALSE(decode_chunks(text, piece)) << text;
  EXPECT_FALSE(decode_chunks("5;" + std::string(500, 'a'), 100));
  EXPECT_FALSE(decode_chunks("0\r\nX: " + std::string(9000, 'a'), 100));
  std::string trailers = "0\r\n";
  for (int i = 0; i < 1000; ++i) trailers += "X: aaaaaaaaaa\r\n";
  EXPECT_FALSE(decode_chunks(trailers, 100));
  EXPECT_EQ(decode_chunks("5\r\nhel", 100), "unfinished");
}

// Mutated requests and chunks: whatever they are, the answer does not depend on how they were cut,
// and every view lies inside the input (the address sanitizer watches).
TEST(Parser, ReadsAnythingTheSameHoweverItIsCut) {
  SeededRandom random(2026);
  const std::string seeds[] = {
      "POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nX: y\r\n\r\nabc",
      "GET http://h:80/ HTTP/1.0\r\nConnection: keep-alive, x\r\n\r\n",
      "PUT / HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
      "5;x=y\r\nhello\r\nA\r\n0123456789\r\n0\r\nT: v\r\n\r\nrest"};
  constexpr std::string_view kBytes =
      "\r\n \t:;,\0\x7f\xff"
      "aA0?#/*[]"sv;
  for (int round = 0; round < 20'000; ++round) {
    std::string text = seeds[random.below(std::size(seeds))];
    for (std::uint64_t n = 1 + random.below(4); n > 0; --n) {
      const std::size_t at = random.below(text.size());
      switch (random.below(3)) {
        case 0:
          text[at] = kBytes[random.below(kBytes.size())];
          break;
        case 1:
          text.insert(at, 1, kBytes[random.below(kBytes.size())]);
          break;
        default:
          text.erase(at, 1 + random.below(3));
          break;
      }
      if (text.empty()) text = "x";
    }
    RequestHead head;
    const int whole = verdict(text, &head);
    HeadScanner scanner;
    int cut = -1;
    for (std::size_t n = 0; n <= text.size() && cut == -1; ++n) {
      const std::string part = text.substr(0, n);
      const auto scanned = scanner.scan(part, {});
      if (const auto* refusal = std::get_if<Refusal>(&scanned)) {
        cut = refusal->status;
      } else if (const std::size_t size = std::get<std::size_t>(scanned)) {
        const auto why = parse_request_head(std::string_view(part).substr(0, size), {}, head);
        cut = why ? why->status : 0;
      }
    }
    EXPECT_EQ(cut, whole) << text;
    EXPECT_EQ(decode_chunks(text, 1), decode_chunks(text, text.size())) << text;
  }
}

TEST(Responses, AreReadWithTheirFraming) {
  const auto parse = [](const std::string& text, std::string_view method = "GET") {
    ResponseHead head;
    EXPECT_FALSE(parse_response_head(text, method, {}, head)) << text;
    return head;
  };
  EXPECT_EQ(parse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").framing, Framing::length);
  EXPECT_EQ(parse("HTTP/1.1 200\r\n\r\n").framing, Framing::until_close);
  EXPECT_EQ(parse("HTTP/1.1 204 No\r\n\r\n").framing, Framing::none);
  EXPECT_EQ(parse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD").framing, Framing::none);
  EXPECT_EQ(parse("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n").framing,
            Framing::chunked);
  ResponseHead head;
  for (const std::string text : {"HTTP/1.1 2x0 OK\r\n\r\n", "HTP/1.1 200 OK\r\n\r\n",
                                 "HTTP/1.1 200OK\r\n\r\n", "\r\n", "HTTP/1.1 099 OK\r\n\r\n"})
    EXPECT_TRUE(parse_response_head(text, "GET", {}, head)) << text;
}

TEST(Text, PercentAndQueriesDecode) {
  EXPECT_EQ(percent_decode("a%2Fb%20c"), "a/b c");
  for (const char* bad : {"%", "%2", "%zz", "%00", "a%"}) EXPECT_FALSE(percent_decode(bad)) << bad;
  EXPECT_EQ(query_value("a=1&b=x+y%21&b=2&c", "b"), "x y!");
  EXPECT_EQ(query_value("a=1&b=x+y%21&c", "c"), "");
  EXPECT_EQ(query_value("a=1", "b"), std::nullopt);
  EXPECT_EQ(query_value("", "b"), std::nullopt);
}

}  // namespace
}  // namespace tau::http
