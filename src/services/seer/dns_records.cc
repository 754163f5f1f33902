#include "services/seer/dns_records.h"

#include <arpa/inet.h>

#include <algorithm>

#include "base/check.h"

namespace tau::seer::dns {
namespace {

constexpr std::size_t kStringSizeMax = 255;  // RFC 1035, 3.3: one length byte
// RFC 8482's own example: the answer never changes, so it may be kept long.
constexpr std::uint32_t kAnyTtlSeconds = 3789;
// For secondaries, of which there are none: the answers are alive, not a zone file's.
constexpr std::uint32_t kSerial = 1, kRefreshSeconds = 3600, kRetrySeconds = 600,
                        kExpireSeconds = 86'400;

void put_string(Bytes& out, std::string_view text) {
  out.push_back(static_cast<std::uint8_t>(text.size()));
  out.insert(out.end(), text.begin(), text.end());
}

}  // namespace

Record address_record(std::string owner, std::string_view ip, std::uint32_t ttl_seconds) {
  unsigned char raw[16];
  const std::string text(ip);
  if (inet_pton(AF_INET, text.c_str(), raw) == 1)
    return {std::move(owner), Type::a, ttl_seconds, Bytes(raw, raw + 4)};
  CHECK(inet_pton(AF_INET6, text.c_str(), raw) == 1);
  return {std::move(owner), Type::aaaa, ttl_seconds, Bytes(raw, raw + 16)};
}

Record soa_record(const Authority& authority) {
  Record record{authority.zone, Type::soa, authority.negative_ttl_seconds, {}};
  put_name(record.data, authority.primary);
  put_name(record.data, authority.mailbox);
  for (const std::uint32_t number :
       {kSerial, kRefreshSeconds, kRetrySeconds, kExpireSeconds, authority.negative_ttl_seconds})
    put32(record.data, number);
  return record;
}

Record ns_record(std::string owner, std::string_view server, std::uint32_t ttl_seconds) {
  Record record{std::move(owner), Type::ns, ttl_seconds, {}};
  put_name(record.data, server);
  return record;
}

Record txt_record(std::string_view text, std::uint32_t ttl_seconds) {
  Record record{{}, Type::txt, ttl_seconds, {}};
  do {
    put_string(record.data, text.substr(0, kStringSizeMax));
    text.remove_prefix(std::min(text.size(), kStringSizeMax));
  } while (!text.empty());
  return record;
}

Record caa_record(std::string_view issuer, std::uint32_t ttl_seconds) {
  Record record{{}, Type::caa, ttl_seconds, {0}};  // not critical
  put_string(record.data, "issue");
  record.data.insert(record.data.end(), issuer.begin(), issuer.end());
  return record;
}

Record any_record() {
  Record record{{}, Type::hinfo, kAnyTtlSeconds, {}};
  put_string(record.data, "RFC8482");
  put_string(record.data, "");
  return record;
}

}  // namespace tau::seer::dns
