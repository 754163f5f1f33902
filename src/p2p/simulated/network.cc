#include "p2p/simulated/network.h"

#include <algorithm>

#include "p2p/simulated/stream.h"

namespace tau::p2p::simulated {
namespace {

using Pair = std::pair<PeerId, PeerId>;
Pair sorted(const PeerId& a, const PeerId& b) { return a < b ? Pair{a, b} : Pair{b, a}; }

}  // namespace

SimulatedNetwork::SimulatedNetwork(runtime::Loop& loop, Random& random)
    : loop_(loop), random_(random) {}

SimulatedNetwork::~SimulatedNetwork() {
  *alive_ = false;
  CHECK(hosts_.empty());
}

void SimulatedNetwork::set_latency(Duration latency, Duration jitter) {
  latency_ = latency;
  jitter_ = jitter;
}

void SimulatedNetwork::set_latency(const PeerId& a, const PeerId& b, Duration latency) {
  latencies_[sorted(a, b)] = latency;
}

Duration SimulatedNetwork::latency(const PeerId& from, const PeerId& to) {
  const auto it = latencies_.find(sorted(from, to));
  const Duration base = it == latencies_.end() ? latency_ : it->second;
  if (jitter_ <= Duration{}) return base;
  return base + Duration(random_.below(static_cast<std::uint64_t>(jitter_.count())));
}

void SimulatedNetwork::add(SimulatedHost& host) {
  // A node that comes back has the address that it had.
  host.address_ = addresses_.try_emplace(host.id(), addresses_.size() + 1).first->second;
  hosts_[host.id()] = &host;
}

void SimulatedNetwork::remove(SimulatedHost& host) {
  const auto it = hosts_.find(host.id());
  if (it != hosts_.end() && it->second == &host) hosts_.erase(it);
}

SimulatedHost* SimulatedNetwork::find(const PeerId& peer) {
  const auto it = hosts_.find(peer);
  return it == hosts_.end() ? nullptr : it->second;
}

bool SimulatedNetwork::separated(const PeerId& from, const PeerId& to) const {
  if (blocked_.contains({from, to})) return true;
  if (groups_.empty()) return false;
  const auto group = [&](const PeerId& peer) {
    const auto it = groups_.find(peer);
    return it == groups_.end() ? -1 : it->second;
  };
  return group(from) != group(to);
}

void SimulatedNetwork::schedule(Route& route, Duration after, runtime::Callback arrival) {
  route.last = std::max(route.last, loop_.now() + after);
  loop_.call_at(route.last, [alive = alive_, arrival = std::move(arrival)]() mutable {
    if (*alive) arrival();
  });
}

void SimulatedNetwork::deliver(const PeerId& from, const PeerId& to, runtime::Callback arrival) {
  ++messages_;
  Route& route = routes_[{from, to}];
  if (separated(from, to)) {
    route.held.push_back(std::move(arrival));
  } else {
    Duration after = latency(from, to);
    for (Duration wait = Weather::kResendAfter; chance(weather_.lost); wait *= 2) after += wait;
    schedule(route, after, std::move(arrival));
  }
}

void SimulatedNetwork::scatter(const PeerId& from, const PeerId& to,
                               const std::function<void()>& arrival) {
  if (chance(weather_.gossip_lost)) {
    ++messages_;
    return;
  }
  for (int copies = chance(weather_.gossip_doubled) ? 2 : 1; copies > 0; --copies) {
    if (!chance(weather_.gossip_late)) {
      deliver(from, to, arrival);
      continue;
    }
    ++messages_;
    const Duration late(random_.below(static_cast<std::uint64_t>(Weather::kStraggleMax.count())));
    loop_.call_after(latency(from, to) + late, [this, alive = alive_, from, to, arrival] {
      if (*alive && !separated(from, to)) arrival();
    });
  }
}

void SimulatedNetwork::partition(std::vector<std::vector<PeerId>> groups) {
  heal();
  int number = 0;
  for (const auto& group : groups) {
    for (const auto& peer : group) groups_[peer] = number;
    ++number;
  }
  for (const auto& [ends, connection] : connections_)
    if (deaf(*connection)) watch_silence(connection);
}

void SimulatedNetwork::block(const PeerId& from, const PeerId& to) {
  blocked_.insert({from, to});
  if (const auto c = connection(from, to)) watch_silence(c);
}

void SimulatedNetwork::unblock(const PeerId& from, const PeerId& to) {
  blocked_.erase({from, to});
  if (!separated(from, to)) release({from, to}, routes_[{from, to}]);
}

void SimulatedNetwork::release(const Pair& ends, Route& route) {
  for (auto& arrival : std::exchange(route.held, {}))
    schedule(route, latency(ends.first, ends.second), std::move(arrival));
}

bool SimulatedNetwork::deaf(const Connection& connection) const {
  return separated(connection.ends[0], connection.ends[1]) ||
         separated(connection.ends[1], connection.ends[0]);
}

void SimulatedNetwork::watch_silence(const std::shared_ptr<Connection>& connection) {
  loop_.call_after(kSilenceLimit, [this, alive = alive_, weak = std::weak_ptr(connection)] {
    const auto still = *alive ? weak.lock() : nullptr;
    if (still && still->open && deaf(*still)) give_up(still);
  });
}

void SimulatedNetwork::break_connection(const PeerId& a, const PeerId& b) {
  if (const auto c = connection(a, b)) give_up(c);
}

void SimulatedNetwork::heal() {
  groups_.clear();
  blocked_.clear();
  for (auto& [ends, route] : routes_) release(ends, route);
}

void SimulatedNetwork::kill(const PeerId& peer) {
  SimulatedHost* host = find(peer);
  if (!host) return;
  host->state_ = SimulatedHost::State::stopped;
  hosts_.erase(peer);
  host->tasks_.cancel();
  while (!host->peers_.empty()) {
    const PeerId other = host->peers_.begin()->first;
    host->forget(other);
    if (const auto c = connection(peer, other)) close(c, peer);
  }
}

std::shared_ptr<Connection> SimulatedNetwork::connection(const PeerId& a, const PeerId& b) const {
  const auto it = connections_.find(sorted(a, b));
  return it == connections_.end() ? nullptr : it->second;
}

// One end closes; the other notices when the news arrives, after all that was sent before.
void SimulatedNetwork::close(const std::shared_ptr<Connection>& connection, const PeerId& by) {
  if (!connection->open) return;
  connection->open = false;
  connections_.erase(sorted(connection->ends[0], connection->ends[1]));
  connection->lose_end(by);
  deliver(by, connection->other(by), [this, connection, by] {
    const PeerId& other = connection->other(by);
    connection->lose_end(other);
    if (SimulatedHost* host = find(other)) host->peer_down(by);
  });
}

void SimulatedNetwork::give_up(const std::shared_ptr<Connection>& connection) {
  connection->open = false;
  connections_.erase(sorted(connection->ends[0], connection->ends[1]));
  const auto& [a, b] = connection->ends;
  routes_[{a, b}].held.clear();
  routes_[{b, a}].held.clear();
  for (const auto& [end, other] : {Pair{a, b}, Pair{b, a}}) {
    connection->lose_end(end);
    if (SimulatedHost* host = find(end)) host->peer_down(other);
  }
}

}  // namespace tau::p2p::simulated
