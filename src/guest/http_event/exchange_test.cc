#include "guest/http_event/exchange.h"

#include <gtest/gtest.h>

#include <string>

#include "guest/http_event/content_type.h"
#include "guest/http_event/url_text.h"

namespace tau::guest {
namespace {

using namespace std::literals;

std::string header_of(const HttpExchange& x, std::string_view name) {
  for (const HttpHeader& h : x.headers()) {
    if (h.name == name) return h.value;
  }
  return "absent";
}

TEST(HttpExchange, CommitsStatus200AndHeadersWithTheFirstWrite) {
  HttpExchange x({});
  EXPECT_FALSE(x.committed());
  EXPECT_EQ(x.add_header("x-a", "1"), Error::none);
  EXPECT_EQ(x.write("hi"), std::pair(Error::none, std::size_t{2}));
  EXPECT_EQ(x.add_header("x-b", "2"), Error::none);
  EXPECT_EQ(x.set_status(404), Error::none);
  EXPECT_EQ(x.status(), 200);
  EXPECT_EQ(header_of(x, "X-A"), "1");
  EXPECT_EQ(header_of(x, "X-B"), "absent");
}

TEST(HttpExchange, AnswersAnEmpty200IfTheGuestSaysNothing) {
  const HttpExchange x({});
  EXPECT_EQ(x.status(), 200);
  EXPECT_TRUE(x.headers().empty());
  EXPECT_EQ(x.body(), "");
}

TEST(HttpExchange, KeepsTheFirstStatusAndRefusesImpossibleOnes) {
  HttpExchange x({});
  for (const std::uint32_t code : {0u, 99u, 1000u, 101u, 0xFFFF'FFFFu}) {
    EXPECT_EQ(x.set_status(code), Error::http_write);
  }
  EXPECT_EQ(x.set_status(103), Error::none);
  EXPECT_FALSE(x.committed());
  EXPECT_EQ(x.set_status(418), Error::none);
  EXPECT_EQ(x.set_status(200), Error::none);
  EXPECT_EQ(x.status(), 418);
}

TEST(HttpExchange, SniffsTheTypeOfABodyThatHasNone) {
  HttpExchange x({});
  EXPECT_EQ(x.set_status(201), Error::none);
  EXPECT_EQ(x.write("").first, Error::none);
  EXPECT_EQ(x.write("<html><body>").first, Error::none);
  EXPECT_EQ(x.write("rest").first, Error::none);
  EXPECT_EQ(header_of(x, "Content-Type"), "text/html; charset=utf-8");
  EXPECT_EQ(x.headers().size(), 1u);
}

TEST(HttpExchange, LeavesTheTypeAloneThatTheGuestGave) {
  HttpExchange x({});
  EXPECT_EQ(x.add_header("content-TYPE", "a/b"), Error::none);
  EXPECT_EQ(x.write("<html>").first, Error::none);
  EXPECT_EQ(header_of(x, "Content-Type"), "a/b");
}

TEST(HttpExchange, NeverLetsAGuestSplitTheAnswerOrFrameIt) {
  HttpExchange x({});
  EXPECT_EQ(x.add_header("X-A", "1\r\nSet-Cookie: evil=1\n\nbody"), Error::none);
  EXPECT_EQ(x.add_header("X-B\r\nX-C", "1"), Error::none);
  EXPECT_EQ(x.add_header("", "1"), Error::none);
  EXPECT_EQ(x.add_header("X D", "1"), Error::none);
  for (const char* name : {"content-length", "Transfer-Encoding", "CONNECTION", "upgrade"}) {
    EXPECT_EQ(x.add_header(name, "1"), Error::none);
  }
  ASSERT_EQ(x.headers().size(), 1u);
  EXPECT_EQ(x.headers()[0].value, "1  Set-Cookie: evil=1  body");
}

TEST(HttpExchange, AddsHeadersAndBoundsThem) {
  HttpExchange x({}, {.body_bytes_max = 10, .header_bytes_max = 20, .headers_max = 3});
  EXPECT_EQ(x.add_header("A", "1"), Error::none);
  EXPECT_EQ(x.add_header("a", "2"), Error::none);
  EXPECT_EQ(x.add_header("B", std::string(20, 'x')), Error::http_write);
  EXPECT_EQ(x.add_header("B", "3"), Error::none);
  EXPECT_EQ(x.add_header("C", "4"), Error::http_write);
  EXPECT_EQ(x.headers().size(), 3u);
  EXPECT_EQ(x.write("12345678"), std::pair(Error::none, std::size_t{8}));
  EXPECT_EQ(x.write("12345678"), std::pair(Error::http_write, std::size_t{2}));
  EXPECT_EQ(x.write("1"), std::pair(Error::http_write, std::size_t{0}));
  EXPECT_EQ(x.body().size(), 10u);
}

TEST(HttpExchange, RefusesABodyWhereTheStatusForbidsOne) {
  HttpExchange x({});
  EXPECT_EQ(x.set_status(204), Error::none);
  EXPECT_EQ(x.write("hi"), std::pair(Error::http_write, std::size_t{0}));
  EXPECT_EQ(x.body(), "");
}

TEST(HttpExchange, FindsHeadersInAnyCaseAndHidesHost) {
  const HttpHeaderView headers[] = {{"hOST", "h"}, {"x-a", "1"}, {"X-A", "2"}, {"accept", ""}};
  HttpExchange x({.headers = headers});
  EXPECT_EQ(x.header("X-a"), "1");
  EXPECT_EQ(x.header("host"), "");
  EXPECT_EQ(x.header("none"), "");
  EXPECT_EQ(x.header_names(), "X-A\0Accept\0"s);
}

TEST(HttpExchange, DecodesQueriesAndDropsOnlyTheBadPairs) {
  HttpExchange x({.query = "a=1&a=2&b+c=%41%2b&&d&=e&bad=%4&worse=%xx&semi;colon=1&f=g=h"});
  EXPECT_EQ(x.query_value("a"), "1");
  EXPECT_EQ(x.query_value("b c"), "A+");
  EXPECT_EQ(x.query_value("d"), "");
  EXPECT_EQ(x.query_value(""), "e");
  EXPECT_EQ(x.query_value("f"), "g=h");
  EXPECT_EQ(x.query_value("bad"), "");
  EXPECT_EQ(x.query_names(), "a\0b c\0d\0\0f\0"s);
}

TEST(HttpExchange, ReadsTheBodyToItsEnd) {
  HttpExchange x({.body = as_bytes("hello")});
  std::uint8_t out[3];
  EXPECT_EQ(x.read_body(std::span(out, 0)), std::pair(Error::none, std::size_t{0}));
  EXPECT_EQ(x.read_body(out), std::pair(Error::none, std::size_t{3}));
  EXPECT_EQ(x.read_body(out), std::pair(Error::eof, std::size_t{2}));
  EXPECT_EQ(x.read_body(out), std::pair(Error::eof, std::size_t{0}));
  x.close_body();
  EXPECT_EQ(x.read_body(out), std::pair(Error::http_read_body, std::size_t{0}));
}

struct RedirectCase {
  std::string_view path, url, location;
};

TEST(HttpExchange, RedirectsAsGoDoes) {
  // Locations from net/http's own table of cases.
  constexpr RedirectCase kCases[] = {
      {"/qux/", "http://foobar.com/baz", "http://foobar.com/baz"},
      {"/qux/", "https://foobar.com/baz", "https://foobar.com/baz"},
      {"/qux/", "test://foobar.com/baz", "test://foobar.com/baz"},
      {"/qux/", "//foobar.com/baz", "//foobar.com/baz"},
      {"/qux/", "/foobar.com/baz", "/foobar.com/baz"},
      {"/qux/", "foobar.com/baz", "/qux/foobar.com/baz"},
      {"/qux/", "../quux/foobar.com/baz", "/quux/foobar.com/baz"},
      {"/qux/", "///foobar.com/baz", "/foobar.com/baz"},
      {"/qux/", "hello.html?q=../x", "/qux/hello.html?q=../x"},
      {"/a/b", "c/", "/a/c/"},
      {"/a/b", "", "/a/"},
      {"", "x", "/x"},
      {"/", "/caf\xC3\xA9", "/caf%c3%a9"},
  };
  for (const RedirectCase& c : kCases) {
    EXPECT_EQ(redirect_location(c.url, c.path), c.location) << c.url;
  }
}

TEST(HttpExchange, WritesASmallPageForARedirectedGet) {
  HttpExchange get({.method = "GET", .path = "/x"});
  EXPECT_EQ(get.redirect("/a&\"<b>", 301), Error::none);
  EXPECT_EQ(get.status(), 301);
  EXPECT_EQ(get.body(), "<a href=\"/a&amp;&#34;&lt;b&gt;\">Moved Permanently</a>.\n\n");
  EXPECT_EQ(header_of(get, "Content-Type"), "text/html; charset=utf-8");
  HttpExchange post({.method = "POST"});
  EXPECT_EQ(post.redirect("/a", 303), Error::none);
  EXPECT_EQ(post.body(), "");
  EXPECT_EQ(header_of(post, "Content-Type"), "absent");
  EXPECT_EQ(post.redirect("/a", 99), Error::http_write);
}

struct TypeCase {
  std::string_view bytes, type;
};

TEST(SniffContentType, AnswersWhatGoAnswers) {
  // The cases of net/http's sniff tests, for the types we know.
  constexpr TypeCase kCases[] = {
      {"", "text/plain; charset=utf-8"},
      {"\x01\x02\x03"sv, "application/octet-stream"},
      {R"(<HtMl><bOdY>blah blah blah</body></html>)", "text/html; charset=utf-8"},
      {"<HTML></HTML>", "text/html; charset=utf-8"},
      {"   <!DOCTYPE HTML>...", "text/html; charset=utf-8"},
      {"\n<?xml!", "text/xml; charset=utf-8"},
      {"GIF87a", "image/gif"},
      {"GIF89a...", "image/gif"},
      {"This is not HTML. It has \xE2\x98\x83 though.", "text/plain; charset=utf-8"},
      {"\xFE\xFF\x01"sv, "text/plain; charset=utf-16be"},
      {"\x89PNG\r\n\x1a\n"sv, "image/png"},
      {"\xff\xd8\xff\xdb"sv, "image/jpeg"},
      {"RIFFb\xb8\x00\x00WAVEfmt \x12\x00\x00\x00\x06"sv, "audio/wave"},
      {"\x00\x61\x73\x6D\x01\x00"sv, "application/wasm"},
      {"PK\x03\x04.", "application/zip"},
      {"<ahref", "text/plain; charset=utf-8"},
  };
  for (const TypeCase& c : kCases) EXPECT_EQ(sniff_content_type(c.bytes), c.type) << c.bytes;
}

}  // namespace
}  // namespace tau::guest
