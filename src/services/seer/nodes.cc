#include "services/seer/nodes.h"

#include <arpa/inet.h>

#include <algorithm>

#include "net/network.h"

namespace tau::seer {
namespace {

constexpr std::size_t kServicesMax = 16;
constexpr std::size_t kAddressesMax =
    8;  // what one DNS answer of 512 bytes leaves room for, a node

bool is_family(const std::string& address, int family) {
  unsigned char raw[16];
  return inet_pton(family, address.c_str(), raw) == 1;
}

}  // namespace

Status Nodes::announce(const PeerId& peer, const p2p::Certificate& certificate,
                       Announcement announcement, TimePoint now) {
  if (announcement.services.size() > kServicesMax || announcement.addresses.size() > kAddressesMax)
    return fail(ErrorCode::invalid_argument,
                "an announcement names at most 16 services and 8 addresses");
  for (const auto& service : announcement.services)
    if (!certificate.has_role(service))
      return fail(ErrorCode::permission_denied, "the certificate of " + peer.str() +
                                                    " does not give it the role \"" +
                                                    service.substr(0, 64) + "\"");
  if (announcement.dns && !net::Endpoint::parse(*announcement.dns))
    return fail(ErrorCode::invalid_argument, "the DNS endpoint is not ADDRESS:PORT");
  for (const auto& address : announcement.addresses)
    if (!is_family(address, AF_INET) && !is_family(address, AF_INET6))
      return fail(ErrorCode::invalid_argument,
                  "\"" + address.substr(0, 64) + "\" is not an IP address");
  if (nodes_.size() >= kNodesMax && !nodes_.contains(peer))
    return fail(ErrorCode::resource_exhausted, "this seer knows as many nodes as it can");
  nodes_[peer] = Entry{std::move(announcement), now};
  return {};
}

std::vector<LiveNode> Nodes::live(std::string_view service, TimePoint now) const {
  std::vector<LiveNode> found;
  for (const auto& [peer, entry] : nodes_) {
    const Duration silent = now - entry.heard;
    if (silent > kDeadAfter) continue;
    if (!service.empty() && std::ranges::find(entry.announcement.services, service) ==
                                entry.announcement.services.end())
      continue;
    found.push_back({peer, entry.announcement,
                     static_cast<std::uint64_t>(silent / std::chrono::milliseconds(1))});
  }
  return found;
}

void Nodes::sweep(TimePoint now) {
  std::erase_if(nodes_,
                [&](const auto& item) { return now - item.second.heard > 10 * kDeadAfter; });
}

std::vector<std::string> Nodes::addresses(std::string_view service, Family family, TimePoint now) {
  std::vector<std::string> free, busy;
  for (const auto& node : live(service, now))
    for (const auto& address : node.announcement.addresses)
      if (is_family(address, family == Family::ipv4 ? AF_INET : AF_INET6))
        (node.announcement.load_percent < 100 ? free : busy).push_back(address);
  auto& chosen = free.empty() ? busy : free;
  if (!chosen.empty())
    std::ranges::rotate(chosen,
                        chosen.begin() + static_cast<std::ptrdiff_t>(rotation_++ % chosen.size()));
  return std::move(chosen);
}

}  // namespace tau::seer
