// What comes in over sockets from anybody: HTTP and DNS.
#include <algorithm>
#include <variant>

#include "base/check.h"
#include "base/hex.h"
#include "http/json.h"
#include "http/parser.h"
#include "services/seer/dns_client.h"
#include "services/seer/dns_message.h"
#include "services/seer/dns_records.h"
#include "services/seer/made_status.h"
#include "services/seer/zone.h"
#include "services/tns/api.h"
#include "targets.h"

namespace tau::fuzz {
namespace {

// However the bytes are cut on their way, the head ends at the same place or is refused alike.
std::size_t scan_whole_and_in_pieces(std::string_view text, const http::HeadLimits& limits) {
  http::HeadScanner whole, pieces;
  const auto at_once = whole.scan(text, limits);
  std::variant<std::size_t, http::Refusal> last = std::size_t{0};
  for (std::size_t n = 1; n <= text.size(); n += 1 + n % 7) {
    last = pieces.scan(text.substr(0, n), limits);
    if (std::holds_alternative<http::Refusal>(last) || std::get<std::size_t>(last) > 0) break;
  }
  if (std::holds_alternative<std::size_t>(last) && std::get<std::size_t>(last) == 0)
    last = pieces.scan(text, limits);
  CHECK(last.index() == at_once.index());
  if (!std::holds_alternative<std::size_t>(at_once)) return 0;
  CHECK(std::get<std::size_t>(last) == std::get<std::size_t>(at_once));
  return std::get<std::size_t>(at_once);
}

// The body's bytes and where it ends, whether it comes at once or byte by byte.
void decode_chunks(std::string_view text) {
  const auto decode = [&](std::size_t at_a_time) {
    http::ChunkDecoder decoder;
    std::string body;
    std::size_t at = 0, seen = std::min(at_a_time, text.size());
    for (;;) {
      const auto step = decoder.next(text.substr(at, seen - at), 1000);
      if (step.refusal) return std::pair{std::string("refused"), std::size_t{0}};
      body += step.data;
      CHECK(step.data.size() <= 1000 && step.consumed <= seen - at);
      at += step.consumed;
      if (step.finished) return std::pair{body, at};
      if (step.consumed > 0) continue;
      if (seen == text.size()) return std::pair{std::string("unfinished"), std::size_t{0}};
      seen = std::min(seen + at_a_time, text.size());
    }
  };
  CHECK(decode(text.size() + 1) == decode(1));
}

void http_request(BytesView input) {
  const http::HeadLimits limits{2048, 512, 20};
  const std::string_view text = as_text(input);
  decode_chunks(text);
  const std::size_t size = scan_whole_and_in_pieces(text, limits);
  if (size == 0) return;
  CHECK(size <= limits.head_bytes);
  http::RequestHead head;
  if (http::parse_request_head(text.substr(0, size), limits, head)) return;
  CHECK(head.target.size() <= limits.target_bytes && head.headers.size() <= limits.headers);
  CHECK(!head.path.empty() && (head.path.front() == '/' || head.path == "*"));
  for (const auto& header : head.headers) CHECK(http::valid_header(header.name, header.value));
  // Two ways to say how long a body is are one too many.
  CHECK(!head.headers.contains("Content-Length") || !head.headers.contains("Transfer-Encoding"));
  (void)head.host();
  (void)http::percent_decode(head.path);
  (void)http::query_value(head.query, "a");
}

std::vector<Seed> http_request_seeds() {
  return {
      {"get", to_bytes("GET /ping?a=b%20c HTTP/1.1\r\nHost: hello.localhost:80\r\n"
                       "Connection: close\r\nExpect: 100-continue\r\n\r\n")},
      {"post", to_bytes("POST http://a.b/ HTTP/1.1\r\nHost: a.b\r\nContent-Length: 2\r\n\r\nhi")},
      {"chunked", to_bytes("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")},
      {"chunks", to_bytes("3;a=b\r\nabc\r\n0\r\nTrailer: x\r\n\r\n")},
      {"options", to_bytes("OPTIONS * HTTP/1.0\r\nHost: [::1]\r\n\r\n")}};
}

void http_response(BytesView input) {
  const http::HeadLimits limits{2048, 512, 20};
  const std::string_view text = as_text(input);
  const std::size_t size = scan_whole_and_in_pieces(text, limits);
  http::ResponseHead head;
  if (size > 0 && !http::parse_response_head(text.substr(0, size), "GET", limits, head))
    CHECK(head.status >= 100 && head.status <= 999);
  if (const auto json = http::parse_json(text)) (void)http::string_field(*json, "name");
}

std::vector<Seed> http_response_seeds() {
  return {{"ok", to_bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")},
          {"chunked", to_bytes("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n")},
          {"json", to_bytes(R"({"name": "a\u00fc", "list": [1, -2.5e3, true, null]})")}};
}

// A question, answered as the server would: by the network's own names, and as a user's name.
void dns_query(BytesView input) {
  const auto query = seer::dns::parse_query(input);
  if (!query) {
    const Bytes refused = seer::dns::encode_format_error(query.error());
    CHECK(refused.size() == 12);
    return;
  }
  CHECK(query->name.size() <= 4 * 255);
  seer::Nodes nodes;
  CHECK(nodes.hear(seer::made_status("a", {{"substrate", "seer"},
                                           {"192.0.2.1", "2001:db8::1"},
                                           80,
                                           0,
                                           "192.0.2.1:53",
                                           {"/ip4/192.0.2.1/tcp/1/p2p/a"}}),
                   0, {}));
  seer::Zone zone({"a.b", 1, {"ca.example"}}, nodes);
  std::vector<seer::dns::Answer> answers;
  if (zone.is_for_users(query->name)) {
    answers.push_back(zone.of_user(*query, false, {}));
    if (tns::check_host(query->name)) answers.push_back(zone.of_user(*query, true, {}));
  } else {
    answers.push_back(zone.own(*query, {}));
  }
  for (const auto& answer : answers) {
    for (const std::size_t size_max : {std::size_t{512}, std::size_t{1232}, std::size_t{65'535}}) {
      const Bytes out = seer::dns::encode_answer(*query, answer, size_max);
      CHECK(out.size() <= size_max);
      CHECK(
          std::ranges::equal(BytesView(out).subspan(12, query->question.size()), query->question));
      const auto wanted = query->type == 28 ? seer::dns::Type::aaaa : seer::dns::Type::a;
      CHECK(seer::dns::parse_addresses(out, query->id, wanted));
    }
  }
}

std::vector<Seed> dns_query_seeds() {
  const auto edns = [](Bytes query) {
    query[11] = 1;
    const Bytes opt = *from_hex("00002904d000000000000c000a0008aabbccddeeff0011");
    query.insert(query.end(), opt.begin(), opt.end());
    return query;
  };
  using seer::dns::Type;
  const auto query = [](std::string_view name, Type type) {
    return seer::dns::encode_query(0x1234, name, type);
  };
  return {{"host", query("hello.a.b", Type::a)},
          {"host-edns", edns(query("hello.a.b", Type::aaaa))},
          {"apex", query("a.b", Type::ns)},
          {"service", edns(query("seer.tau.a.b", Type::txt))},
          {"dnsaddr", query("_dnsaddr.seer.tau.a.b", Type::txt)},
          {"caa", query("a.b", Type::caa)}};
}

void dns_answer(BytesView input) {
  for (const auto type : {seer::dns::Type::a, seer::dns::Type::aaaa})
    if (const auto found = seer::dns::parse_addresses(input, 0x1234, type))
      CHECK(found->addresses.size() <= input.size() / 12);
}

std::vector<Seed> dns_answer_seeds() {
  const auto query =
      *seer::dns::parse_query(seer::dns::encode_query(0x1234, "hello.a.b", seer::dns::Type::a));
  seer::dns::Answer answer;
  answer.answers = {seer::dns::address_record({}, "192.0.2.1", 1),
                    seer::dns::address_record("x.y", "2001:db8::1", 1)};
  answer.authorities = {seer::dns::soa_record({"a.b", "seer.tau.a.b", "hostmaster.a.b", 1})};
  return {{"answer", seer::dns::encode_answer(query, answer, 512)}};
}

}  // namespace

std::vector<Target> wire_targets() {
  return {{"http_request", http_request, http_request_seeds},
          {"http_response", http_response, http_response_seeds},
          {"dns_query", dns_query, dns_query_seeds},
          {"dns_answer", dns_answer, dns_answer_seeds}};
}

}  // namespace tau::fuzz
