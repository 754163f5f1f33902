#include "services/seer/addresses.h"

#include <arpa/inet.h>

#include <algorithm>

#include "net/network.h"

namespace tau::seer {
namespace {

// "/ip4/192.0.2.1/tcp/4001/…" -> "192.0.2.1"; empty for other kinds.
std::string ip_of(std::string_view multiaddr) {
  for (const std::string_view head : {"/ip4/", "/ip6/"}) {
    if (!multiaddr.starts_with(head)) continue;
    multiaddr.remove_prefix(head.size());
    return std::string(multiaddr.substr(0, multiaddr.find('/')));
  }
  return {};
}

}  // namespace

bool is_family(const std::string& address, Family family) {
  unsigned char raw[16];
  return inet_pton(family == Family::ipv4 ? AF_INET : AF_INET6, address.c_str(), raw) == 1;
}

bool is_reachable(const std::string& address) {
  unsigned char raw[16];
  if (inet_pton(AF_INET, address.c_str(), raw) == 1) return raw[0] != 0 && raw[0] < 224;
  if (inet_pton(AF_INET6, address.c_str(), raw) != 1) return false;
  return raw[0] != 0xff && std::ranges::any_of(raw, [](unsigned char c) { return c != 0; });
}

std::vector<std::string> addresses_of(const Announcement& node, std::string_view service) {
  if (service == "substrate") return node.addresses;
  std::vector<std::string> out;
  if (service == kRole && node.dns)
    if (const auto at = net::Endpoint::parse(*node.dns)) out.push_back(at->address);
  if (out.empty() || !is_reachable(out.front())) {
    out.clear();
    for (const auto& multiaddr : node.multiaddrs) out.push_back(ip_of(multiaddr));
  }
  std::erase_if(out, [](const std::string& address) { return !is_reachable(address); });
  return out;
}

}  // namespace tau::seer
