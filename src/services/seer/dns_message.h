// DNS messages as an authoritative server needs them: one question in, one answer out. RFC 1035
// (format), 2181 (truncation), 4343 (case), 6891 (EDNS(0)). Pure functions of the bytes; everything
// that comes in is hostile.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace tau::seer::dns {

enum class Type : std::uint16_t {
  a = 1,
  ns = 2,
  cname = 5,
  soa = 6,
  hinfo = 13,
  mx = 15,
  txt = 16,
  aaaa = 28,
  opt = 41,
  ixfr = 251,
  axfr = 252,
  any = 255,
  caa = 257
};
enum class Rcode : std::uint8_t {
  no_error = 0,
  format_error = 1,
  server_failure = 2,
  name_error = 3,
  not_implemented = 4,
  refused = 5,
  bad_version = 16  // its upper bits go into the OPT record (RFC 6891, 6.1.3)
};

// The largest answer that goes out over UDP, and what we say we can take: fits an unfragmented IPv6
// packet on every path (DNS flag day 2020).
inline constexpr std::uint16_t kUdpSizeMax = 1232;
// Without EDNS (RFC 1035, 4.2.1).
inline constexpr std::uint16_t kUdpSizePlain = 512;

struct Query {
  std::uint16_t id = 0;
  std::uint8_t opcode = 0;
  bool recursion_desired = false;
  Bytes question;    // name, type and class as they came: an answer repeats them, case and all
  std::string name;  // lower case, dots between labels, none at the end. Bytes that no host name
                     // has stand as \DDD (RFC 1035, 5.1), so that two names never look the same
  std::uint16_t type = 0;
  std::uint16_t qclass = 0;
  bool edns = false;
  std::uint8_t edns_version = 0;
  std::uint16_t udp_size = kUdpSizePlain;  // what the asker can take over UDP
};

struct BadQuery {
  std::optional<std::uint16_t> id;  // nothing: not even a header; say nothing
  std::uint16_t flags = 0;
  bool is_response = false;  // never answered: two servers could talk for ever
  std::string why;
};
// A question of another opcode is not read, only told apart: its answer is "not implemented".
std::expected<Query, BadQuery> parse_query(BytesView message);

struct Record {
  std::string owner;  // as Query::name, of plain labels; empty: the question's name, case and all
  Type type = Type::a;
  std::uint32_t ttl_seconds = 0;
  Bytes data;
};

struct Answer {
  Rcode rcode = Rcode::no_error;
  bool authoritative = true;
  std::vector<Record> answers = {}, authorities = {}, additionals = {};
  bool truncated = false;  // says so whatever fits: the asker is to come back over TCP
};
// At most `size_max` bytes. Answers and authorities that do not fit are left out and TC is set, so
// that the asker comes back over TCP; additionals are left out silently (RFC 2181, 9).
Bytes encode_answer(const Query& query, const Answer& answer, std::size_t size_max);
// For a query that could not be read.
Bytes encode_format_error(const BadQuery& query);

// Appends a name of plain labels: what a record's data holds. `name` as Query::name.
void put_name(Bytes& out, std::string_view name);
void put16(Bytes& out, std::uint16_t value);
void put32(Bytes& out, std::uint32_t value);

}  // namespace tau::seer::dns
