#include "services/seer/nodes.h"

#include <arpa/inet.h>

#include <algorithm>

#include "net/network.h"

namespace tau::seer {
namespace {

constexpr std::size_t kServicesMax = 16;
constexpr std::size_t kMultiaddrSizeMax = 255;  // one string of a TXT record
constexpr std::uint32_t kFullPercent = 100;

bool is_family(const std::string& address, Nodes::Family family) {
  unsigned char raw[16];
  return inet_pton(family == Nodes::Family::ipv4 ? AF_INET : AF_INET6, address.c_str(), raw) == 1;
}

// Whether somebody else can send to it: not "any", not multicast, not broadcast.
bool is_reachable(const std::string& address) {
  unsigned char raw[16];
  if (inet_pton(AF_INET, address.c_str(), raw) == 1) return raw[0] != 0 && raw[0] < 224;
  if (inet_pton(AF_INET6, address.c_str(), raw) != 1) return false;
  return raw[0] != 0xff && std::ranges::any_of(raw, [](unsigned char c) { return c != 0; });
}

// "/ip4/192.0.2.1/tcp/4001/…" -> "192.0.2.1"; empty for other kinds.
std::string ip_of(std::string_view multiaddr) {
  for (const std::string_view head : {"/ip4/", "/ip6/"}) {
    if (!multiaddr.starts_with(head)) continue;
    multiaddr.remove_prefix(head.size());
    return std::string(multiaddr.substr(0, multiaddr.find('/')));
  }
  return {};
}

Status check_multiaddr(const PeerId& peer, const std::string& multiaddr) {
  const bool plain = std::ranges::all_of(multiaddr, [](char c) { return c > ' ' && c < 0x7f; });
  if (multiaddr.size() <= kMultiaddrSizeMax && plain && multiaddr.starts_with('/') &&
      multiaddr.ends_with("/p2p/" + peer.str()))
    return {};
  return fail(ErrorCode::invalid_argument, "a node announces multiaddrs that end with its own id");
}

// What DNS gives for a node as one that runs `service`.
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

}  // namespace

Status Nodes::announce(const PeerId& peer, const p2p::Certificate& certificate,
                       Announcement announcement, TimePoint now) {
  if (announcement.services.size() > kServicesMax ||
      announcement.addresses.size() > kAddressesMax ||
      announcement.multiaddrs.size() > kMultiaddrsMax)
    return fail(ErrorCode::invalid_argument,
                "an announcement names at most 16 services, 8 addresses and 16 multiaddrs");
  for (const auto& service : announcement.services)
    if (!certificate.has_role(service))
      return fail(ErrorCode::permission_denied, "the certificate of " + peer.str() +
                                                    " does not give it the role \"" +
                                                    service.substr(0, 64) + "\"");
  if (announcement.dns && !net::Endpoint::parse(*announcement.dns))
    return fail(ErrorCode::invalid_argument, "the DNS endpoint is not ADDRESS:PORT");
  for (const auto& address : announcement.addresses)
    if (!is_reachable(address))
      return fail(ErrorCode::invalid_argument,
                  "\"" + address.substr(0, 64) + "\" is not an IP address that others can reach");
  for (const auto& multiaddr : announcement.multiaddrs)
    TRY_STATUS(check_multiaddr(peer, multiaddr));
  const auto known = nodes_.find(peer);
  if (known == nodes_.end()) {
    if (nodes_.size() >= kNodesMax)
      return fail(ErrorCode::resource_exhausted, "this seer knows as many nodes as it can");
    ++version_;
    nodes_[peer] = Entry{std::move(announcement), now};
    return {};
  }
  const Announcement& before = known->second.announcement;
  const bool moved = before.addresses != announcement.addresses ||
                     before.services != announcement.services ||
                     before.multiaddrs != announcement.multiaddrs || before.dns != announcement.dns;
  const bool full_changed =
      (before.load_percent >= kFullPercent) != (announcement.load_percent >= kFullPercent);
  if (moved || full_changed || now - known->second.heard > kDeadAfter) ++version_;
  known->second = Entry{std::move(announcement), now};
  return {};
}

void Nodes::forget(const PeerId& peer) {
  if (nodes_.erase(peer) > 0) ++version_;
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

Nodes::Pool& Nodes::pool(std::string_view service, Family family, TimePoint now) {
  Pool& pool = pools_[{std::string(service), family}];
  if (pool.version == version_ && now - pool.made < kPoolFor) return pool;
  std::map<std::string, std::int64_t> free, busy;
  for (const auto& node : live(service, now)) {
    const std::uint32_t load = node.announcement.load_percent;
    for (const auto& address : addresses_of(node.announcement, service)) {
      if (!is_family(address, family)) continue;
      if (load < kFullPercent) {
        free[address] += kFullPercent - load;
      } else {
        busy[address] = 1;
      }
    }
  }
  // Whose turn it is outlives the pool, so that rare questions go round, too.
  std::vector<Choice> choices;
  pool.weights = 0;
  for (const auto& [address, weight] : free.empty() ? busy : free) {
    const auto before = std::ranges::lower_bound(pool.choices, address, {}, &Choice::address);
    const bool known = before != pool.choices.end() && before->address == address;
    choices.push_back({address, weight, known ? before->turn : 0});
    pool.weights += weight;
  }
  pool.choices = std::move(choices);
  pool.made = now;
  pool.version = version_;
  return pool;
}

std::vector<std::string> Nodes::addresses(std::string_view service, Family family,
                                          std::size_t at_most, TimePoint now) {
  Pool& from = pool(service, family, now);
  if (from.choices.empty() || at_most == 0) return {};
  std::vector<Choice*> order;
  order.reserve(from.choices.size());
  for (Choice& choice : from.choices) {
    choice.turn += choice.weight;
    order.push_back(&choice);
  }
  const std::size_t count = std::min(at_most, order.size());
  const auto later = [](const Choice* a, const Choice* b) {
    return a->turn != b->turn ? a->turn > b->turn : a->address < b->address;
  };
  std::ranges::partial_sort(order, order.begin() + static_cast<std::ptrdiff_t>(count), later);
  order.front()->turn -= from.weights;
  std::vector<std::string> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(order[i]->address);
  return out;
}

std::vector<std::string> Nodes::multiaddrs(std::string_view service, std::size_t at_most,
                                           TimePoint now) {
  std::vector<std::string> all;
  for (const auto& node : live(service, now))
    all.insert(all.end(), node.announcement.multiaddrs.begin(), node.announcement.multiaddrs.end());
  if (all.empty()) return all;
  const std::size_t start = rotation_++ % all.size();
  std::ranges::rotate(all, all.begin() + static_cast<std::ptrdiff_t>(start));
  if (all.size() > at_most) all.resize(at_most);
  return all;
}

}  // namespace tau::seer
