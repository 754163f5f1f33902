// The names of the network and what they answer: no sockets, no tns, no clock of its own.
//
//   SUFFIX                            SOA, NS, CAA
//   tau.SUFFIX                        nothing itself, so that what is below it exists
//   <service>.tau.SUFFIX              A / AAAA of its live nodes, TXT with their multiaddrs, CAA
//   _dnsaddr.<service>.tau.SUFFIX     TXT "dnsaddr=<multiaddr>" (libp2p's dnsaddr): a node joins by
//                                     /dnsaddr/<service>.tau.SUFFIX
//   a claimed name under the suffix   A / AAAA of live substrates, CAA
//   a claimed name elsewhere          the same, and its own SOA and NS: it is a zone of its own
//
// A name that exists without records of the type asked for is NODATA, any other name of the zone is
// NXDOMAIN, both with the SOA that says how long to remember it (RFC 2308). What is outside is
// REFUSED: this is no resolver. A question for all types gets one short record (RFC 8482).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "services/seer/dns_message.h"
#include "services/seer/dns_records.h"
#include "services/seer/nodes.h"

namespace tau::seer {

struct ZoneOptions {
  std::string suffix;             // "blackhole.localhost"
  std::uint32_t ttl_seconds = 1;  // of addresses: a dead node is gone from caches as fast as here
  std::vector<std::string> issuers;  // for CAA (RFC 8659); none: any authority may issue
};

class Zone {
 public:
  // `nodes` outlives it.
  Zone(ZoneOptions options, Nodes& nodes);

  // Whether tns decides if the name exists.
  bool is_for_users(std::string_view name) const;
  // The answer for a name that is not.
  dns::Answer own(const dns::Query& query, TimePoint now);
  // The answer for one that is.
  dns::Answer of_user(const dns::Query& query, bool claimed, TimePoint now);

 private:
  bool inside(std::string_view name) const;
  std::string_view own_part(std::string_view name) const;
  dns::Answer apex(const dns::Query& query, const dns::Authority& zone, TimePoint now);
  dns::Answer service(const dns::Query& query, std::string_view name, TimePoint now);
  dns::Answer dnsaddr(const dns::Query& query, std::string_view service_name, TimePoint now);
  dns::Answer with_addresses(const dns::Query& query, std::string_view service_name, TimePoint now);
  dns::Answer existing(const dns::Query& query, dns::Answer answer, const dns::Authority& zone);
  dns::Answer name_error(const dns::Authority& zone) const;
  dns::Authority authority(std::string_view zone_name) const;

  const ZoneOptions options_;
  const std::string own_, server_;  // "tau.SUFFIX", "seer.tau.SUFFIX"
  Nodes& nodes_;
};

}  // namespace tau::seer
