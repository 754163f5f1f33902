#include "p2p/simulated/network.h"

#include <algorithm>

#include "p2p/simulated/stream.h"

namespace tau::p2p::simulated {
namespace {

// Of native/swarm.
constexpr Duration kPingEvery = std::chrono::seconds(15);
constexpr std::uint64_t kPingsPerIdentify = 40;
constexpr std::size_t kPingBytes = 32;
// Streams opened and ended, and about 430 bytes told.
constexpr std::size_t kIdentifyAllBytes = 700, kIdentifyMessages = 6;

}  // namespace
SimulatedNetwork::SimulatedNetwork(runtime::Loop& loop, Random& random)
    : loop_(loop), random_(random) {}

SimulatedNetwork::~SimulatedNetwork() {
  *alive_ = false;
  for (const SimulatedHost* host : hosts_) CHECK(!host);
}

void SimulatedNetwork::set_latency(Duration latency, Duration jitter) {
  latency_ = latency;
  jitter_ = jitter;
}

void SimulatedNetwork::set_latency(const PeerId& a, const PeerId& b, Duration latency) {
  latencies_[sorted(number_of(a), number_of(b))] = latency;
}

Duration SimulatedNetwork::latency(Number from, Number to) {
  Duration base = latency_;
  if (!latencies_.empty())
    if (const auto it = latencies_.find(sorted(from, to)); it != latencies_.end())
      base = it->second;
  if (jitter_ <= Duration{}) return base;
  return base + Duration(random_.below(static_cast<std::uint64_t>(jitter_.count())));
}

// A node that comes back has the number, and so the address, that it had.
Number SimulatedNetwork::number_of(const PeerId& peer) {
  const auto [it, fresh] = numbers_.try_emplace(peer, static_cast<Number>(names_.size()));
  if (fresh) {
    names_.push_back(peer);
    places_.push_back(place_of(as_bytes(peer.str())));
    hosts_.push_back(nullptr);
    sent_.push_back(0);
  }
  return it->second;
}

Topic SimulatedNetwork::topic_of(const std::string& name) {
  const auto [it, fresh] = topics_.try_emplace(name, static_cast<Topic>(topic_bytes_.size()));
  if (fresh) topic_bytes_.push_back(name.size());
  return it->second;
}

void SimulatedNetwork::add(SimulatedHost& host) { hosts_[host.number_] = &host; }

void SimulatedNetwork::remove(SimulatedHost& host) {
  if (hosts_[host.number_] == &host) hosts_[host.number_] = nullptr;
}

void SimulatedNetwork::count(Kind kind, Number from, std::size_t bytes, std::uint64_t messages) {
  counts_[static_cast<std::size_t>(kind)].add(bytes, messages);
  sent_[from] += messages;
}

// Both sides ping and answer, yamux as libp2p, and identify tells the same each ten minutes.
void SimulatedNetwork::count_pings(Connection& connection) {
  const auto due = static_cast<std::uint64_t>((loop_.now() - connection.pinged) / kPingEvery);
  if (due == 0) return;
  connection.pinged = connection.pinged + due * kPingEvery;
  const std::uint64_t told =
      (connection.pings + due) / kPingsPerIdentify - connection.pings / kPingsPerIdentify;
  connection.pings += due;
  for (const Number end : connection.ends) {
    count(Kind::ping, end, due * 2 * (kPingBytes + 2 * kFrameBytes), 4 * due);
    if (told > 0) count(Kind::identify, end, told * kIdentifyAllBytes, told * kIdentifyMessages);
  }
}

const Counts& SimulatedNetwork::counts() {
  for (const auto& [ends, connection] : connections_) count_pings(*connection);
  return counts_;
}

std::uint64_t SimulatedNetwork::messages() {
  std::uint64_t all = 0;
  for (const Traffic& traffic : counts()) all += traffic.messages;
  return all;
}

std::uint64_t SimulatedNetwork::bytes() {
  std::uint64_t all = 0;
  for (const Traffic& traffic : counts()) all += traffic.bytes;
  return all;
}

std::uint64_t SimulatedNetwork::sent_by(const PeerId& peer) {
  (void)counts();
  const auto it = numbers_.find(peer);
  return it == numbers_.end() ? 0 : sent_[it->second];
}

bool SimulatedNetwork::separated(Number from, Number to) const {
  if (!blocked_.empty() && blocked_.contains(way(from, to))) return true;
  if (groups_.empty()) return false;
  const auto group = [&](Number peer) {
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

void SimulatedNetwork::deliver(Number from, Number to, runtime::Callback arrival) {
  Route& route = routes_[way(from, to)];
  if (separated(from, to)) {
    route.held.push_back(std::move(arrival));
  } else {
    Duration after = latency(from, to);
    for (Duration wait = Weather::kResendAfter; chance(weather_.lost); wait *= 2) after += wait;
    schedule(route, after, std::move(arrival));
  }
}

void SimulatedNetwork::scatter(Number from, Number to, const std::function<void()>& arrival) {
  if (chance(weather_.gossip_lost)) return;
  for (int copies = chance(weather_.gossip_doubled) ? 2 : 1; copies > 0; --copies) {
    if (!chance(weather_.gossip_late)) {
      deliver(from, to, arrival);
      continue;
    }
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
    for (const auto& peer : group) groups_[number_of(peer)] = number;
    ++number;
  }
  for (const auto& [ends, connection] : connections_)
    if (deaf(*connection)) watch_silence(connection);
}

void SimulatedNetwork::block(const PeerId& from, const PeerId& to) {
  const Number a = number_of(from), b = number_of(to);
  blocked_.insert(way(a, b));
  if (const auto c = connection(a, b)) watch_silence(c);
}

void SimulatedNetwork::unblock(const PeerId& from, const PeerId& to) {
  const Number a = number_of(from), b = number_of(to);
  blocked_.erase(way(a, b));
  if (!separated(a, b)) release(way(a, b), routes_[way(a, b)]);
}

void SimulatedNetwork::release(Pair ends, Route& route) {
  const auto from = static_cast<Number>(ends >> 32), to = static_cast<Number>(ends);
  for (auto& arrival : std::exchange(route.held, {}))
    schedule(route, latency(from, to), std::move(arrival));
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
  if (const auto c = connection(number_of(a), number_of(b))) give_up(c);
}

void SimulatedNetwork::heal() {
  groups_.clear();
  blocked_.clear();
  for (auto& [ends, route] : routes_)
    if (!route.held.empty()) release(ends, route);
}

void SimulatedNetwork::kill(const PeerId& peer) {
  const Number number = number_of(peer);
  SimulatedHost* host = find(number);
  if (!host) return;
  host->state_ = SimulatedHost::State::stopped;
  *host->alive_ = false;
  hosts_[number] = nullptr;
  host->tasks_.cancel();
  while (!host->peers_.empty()) {
    const Number other = host->peers_.begin()->second.number;
    host->forget(other);
    if (const auto c = connection(number, other)) close(c, number);
  }
}

std::shared_ptr<Connection> SimulatedNetwork::connection(Number a, Number b) const {
  const auto it = connections_.find(sorted(a, b));
  return it == connections_.end() ? nullptr : it->second;
}

// One end closes; the other notices when the news arrives, after all that was sent before.
void SimulatedNetwork::close(const std::shared_ptr<Connection>& connection, Number by) {
  if (!connection->open) return;
  count_pings(*connection);
  connection->open = false;
  connections_.erase(sorted(connection->ends[0], connection->ends[1]));
  connection->lose_end(by);
  deliver(by, connection->other(by), [this, connection, by] {
    const Number other = connection->other(by);
    connection->lose_end(other);
    if (SimulatedHost* host = find(other)) host->peer_down(by);
  });
}

void SimulatedNetwork::give_up(const std::shared_ptr<Connection>& connection) {
  count_pings(*connection);
  connection->open = false;
  const auto [a, b] = connection->ends;
  connections_.erase(sorted(a, b));
  routes_[way(a, b)].held.clear();
  routes_[way(b, a)].held.clear();
  for (const auto& [end, other] : {std::pair(a, b), std::pair(b, a)}) {
    connection->lose_end(end);
    if (SimulatedHost* host = find(end)) host->peer_down(other);
  }
}

}  // namespace tau::p2p::simulated
