#include "testnet/chaos/chaos.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "runtime/loop.h"
#include "testnet/universe.h"

namespace tau::testnet {
namespace {

using namespace std::chrono_literals;

// A connection over which nothing comes is given up after this: ping of native/swarm, 15 s + 10 s.
constexpr Duration kSilenceMax = 25s;

}  // namespace

Chaos::Chaos(Universe& universe, runtime::Loop& loop, Faults& faults)
    : universe_(universe), loop_(loop), faults_(faults), tasks_(loop) {}

Duration Chaos::since_first() {
  if (!first_) first_ = loop_.now();
  return loop_.now() - *first_;
}

void Chaos::write_down(std::optional<Fault> fault) {
  if (record_.size() >= kRecordMax) record_.pop_front();
  record_.push_back({since_first(), std::move(fault)});
}

Task<Result<PlannedFault>> Chaos::begin(Fault fault) {
  if (in_force_.size() >= kActiveMax)
    co_return fail(
        ErrorCode::resource_exhausted,
        fmt::format("{} faults are in force, which is all there may be: dream chaos heal",
                    in_force_.size()));
  std::set<PeerId> nodes;
  for (std::string& name : fault.nodes) {
    CO_TRY_SYNC(const node::Node* node, universe_.find(name));
    name = node->name();
    nodes.insert(node->id());
  }
  write_down(fault);
  const PlannedFault begun{record_.back().at, fault};
  InForce made{fault, std::nullopt, loop_.now() + fault.lasts};
  if (fault.kind == FaultKind::kill) {
    for (const std::string& name : fault.nodes) CO_TRY_STATUS(universe_.kill(name));
  } else {
    made.id = faults_.add(fault, std::move(nodes));
  }
  const Key key = next_++;
  in_force_.emplace(key, std::move(made));
  if (fault.lasts != Duration{}) tasks_.spawn(end_in_time(key));
  if (fault.kind == FaultKind::partition) tasks_.spawn(cut_silent(key));
  co_return begun;
}

Task<void> Chaos::end_in_time(Key key) {
  const auto found = in_force_.find(key);
  if (found == in_force_.end()) co_return;
  if (!co_await runtime::sleep_for(found->second.fault.lasts)) co_return;
  if (const Status ended = co_await end(key); !ended)
    universe_.say("chaos: " + ended.error().message());
}

// Connections between nodes that cannot hear each other end, as they would on a cut cable.
Task<void> Chaos::cut_silent(Key key) {
  if (!co_await runtime::sleep_for(kSilenceMax)) co_return;
  if (!in_force_.contains(key)) co_return;
  for (const auto& from : universe_.nodes()) {
    const auto node = universe_.find(from.name);
    if (!node || (*node)->state() != node::Node::State::running) continue;
    for (const PeerId& to : (*node)->host().peers())
      if (faults_.separated(from.id, to) || faults_.separated(to, from.id))
        (*node)->host().disconnect(to);
  }
}

Task<Status> Chaos::end(Key key) {
  const auto taken = in_force_.extract(key);
  if (taken.empty()) co_return Status{};
  const InForce& ended = taken.mapped();
  if (ended.id) faults_.remove(*ended.id);
  if (ended.fault.kind != FaultKind::kill) co_return Status{};
  Status first_failure;
  for (const std::string& name : ended.fault.nodes) {
    Status started = co_await start_again(name);
    if (!started && first_failure) first_failure = std::move(started);
  }
  co_return first_failure;
}

Task<Status> Chaos::start_again(std::string name) {
  NodePlan plan;
  plan.name = name;
  for (const auto& node : universe_.nodes()) {
    if (node.name != name) continue;
    if (node.state == "running") co_return Status{};  // somebody else started it
    plan.services = node.services;
  }
  CO_TRY(const auto view, universe_.add(std::move(plan)));
  co_return Status{};
}

Task<Status> Chaos::heal() {
  write_down(std::nullopt);
  Status first_failure;
  // What makes nodes unreachable goes first: one that starts must find the others.
  std::vector<Key> keys;
  for (const auto& [key, one] : in_force_)
    if (one.id) keys.push_back(key);
  for (const auto& [key, one] : in_force_)
    if (!one.id) keys.push_back(key);
  for (const Key key : keys) {
    Status ended = co_await end(key);
    if (!ended && first_failure) first_failure = std::move(ended);
  }
  co_return first_failure;
}

std::vector<Chaos::Active> Chaos::active() const {
  std::vector<Active> out;
  for (const auto& [key, one] : in_force_) {
    const bool timed = one.fault.lasts != Duration{};
    out.push_back(
        {one.fault, timed ? std::max<Duration>(one.until - loop_.now(), 1ms) : Duration{}});
  }
  return out;
}

Task<void> Chaos::stop() {
  co_await tasks_.stop();
  for (const auto& [key, one] : in_force_)
    if (one.id) faults_.remove(*one.id);
  in_force_.clear();
}

}  // namespace tau::testnet
