// The data of DNS records: RFC 1035 (SOA, NS, TXT, HINFO), 3596 (AAAA), 8659 (CAA). An empty owner
// is the question's name.
#pragma once

#include <string_view>

#include "services/seer/dns_message.h"

namespace tau::seer::dns {

// A or AAAA; `ip` is a valid address.
Record address_record(std::string owner, std::string_view ip, std::uint32_t ttl_seconds);

struct Authority {
  std::string zone;
  std::string primary;                     // the name server that is asked first
  std::string mailbox;                     // of who answers for the zone, its '@' as a dot
  std::uint32_t negative_ttl_seconds = 1;  // how long a "no" may be kept (RFC 2308, 5)
};
// Of an answer that has one, the owner is the zone's name. RFC 2308, 3: beside a "no" its TTL is
// the time that the "no" may be kept.
Record soa_record(const Authority& authority);
Record ns_record(std::string owner, std::string_view server, std::uint32_t ttl_seconds);
// One text; longer than 255 bytes it goes as several strings, which readers join.
Record txt_record(std::string_view text, std::uint32_t ttl_seconds);
// `issuer`: the domain of a certificate authority that may issue.
Record caa_record(std::string_view issuer, std::uint32_t ttl_seconds);
// What a question for all types gets in place of all types (RFC 8482, 4.2).
Record any_record();

}  // namespace tau::seer::dns
