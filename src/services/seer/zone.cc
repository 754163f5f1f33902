#include "services/seer/zone.h"

#include <algorithm>
#include <array>

#include "services/tns/api.h"

namespace tau::seer {
namespace {

using dns::Answer;
using dns::Query;
using dns::Rcode;
using dns::Type;

constexpr std::array<std::string_view, 7> kServices = {"auth", "hoarder",   "monkey", "patrick",
                                                       "seer", "substrate", "tns"};
constexpr std::string_view kDnsaddr = "_dnsaddr.";
// As many as fit 512 bytes behind a name of usual length: a plain question needs no TCP.
constexpr std::size_t kAddressesV4Max = 16, kAddressesV6Max = 12;
constexpr std::size_t kGlueMax = 8;
constexpr std::size_t kTextsMax = 64;  // 16 KiB at most, which TCP takes in one message
// Name servers and issuers change with the operator's configuration, not with a node's health.
constexpr std::uint32_t kNameServerTtlSeconds = 60, kIssuerTtlSeconds = 300;
constexpr std::uint32_t kTextTtlSeconds = 10;  // for joining: whoever dials tries several

// Whether `name` lies below `zone`.
bool below(std::string_view name, std::string_view zone) {
  return name.size() > zone.size() && name.ends_with(zone) &&
         name[name.size() - zone.size() - 1] == '.';
}

bool wants(const Query& query, Type type) { return query.type == static_cast<std::uint16_t>(type); }

Nodes::Family family_of(Type type) {
  return type == Type::a ? Nodes::Family::ipv4 : Nodes::Family::ipv6;
}

}  // namespace

Zone::Zone(ZoneOptions options, Nodes& nodes)
    : options_(std::move(options)),
      own_(std::string(tns::kNetworkLabel) + "." + options_.suffix),
      server_(std::string(kRole) + "." + own_),
      nodes_(nodes) {}

bool Zone::inside(std::string_view name) const {
  return name == options_.suffix || below(name, options_.suffix);
}

bool Zone::is_for_users(std::string_view name) const {
  return name != options_.suffix && name != own_ && !below(name, own_);
}

dns::Authority Zone::authority(std::string_view zone_name) const {
  // A "no" may be kept as long as an address: a name that is claimed now answers as soon.
  return {std::string(zone_name), server_, "hostmaster." + options_.suffix, options_.ttl_seconds};
}

Answer Zone::name_error(const dns::Authority& zone) const {
  Answer answer;
  answer.rcode = Rcode::name_error;
  answer.authorities.push_back(dns::soa_record(zone));
  return answer;
}

// What every existing name has: CAA, and the short answer to a question for all types. Without an
// answer it is NODATA.
Answer Zone::existing(const Query& query, Answer answer, const dns::Authority& zone) {
  if (wants(query, Type::any)) answer.answers.push_back(dns::any_record());
  if (wants(query, Type::caa))
    for (const auto& issuer : options_.issuers)
      answer.answers.push_back(dns::caa_record(issuer, kIssuerTtlSeconds));
  if (answer.answers.empty()) answer.authorities.push_back(dns::soa_record(zone));
  return answer;
}

Answer Zone::own(const Query& query, TimePoint now) {
  const dns::Authority zone = authority(options_.suffix);
  if (query.name == options_.suffix) return apex(query, zone, now);
  if (query.name == own_) return existing(query, {}, zone);
  const std::string_view name =
      std::string_view(query.name).substr(0, query.name.size() - own_.size() - 1);
  const std::string_view of_service =
      name.starts_with(kDnsaddr) ? name.substr(kDnsaddr.size()) : name;
  if (std::ranges::find(kServices, of_service) == kServices.end()) return name_error(zone);
  if (name != of_service) return existing(query, dnsaddr(query, of_service, now), zone);
  return existing(query, service(query, name, now), zone);
}

Answer Zone::apex(const Query& query, const dns::Authority& zone, TimePoint now) {
  Answer answer;
  if (wants(query, Type::soa)) answer.answers.push_back(dns::soa_record(zone));
  if (wants(query, Type::ns)) {
    answer.answers.push_back(dns::ns_record({}, server_, kNameServerTtlSeconds));
    for (const Type type : {Type::a, Type::aaaa})
      for (const auto& ip : nodes_.addresses(kRole, family_of(type), kGlueMax, now))
        answer.additionals.push_back(dns::address_record(server_, ip, options_.ttl_seconds));
  }
  return existing(query, std::move(answer), zone);
}

Answer Zone::service(const Query& query, std::string_view name, TimePoint now) {
  Answer answer = with_addresses(query, name, now);
  if (wants(query, Type::txt))
    for (const auto& multiaddr : nodes_.multiaddrs(name, kTextsMax, now))
      answer.answers.push_back(dns::txt_record(multiaddr, kTextTtlSeconds));
  return answer;
}

Answer Zone::dnsaddr(const Query& query, std::string_view service_name, TimePoint now) {
  Answer answer;
  if (wants(query, Type::txt))
    for (const auto& multiaddr : nodes_.multiaddrs(service_name, kTextsMax, now))
      answer.answers.push_back(dns::txt_record("dnsaddr=" + multiaddr, kTextTtlSeconds));
  return answer;
}

Answer Zone::with_addresses(const Query& query, std::string_view service_name, TimePoint now) {
  Answer answer;
  for (const Type type : {Type::a, Type::aaaa}) {
    if (!wants(query, type)) continue;
    const std::size_t at_most = type == Type::a ? kAddressesV4Max : kAddressesV6Max;
    for (const auto& ip : nodes_.addresses(service_name, family_of(type), at_most, now))
      answer.answers.push_back(dns::address_record({}, ip, options_.ttl_seconds));
  }
  return answer;
}

Answer Zone::of_user(const Query& query, bool claimed, TimePoint now) {
  if (!claimed) {
    if (inside(query.name)) return name_error(authority(options_.suffix));
    Answer answer;
    answer.rcode = Rcode::refused;
    answer.authoritative = false;
    return answer;
  }
  if (inside(query.name))
    return existing(query, with_addresses(query, "substrate", now), authority(options_.suffix));
  const dns::Authority zone = authority(query.name);
  if (wants(query, Type::soa) || wants(query, Type::ns)) return apex(query, zone, now);
  return existing(query, with_addresses(query, "substrate", now), zone);
}

}  // namespace tau::seer
