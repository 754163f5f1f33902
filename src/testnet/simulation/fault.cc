#include "testnet/simulation/fault.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "services/seer/api.h"
#include "services/tns/api.h"
#include "testnet/simulation/liar.h"
#include "testnet/simulation/outlaw.h"

namespace tau::testnet::simulation {
namespace {

using namespace std::chrono_literals;

struct Row {
  FaultKind kind;
  std::string_view name;
  std::uint64_t weight;  // how often, beside the others
  Duration least, most;  // how long
  std::uint64_t amount_min, amount_max;
};
// One line each: a node that is away comes back before the schedule ends.
constexpr std::array<Row, kFaultKinds> kRows = {{
    {FaultKind::crash, "crash", 14, 200ms, 12s, 0, 0},
    {FaultKind::leave, "leave", 2, 500ms, 6s, 0, 0},
    {FaultKind::retire, "retire", 1, 0s, 0s, 0, 0},
    {FaultKind::join, "join", 1, 0s, 0s, 0, 0},
    {FaultKind::partition, "partition", 3, 1s, 35s, 0, 0},
    {FaultKind::deaf, "deaf", 2, 1s, 35s, 0, 0},
    {FaultKind::mute, "mute", 2, 1s, 35s, 0, 0},
    {FaultKind::resets, "resets", 3, 0s, 0s, 0, 0},
    {FaultKind::loss, "loss", 2, 1s, 15s, 5, 150},
    {FaultKind::latency, "latency", 2, 1s, 15s, 5, 400},
    {FaultKind::datagrams, "datagrams", 1, 1s, 15s, 50, 500},
    {FaultKind::slow_disk, "slow disk", 2, 1s, 15s, 20, 1500},
    {FaultKind::full_disk, "full disk", 2, 500ms, 8s, 0, 0},
    {FaultKind::clock_jump, "clock jump", 2, 1s, 20s, 100, 120'000},
    {FaultKind::clock_drift, "clock drift", 1, 5s, 30s, 10, 500},
    {FaultKind::liar, "liar", 1, 2s, 15s, 0, 0},
    {FaultKind::revoked, "revoked", 1, 6s, 25s, 0, 0},
}};
// One fault in about this time: several are under way at once.
constexpr Duration kEvery = 1500ms;
// Of a node, until no seer lists it: the seer that heard it says so no more, and the others believe
// that one no longer if they do not hear it either; and time for that to be passed on.
constexpr Duration kSilence = 2 * seer::kDeadAfter + 5s;

const Row& row_of(FaultKind kind) { return *std::ranges::find(kRows, kind, &Row::kind); }

Duration between(Random& random, Duration least, Duration most) {
  if (most <= least) return least;
  return least + Duration(random.below(static_cast<std::uint64_t>((most - least).count())));
}

// One or a few that may stop; a service's only node, too.
std::vector<std::size_t> victims(Random& random, const std::vector<NodeSpec>& nodes,
                                 std::size_t spared, bool plain) {
  std::vector<std::size_t> able;
  for (std::size_t i = 0; i < nodes.size(); ++i)
    if (i != spared && (!plain || nodes[i].services.empty())) able.push_back(i);
  // Nodes with services are what is interesting: plain ones are drawn seldom.
  std::vector<std::size_t> out;
  std::size_t wanted = 1;
  while (!plain && wanted < 4 && random.below(3) == 0) ++wanted;
  for (int tries = 0; out.size() < wanted && tries < 40 && !able.empty(); ++tries) {
    const std::size_t drawn = able[random.below(able.size())];
    if (!plain && nodes[drawn].services.empty() && random.below(4) != 0) continue;
    if (std::ranges::find(out, drawn) == out.end()) out.push_back(drawn);
  }
  return out;
}

double seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace

std::string_view name_of(FaultKind kind) { return row_of(kind).name; }

std::string describe(const Fault& fault, const std::vector<NodeSpec>& nodes) {
  std::string text = fmt::format("{:7.2f} s  {}", seconds(fault.at), name_of(fault.kind));
  std::vector<std::string> names;
  for (const std::size_t i : fault.nodes)
    names.push_back(i < nodes.size() ? nodes[i].name : fmt::format("node {}", i));
  if (!names.empty()) text += fmt::format(" {}", fmt::join(names, ", "));
  if (row_of(fault.kind).amount_max > 0) text += fmt::format(", {}", fault.amount);
  if (fault.lasts > Duration{}) text += fmt::format(" for {:.2f} s", seconds(fault.lasts));
  return text;
}

std::vector<Fault> make_faults(std::uint64_t seed, const std::vector<NodeSpec>& nodes,
                               std::size_t spared, Duration begin, Duration end) {
  SeededRandom random(seed * 0x9e3779b97f4a7c15 + 7);
  std::uint64_t total = 0;
  for (const Row& row : kRows) total += row.weight;
  std::vector<Fault> out;
  // Some worlds are calm, some are not.
  const Duration every = kEvery / 2 * (1 + random.below(4));
  for (TimePoint at{begin}; (at = at + between(random, 0s, 2 * every)).since_start < end;) {
    std::uint64_t drawn = random.below(total);
    const Row* row = kRows.data();
    for (; drawn >= row->weight; ++row) drawn -= row->weight;
    Fault fault{at.since_start, between(random, row->least, row->most), row->kind};
    // Back before anybody noticed, now and then.
    const bool short_one = row->kind == FaultKind::crash && random.below(4) == 0;
    if (short_one) fault.lasts = between(random, 1ms, 60ms);
    fault.lasts = std::min(fault.lasts, end - fault.at);
    if (row->amount_max > 0)
      fault.amount = row->amount_min + random.below(row->amount_max - row->amount_min);
    switch (row->kind) {
      case FaultKind::join:
      case FaultKind::loss:
      case FaultKind::latency:
      case FaultKind::datagrams:
      case FaultKind::liar:
      case FaultKind::revoked:
        break;
      case FaultKind::partition:
        for (std::size_t i = 0; i < nodes.size(); ++i)
          if (random.below(3) == 0) fault.nodes.push_back(i);
        break;
      default:
        fault.nodes = victims(random, nodes, spared, row->kind == FaultKind::retire);
        // Half of the machines hang on one fuse.
        if (row->kind == FaultKind::crash && random.below(5) == 0) {
          fault.nodes.clear();
          for (std::size_t i = 0; i < nodes.size(); ++i)
            if (i != spared && random.below(2) == 0) fault.nodes.push_back(i);
        }
    }
    out.push_back(std::move(fault));
  }
  return out;
}

Faults::Faults(World& world, Ledger& ledger, Trace& trace)
    : world_(world), ledger_(ledger), trace_(trace), tasks_(world.loop()) {}
Faults::~Faults() = default;

void Faults::schedule(const Fault& fault) { tasks_.spawn(happen(fault)); }
Task<void> Faults::join() { co_await tasks_.join(); }
Task<void> Faults::stop() { co_await tasks_.stop(); }

Task<void> Faults::happen(Fault fault) {
  if (!co_await runtime::sleep_until(TimePoint{fault.at})) co_return;
  std::vector<NodeSpec> names;
  for (std::size_t i = 0; i < world_.size(); ++i) names.push_back(world_[i].spec);
  trace_.say("fault " + describe(fault, names));
  switch (fault.kind) {
    case FaultKind::crash:
    case FaultKind::leave:
    case FaultKind::retire:
      co_return co_await stop_nodes(fault);
    case FaultKind::join:
      co_return co_await add_node();
    case FaultKind::liar:
      co_return co_await lie(fault);
    case FaultKind::revoked:
      co_return co_await revoke(fault);
    default:
      break;
  }
  begin(fault);
  if (fault.kind == FaultKind::mute && fault.lasts > kSilence) tasks_.spawn(listen(fault));
  (void)co_await runtime::sleep_for(fault.lasts);
  end(fault);
  if (fault.lasts > Duration{}) trace_.say(fmt::format("over: {}", describe(fault, names)));
  if (fault.kind == FaultKind::full_disk) co_await restart(fault);
}

Task<void> Faults::listen(Fault fault) {
  std::map<World::Member*, std::size_t> lives;
  for (World::Member* seer : world_.with(seer::kRole)) lives[seer] = seer->lives;
  if (!co_await runtime::sleep_for(kSilence)) co_return;
  for (const auto& [seer, life] : lives) {
    const auto is_it = [&, at = seer](std::size_t i) { return &world_[i] == at; };
    if (std::ranges::any_of(fault.nodes, is_it)) continue;
    if (!seer->running() || seer->lives != life) continue;
    World::Member* asker = world_.client();
    if (!asker) co_return;
    // Of a node that stops meanwhile, the question ends with it.
    const auto listed = co_await asker->node->caller().call<seer::ListNodes>(
        seer->node->id(), seer::kProtocol, {std::string()});
    // What was held up until it was over proves nothing.
    if (!listed || world_.loop().now() >= TimePoint{fault.at} + fault.lasts) continue;
    for (const std::size_t i : fault.nodes)
      if (std::ranges::find(listed->nodes, world_[i].node->id(), &seer::LiveNode::peer) !=
          listed->nodes.end())
        ledger_.violated(fmt::format("{} lists {}, which nobody has heard for {} s",
                                     seer->spec.name, world_[i].spec.name, kSilence / 1s));
  }
}

Task<void> Faults::restart(Fault fault) {
  runtime::Scope own(world_.loop());
  for (const std::size_t i : fault.nodes) {
    if (!world_[i].running()) continue;
    co_await world_.leave(i).in(own);
    co_await start_again(i).in(own);
  }
}

Task<void> Faults::stop_nodes(Fault fault) {
  runtime::Scope own(world_.loop());  // what stopped starts again, whatever happens
  // At one instant, as when a fuse blows.
  runtime::TaskGroup stopping(world_.loop());
  for (const std::size_t i : fault.nodes)
    stopping.spawn(fault.kind == FaultKind::crash ? world_.crash(i) : world_.leave(i));
  co_await stopping.join().in(own);
  if (fault.kind == FaultKind::retire) co_return;
  (void)co_await runtime::sleep_for(fault.lasts);
  for (const std::size_t i : fault.nodes) {
    co_await start_again(i).in(own);
  }
}

// A disk that is full at this moment may let a node not start: its owner tries again.
Task<void> Faults::start_again(std::size_t index) {
  Status started;
  for (int tries = 0; tries < 60; ++tries) {
    started = co_await world_.start_node(index);
    if (started || !co_await runtime::sleep_for(1s)) break;
  }
  trace_.say(fmt::format("{} {}", world_[index].spec.name,
                         started ? "is back" : "did not start: " + started.error().to_string()));
}

Task<void> Faults::add_node() {
  runtime::Scope own(world_.loop());
  const std::size_t i = world_.add({fmt::format("joined-{}", world_.size() + 1), {}});
  const Status started = co_await world_.start_node(i).in(own);
  trace_.say(fmt::format("{} {}", world_[i].spec.name,
                         started ? "joined" : "did not: " + started.error().to_string()));
}

Task<void> Faults::lie(Fault fault) {
  runtime::Scope own(world_.loop());
  Liar liar(world_, static_cast<std::uint64_t>(fault.at.count()));
  co_await liar.lie_for(fault.lasts);
  co_await liar.stop().in(own);
  trace_.say(fmt::format("the liar is gone after {} lies", liar.told()));
}

Task<void> Faults::revoke(Fault fault) {
  runtime::Scope own(world_.loop());
  Outlaw outlaw(world_, ledger_, static_cast<std::uint64_t>(fault.at.count()) + 1);
  co_await outlaw.live_for(fault.lasts);
  co_await outlaw.stop().in(own);
  trace_.say(fmt::format("the outlaw is gone: {} commands obeyed as a member's, {} refused",
                         outlaw.obeyed(), outlaw.refused()));
}

void Faults::begin(const Fault& fault) {
  switch (fault.kind) {
    case FaultKind::partition:
    case FaultKind::deaf:
    case FaultKind::mute:
      return block(fault, 1);
    case FaultKind::resets:
      for (const std::size_t i : fault.nodes)
        for (std::size_t other = 0; other < world_.size(); ++other)
          world_.wires().break_connection(world_[i].node->id(), world_[other].node->id());
      return;
    case FaultKind::loss:
      loss_.insert(fault.amount);
      return set_weather();
    case FaultKind::latency:
      latency_ms_.insert(fault.amount);
      return set_weather();
    case FaultKind::datagrams:
      datagrams_.insert(fault.amount);
      return set_weather();
    default:
      break;
  }
  const std::int64_t amount = static_cast<std::int64_t>(fault.amount);
  for (const std::size_t i : fault.nodes) {
    Machine& machine = *world_[i].machine;
    if (fault.kind == FaultKind::slow_disk)
      machine.disk().set_sync_latency(std::chrono::milliseconds(amount));
    if (fault.kind == FaultKind::full_disk) machine.disk().set_full(true);
    if (fault.kind == FaultKind::clock_jump)
      machine.clock().set_wall_offset_ms(amount % 2 == 0 ? amount : -amount);
    if (fault.kind == FaultKind::clock_drift)
      machine.clock().set_drift_ppm(amount % 2 == 0 ? amount : -amount);
  }
}

// Where two of one kind meet on a machine, the first end is the end of both.
void Faults::end(const Fault& fault) {
  switch (fault.kind) {
    case FaultKind::partition:
    case FaultKind::deaf:
    case FaultKind::mute:
      return block(fault, -1);
    case FaultKind::loss:
      loss_.erase(loss_.find(fault.amount));
      return set_weather();
    case FaultKind::latency:
      latency_ms_.erase(latency_ms_.find(fault.amount));
      return set_weather();
    case FaultKind::datagrams:
      datagrams_.erase(datagrams_.find(fault.amount));
      return set_weather();
    default:
      break;
  }
  for (const std::size_t i : fault.nodes) {
    Machine& machine = *world_[i].machine;
    if (fault.kind == FaultKind::slow_disk) machine.disk().set_sync_latency(Machine::kSyncTime);
    if (fault.kind == FaultKind::full_disk) machine.disk().set_full(false);
    if (fault.kind == FaultKind::clock_jump) machine.clock().set_wall_offset_ms(0);
    if (fault.kind == FaultKind::clock_drift) machine.clock().set_drift_ppm(0);
  }
}

void Faults::block(const Fault& fault, int by) {
  const std::set<std::size_t> named(fault.nodes.begin(), fault.nodes.end());
  // Who joined meanwhile was not there when it began.
  for (const std::size_t inside : named) {
    for (std::size_t other = 0; other < world_.size(); ++other) {
      if (named.contains(other)) continue;
      const PeerId &a = world_[inside].node->id(), &b = world_[other].node->id();
      if (fault.kind != FaultKind::deaf) block_pair(a, b, by);
      if (fault.kind != FaultKind::mute) block_pair(b, a, by);
    }
  }
}

void Faults::block_pair(const PeerId& from, const PeerId& to, int by) {
  int& count = blocked_[{from, to}];
  count = std::max(0, count + by);
  if (by > 0 && count == 1) world_.wires().block(from, to);
  if (by < 0 && count == 0) world_.wires().unblock(from, to);
}

void Faults::set_weather() {
  p2p::simulated::Weather weather;
  if (!loss_.empty()) {
    const auto worst = static_cast<std::uint32_t>(*loss_.rbegin());
    weather = {worst, worst, worst, worst};
  }
  world_.wires().set_weather(weather);
  const Duration latency =
      latency_ms_.empty() ? Duration(500us) : std::chrono::milliseconds(*latency_ms_.rbegin());
  world_.wires().set_latency(latency, latency / 5);
  net::DatagramWeather wet;
  if (!datagrams_.empty()) {
    const auto worst = static_cast<std::uint32_t>(*datagrams_.rbegin());
    wet = {worst, worst, worst};
  }
  world_.sockets().set_weather(wet, random_);
}

}  // namespace tau::testnet::simulation
