#include "services/seer/dns_message.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>

#include "base/check.h"

namespace tau::seer::dns {
namespace {

constexpr std::size_t kHeaderSize = 12;
constexpr std::uint16_t kResponse = 0x8000, kAuthoritative = 0x0400, kTruncated = 0x0200,
                        kRecursionDesired = 0x0100;
constexpr std::uint16_t kClassIn = 1;
constexpr std::uint16_t kUdpSizeOurs = 1232;  // DNS flag day 2020: fits an unfragmented IPv6 packet

void put16(Bytes& out, std::uint16_t v) {
  out.push_back(static_cast<std::uint8_t>(v >> 8));
  out.push_back(static_cast<std::uint8_t>(v));
}
void put32(Bytes& out, std::uint32_t v) {
  put16(out, static_cast<std::uint16_t>(v >> 16));
  put16(out, static_cast<std::uint16_t>(v));
}
std::uint16_t get16(BytesView in, std::size_t at) {
  return static_cast<std::uint16_t>(in[at] << 8 | in[at + 1]);
}

void put_name(Bytes& out, std::string_view name) {
  while (!name.empty()) {
    const auto dot = std::min(name.find('.'), name.size());
    out.push_back(static_cast<std::uint8_t>(dot));
    out.insert(out.end(), name.begin(), name.begin() + static_cast<std::ptrdiff_t>(dot));
    name.remove_prefix(std::min(dot + 1, name.size()));
  }
  out.push_back(0);
}

// Reads an uncompressed name at `at` (a question needs no compression, so a pointer is refused).
// False: malformed.
bool take_name(BytesView in, std::size_t& at, std::string& text) {
  const std::size_t start = at;
  for (;;) {
    if (at >= in.size() || at - start > 254) return false;
    const std::uint8_t length = in[at++];
    if (length == 0) return true;
    if (length > 63 || at + length > in.size()) return false;
    if (!text.empty()) text.push_back('.');
    for (std::size_t i = 0; i < length; ++i) {
      const char c = static_cast<char>(in[at + i]);
      if (c == '.' || c == 0) return false;  // legal on the wire, but no host name of ours has them
      text.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
    }
    at += length;
  }
}

}  // namespace

std::expected<Query, BadQuery> parse_query(BytesView in) {
  if (in.size() < kHeaderSize) return std::unexpected(BadQuery{{}, false, "shorter than a header"});
  Query query;
  query.id = get16(in, 0);
  const std::uint16_t flags = get16(in, 2);
  const auto bad = [&](std::string why) {
    return std::unexpected(BadQuery{query.id, (flags & kResponse) != 0, std::move(why)});
  };
  if (flags & kResponse) return bad("a response, not a query");
  query.opcode = static_cast<std::uint8_t>((flags >> 11) & 15);
  query.recursion_desired = flags & kRecursionDesired;
  const std::uint16_t questions = get16(in, 4), answers = get16(in, 6), authorities = get16(in, 8),
                      additionals = get16(in, 10);
  if (query.opcode != 0) {
    query.question.clear();
    return query;  // answered with "not implemented"
  }
  if (questions != 1 || answers != 0 || authorities != 0 || additionals > 4)
    return bad("one question is wanted, and nothing else");
  std::size_t at = kHeaderSize;
  if (!take_name(in, at, query.name)) return bad("malformed name");
  if (at + 4 > in.size()) return bad("cut short in the question");
  query.type = get16(in, at);
  query.qclass = get16(in, at + 2);
  at += 4;
  query.question.assign(in.begin() + kHeaderSize, in.begin() + static_cast<std::ptrdiff_t>(at));
  for (std::uint16_t i = 0; i < additionals; ++i) {
    std::string owner;
    if (!take_name(in, at, owner) || at + 10 > in.size()) return bad("malformed additional record");
    const std::uint16_t type = get16(in, at), size = get16(in, at + 2), length = get16(in, at + 8);
    const std::uint8_t version = in[at + 5];
    at += 10;
    if (at + length > in.size()) return bad("cut short in an additional record");
    at += length;
    if (type != static_cast<std::uint16_t>(Type::opt)) continue;
    if (query.edns || !owner.empty()) return bad("more than one OPT record");
    query.edns = true;
    query.edns_version = version;
    query.udp_size = std::max<std::uint16_t>(size, 512);
  }
  if (at != in.size()) return bad("bytes follow the message");
  return query;
}

Record address_record(std::string_view ip, std::uint32_t ttl_seconds) {
  unsigned char raw[16];
  const std::string text(ip);
  if (inet_pton(AF_INET, text.c_str(), raw) == 1)
    return {Type::a, ttl_seconds, Bytes(raw, raw + 4)};
  CHECK(inet_pton(AF_INET6, text.c_str(), raw) == 1);
  return {Type::aaaa, ttl_seconds, Bytes(raw, raw + 16)};
}

Record soa_record(const Zone& zone) {
  Record record{Type::soa, zone.negative_ttl_seconds, {}};
  put_name(record.data, "seer." + zone.name);
  put_name(record.data, "hostmaster." + zone.name);
  put32(record.data, 1);     // serial: the answers are alive, not a zone file's
  put32(record.data, 3600);  // refresh, retry, expire: for secondaries, of which there are none
  put32(record.data, 600);
  put32(record.data, 86400);
  put32(record.data, zone.negative_ttl_seconds);
  return record;
}

Record ns_record(const Zone& zone) {
  Record record{Type::ns, 60, {}};
  put_name(record.data, "seer." + zone.name);
  return record;
}

Bytes encode_answer(const Query& query, const Answer& answer, std::size_t size_max) {
  const auto rcode = static_cast<std::uint16_t>(answer.rcode);
  Bytes out;
  put16(out, query.id);
  std::uint16_t flags = kResponse | static_cast<std::uint16_t>(query.opcode << 11) | (rcode & 15);
  if (answer.authoritative) flags |= kAuthoritative;
  if (query.recursion_desired) flags |= kRecursionDesired;
  put16(out, flags);
  put16(out, query.question.empty() ? 0 : 1);
  for (int i = 0; i < 3; ++i) put16(out, 0);  // counts, filled in below
  out.insert(out.end(), query.question.begin(), query.question.end());

  Bytes opt;
  if (query.edns) {
    opt.push_back(0);
    put16(opt, static_cast<std::uint16_t>(Type::opt));
    put16(opt, kUdpSizeOurs);
    put32(opt, static_cast<std::uint32_t>(rcode >> 4) << 24);
    put16(opt, 0);
  }
  bool truncated = false;
  const auto append = [&](const Record& record, const std::string* owner) {
    Bytes raw;
    if (owner) {
      put_name(raw, *owner);
    } else {
      put16(raw, 0xc000 | kHeaderSize);  // the question's name
    }
    put16(raw, static_cast<std::uint16_t>(record.type));
    put16(raw, kClassIn);
    put32(raw, record.ttl_seconds);
    put16(raw, static_cast<std::uint16_t>(record.data.size()));
    raw.insert(raw.end(), record.data.begin(), record.data.end());
    if (out.size() + raw.size() + opt.size() > size_max) {
      truncated = true;
      return false;
    }
    out.insert(out.end(), raw.begin(), raw.end());
    return true;
  };
  std::uint16_t answers = 0, authorities = 0;
  for (const auto& record : answer.records) {
    if (!append(record, nullptr)) break;
    ++answers;
  }
  if (answer.negative_of && append(soa_record(*answer.negative_of), &answer.negative_of->name))
    ++authorities;
  out.insert(out.end(), opt.begin(), opt.end());
  const auto set16 = [&](std::size_t at, std::uint16_t v) {
    out[at] = static_cast<std::uint8_t>(v >> 8);
    out[at + 1] = static_cast<std::uint8_t>(v);
  };
  if (truncated) set16(2, flags | kTruncated);
  set16(6, answers);
  set16(8, authorities);
  set16(10, query.edns ? 1 : 0);
  return out;
}

Bytes encode_format_error(std::uint16_t id) {
  Bytes out;
  put16(out, id);
  put16(out, kResponse | static_cast<std::uint16_t>(Rcode::format_error));
  for (int i = 0; i < 4; ++i) put16(out, 0);
  return out;
}

}  // namespace tau::seer::dns
