// DNS messages (RFC 1035, EDNS of RFC 6891), as far as an authoritative server for addresses needs
// them: one question in, one answer out. Everything that comes in is hostile.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace tau::seer::dns {

enum class Type : std::uint16_t {
  a = 1,
  ns = 2,
  soa = 6,
  txt = 16,
  aaaa = 28,
  opt = 41,
  any = 255
};
enum class Rcode : std::uint8_t {
  no_error = 0,
  format_error = 1,
  server_failure = 2,
  name_error = 3,
  not_implemented = 4,
  refused = 5,
  bad_version = 16
};

struct Query {
  std::uint16_t id = 0;
  std::uint8_t opcode = 0;
  bool recursion_desired = false;
  Bytes question;    // name, type and class as they came: an answer repeats them, case and all
  std::string name;  // lower case, dots between labels, none at the end
  std::uint16_t type = 0;
  std::uint16_t qclass = 0;
  bool edns = false;
  std::uint8_t edns_version = 0;
  std::uint16_t udp_size = 512;  // what the asker can take over UDP
};

struct BadQuery {
  std::optional<std::uint16_t> id;  // nothing: not even a header; say nothing
  bool is_response = false;         // never answered: two servers could talk for ever
  std::string why;
};
std::expected<Query, BadQuery> parse_query(BytesView message);

struct Record {
  Type type = Type::a;
  std::uint32_t ttl_seconds = 0;
  Bytes data;
};
Record address_record(std::string_view ip, std::uint32_t ttl_seconds);  // `ip` is a valid address
// The zone's start of authority (RFC 2308: its minimum is how long a "no" may be kept).
struct Zone {
  std::string name;
  std::uint32_t negative_ttl_seconds = 1;
};
Record soa_record(const Zone& zone);
Record ns_record(const Zone& zone);

struct Answer {
  Rcode rcode = Rcode::no_error;
  bool authoritative = true;
  std::vector<Record> records;      // all owned by the question's name
  std::optional<Zone> negative_of;  // puts that zone's SOA into the authority section
};
// At most `size_max` bytes: what does not fit is left out and TC is set, so that the asker comes
// back over TCP.
Bytes encode_answer(const Query& query, const Answer& answer, std::size_t size_max);
// For a query that could not be read.
Bytes encode_format_error(std::uint16_t id);

}  // namespace tau::seer::dns
