#include "node/acquaintances.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <string_view>
#include <utility>

#include "crypto/ed25519.h"

namespace tau::node {
namespace {

using namespace std::chrono_literals;

constexpr std::array<std::string_view, 9> kRoles = {
    "auth", "tns", "patrick", "monkey", "hoarder", "gateway", "seer", "substrate", "vault"};

constexpr Duration kFirstPause = 500ms;  // a node that restarts is back in this time
constexpr Duration kLongestPause = 30s;
// Who dialed may want something at once that it has not said yet.
constexpr Duration kSpareFor = 1min;

std::uint64_t distance_between(const PeerId& a, const PeerId& b) {
  const auto digest = crypto::sha256(to_bytes(a < b ? a.str() + b.str() : b.str() + a.str()));
  std::uint64_t first = 0;
  for (std::size_t i = 0; i < sizeof first; ++i) first = first << 8 | digest[i];
  return first;
}

void pause_longer(Acquaintances::Node& node, TimePoint now) {
  node.pause = std::clamp<Duration>(node.pause * 2, kFirstPause, kLongestPause);
  node.try_again = now + node.pause;
}

}  // namespace

Roles roles_of(const std::vector<std::string>& names) {
  Roles roles = 0;
  for (std::size_t i = 0; i < kRoles.size(); ++i)
    if (std::ranges::find(names, kRoles[i]) != names.end()) roles |= static_cast<Roles>(1u << i);
  return roles;
}

std::vector<std::string> names_of(Roles roles) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < kRoles.size(); ++i)
    if (roles >> i & 1) names.emplace_back(kRoles[i]);
  return names;
}

Acquaintances::Node* Acquaintances::find(const PeerId& peer) {
  const auto it = nodes_.find(peer);
  return it == nodes_.end() ? nullptr : &it->second;
}

// The farthest that nobody misses goes, if it is farther than the newcomer. Who is connected is
// always known, or nobody would close that connection: the host bounds their number.
bool Acquaintances::make_room(std::uint64_t distance, bool connected) {
  if (nodes_.size() < kKnownNodesMax) return true;
  auto farthest = nodes_.end();
  for (auto it = nodes_.begin(); it != nodes_.end(); ++it) {
    const Node& node = it->second;
    if (node.connected || node.dialing || node.chosen) continue;
    if (farthest == nodes_.end() || node.distance > farthest->second.distance) farthest = it;
  }
  if (farthest == nodes_.end()) return connected;
  if (!connected && farthest->second.distance < distance) return false;
  nodes_.erase(farthest);
  return true;
}

Acquaintances::Node* Acquaintances::learn(const PeerId& peer, Roles roles, TimePoint now) {
  return enter(peer, roles, now, false);
}

Acquaintances::Node* Acquaintances::enter(const PeerId& peer, Roles roles, TimePoint now,
                                          bool connected) {
  if (peer == self_) return nullptr;
  if (Node* known = find(peer)) {
    // Of who is connected, its certificate says it.
    if (!known->connected && known->roles != roles) {
      known->roles = roles;
      changed_ = true;
    }
    return known;
  }
  const std::uint64_t distance = distance_between(self_, peer);
  if (!make_room(distance, connected)) return nullptr;
  Node& node = nodes_[peer];
  node.roles = roles;
  node.distance = distance;
  node.last_met = node.try_again = now;
  changed_ = true;
  return &node;
}

Acquaintances::Node* Acquaintances::met(const PeerId& peer, Roles roles, bool connected,
                                        TimePoint now) {
  Node* node = connected ? enter(peer, roles, now, true) : find(peer);
  if (!node) return nullptr;
  if (node->connected != connected) {
    node->connected = connected;
    connected_ = connected ? connected_ + 1 : connected_ - 1;
    changed_ = true;
    if (connected) {
      node->roles = roles;
      node->connected_at = now;
      node->wants_us = true;  // until it says otherwise: one of both has dialed
    } else if (sparse() && now - node->connected_at < kSpareFor) {
      pause_longer(*node, now);
    } else {
      node->pause = Duration::zero();
      node->try_again = now;
    }
  }
  node->last_met = now;
  return node;
}

void Acquaintances::failed(const PeerId& peer, TimePoint now) {
  Node* node = find(peer);
  if (!node) return;
  pause_longer(*node, now);
  changed_ = true;
}

void Acquaintances::forget_before(TimePoint then) {
  const auto forgotten = std::erase_if(nodes_, [&](const auto& item) {
    const Node& node = item.second;
    return !node.dialing && !node.connected && node.last_met < then;
  });
  changed_ |= forgotten > 0;
}

void Acquaintances::choose() {
  if (!std::exchange(changed_, false)) return;
  if (!sparse()) {
    for (auto& [peer, node] : nodes_) node.chosen = true;
    return;
  }
  std::vector<Node*> order;
  order.reserve(nodes_.size());
  for (auto& [peer, node] : nodes_) order.push_back(&node);
  std::ranges::sort(order, {}, [](const Node* node) { return node->distance; });
  // Who does not answer is tried again, and another is chosen in its place.
  struct Count {
    std::size_t well = 0, all = 0;
    bool wants(std::size_t number) const { return well < number && all < 2 * number; }
    void add(const Node& node) {
      ++all;
      if (!node.failing()) ++well;
    }
  };
  std::array<Count, kRoles.size()> of_role;
  Count neighbours;
  for (Node* node : order) {
    node->chosen = neighbours.wants(kNeighbours);
    for (std::size_t i = 0; i < kRoles.size() && !node->chosen; ++i) {
      const bool ours = roles_ >> i & 1;
      node->chosen = (node->roles >> i & 1) && of_role[i].wants(ours ? kOfOwnRole : kOfOtherRoles);
    }
    if (!node->chosen) continue;
    neighbours.add(*node);
    for (std::size_t i = 0; i < kRoles.size(); ++i)
      if (node->roles >> i & 1) of_role[i].add(*node);
  }
}

std::vector<PeerId> Acquaintances::surplus(TimePoint now,
                                           const std::function<bool(const PeerId&)>& spare) const {
  std::vector<PeerId> out;
  if (!sparse() || connected_ <= kConnectionsKept) return out;
  struct Entry {
    bool wants_us;
    TimePoint since;
    const PeerId* peer;
  };
  std::vector<Entry> unwanted;
  for (const auto& [peer, node] : nodes_) {
    if (!node.connected || node.chosen || now - node.connected_at < kSpareFor || spare(peer))
      continue;
    unwanted.push_back({node.wants_us, node.connected_at, &peer});
  }
  std::ranges::sort(unwanted, {}, [](const Entry& e) { return std::pair(e.wants_us, e.since); });
  std::size_t left = connected_;
  for (const Entry& entry : unwanted) {
    if (left <= (entry.wants_us ? kConnectionsMax : kConnectionsKept)) break;
    out.push_back(*entry.peer);
    --left;
  }
  return out;
}

std::vector<const std::pair<const PeerId, Acquaintances::Node>*> Acquaintances::some_connected(
    std::size_t at_most) {
  std::vector<const std::pair<const PeerId, Node>*> out;
  auto it = nodes_.upper_bound(turn_);
  for (std::size_t seen = 0; seen < nodes_.size() && out.size() < at_most; ++seen) {
    if (it == nodes_.end()) it = nodes_.begin();
    if (it->second.connected) out.push_back(&*it);
    ++it;
  }
  if (!out.empty()) turn_ = out.back()->first;
  return out;
}

}  // namespace tau::node
