#include "testnet/chaos/faults.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

namespace tau::testnet {
namespace {

using namespace std::chrono_literals;
using http::Json;

struct Named {
  FaultKind kind;
  std::string_view name;
};
constexpr std::array kKinds = {
    Named{FaultKind::kill, "kill"},           Named{FaultKind::pause, "pause"},
    Named{FaultKind::partition, "partition"}, Named{FaultKind::delay, "delay"},
    Named{FaultKind::disk_full, "disk-full"}, Named{FaultKind::slow_disk, "slow-disk"}};
constexpr std::size_t kNodesOfFaultMax = 100;

bool is_slow(FaultKind kind) { return kind == FaultKind::delay || kind == FaultKind::slow_disk; }

Result<Duration> duration_of(const Json& json, const char* field, Duration at_most) {
  const auto found = json.find(field);
  if (found == json.end()) return Duration{};
  const std::int64_t max = at_most / 1ms;
  if (!found->is_number_integer() || found->get<std::int64_t>() < 0 ||
      found->get<std::int64_t>() > max)
    return fail(ErrorCode::invalid_argument,
                fmt::format("{} is milliseconds, from 0 to {}", field, max));
  return Duration(std::chrono::milliseconds(found->get<std::int64_t>()));
}

}  // namespace

std::string_view name_of(FaultKind kind) {
  return std::ranges::find(kKinds, kind, &Named::kind)->name;
}

Result<Fault> fault_of(const Json& json) {
  if (!json.is_object()) return fail(ErrorCode::invalid_argument, "a fault is a JSON object");
  for (const auto& [name, value] : json.items()) {
    static constexpr std::array known = {"fault", "nodes", "for_ms", "by_ms", "one_way", "at_ms"};
    if (std::ranges::find(known, name) == known.end())
      return fail(ErrorCode::invalid_argument,
                  fmt::format("\"{}\" is no field of a fault; there are {}", name.substr(0, 80),
                              fmt::join(known, ", ")));
  }
  Fault fault;
  const std::string kind =
      json.contains("fault") && json["fault"].is_string() ? json["fault"].get<std::string>() : "";
  const auto named = std::ranges::find(kKinds, kind, &Named::name);
  if (named == kKinds.end()) {
    std::vector<std::string_view> names;
    for (const Named& one : kKinds) names.push_back(one.name);
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("fault is one of {}, not \"{}\"", fmt::join(names, ", "), kind.substr(0, 80)));
  }
  fault.kind = named->kind;
  const auto nodes = json.find("nodes");
  if (nodes == json.end() || !nodes->is_array() || nodes->empty() ||
      nodes->size() > kNodesOfFaultMax)
    return fail(ErrorCode::invalid_argument,
                fmt::format("nodes are 1 to {} names of nodes", kNodesOfFaultMax));
  for (const Json& node : *nodes) {
    if (!node.is_string()) return fail(ErrorCode::invalid_argument, "nodes are names of nodes");
    fault.nodes.push_back(node.get<std::string>());
  }
  TRY(fault.lasts, duration_of(json, "for_ms", kFaultTimeMax));
  TRY(fault.by, duration_of(json, "by_ms", kFaultDelayMax));
  if (is_slow(fault.kind) && fault.by == Duration{})
    return fail(ErrorCode::invalid_argument, kind + " by how much? by_ms says it");
  if (!is_slow(fault.kind) && fault.by != Duration{})
    return fail(ErrorCode::invalid_argument, "by_ms is for delay and slow-disk, not for " + kind);
  if (const auto one_way = json.find("one_way"); one_way != json.end()) {
    if (!one_way->is_boolean())
      return fail(ErrorCode::invalid_argument, "one_way is true or false");
    fault.one_way = one_way->get<bool>();
    if (fault.one_way && fault.kind != FaultKind::partition)
      return fail(ErrorCode::invalid_argument, "one_way is for partition, not for " + kind);
  }
  return fault;
}

Json to_json(const Fault& fault) {
  Json out = {{"fault", name_of(fault.kind)}, {"nodes", fault.nodes}};
  if (fault.lasts != Duration{}) out["for_ms"] = fault.lasts / 1ms;
  if (fault.by != Duration{}) out["by_ms"] = fault.by / 1ms;
  if (fault.one_way) out["one_way"] = true;
  return out;
}

std::vector<PlannedFault> random_faults(std::uint64_t seed, const std::vector<std::string>& nodes,
                                        Duration total) {
  SeededRandom random(seed);
  const auto between = [&](Duration least, Duration most) {
    return least + Duration(std::chrono::milliseconds(
                       random.below(static_cast<std::uint64_t>((most - least) / 1ms) + 1)));
  };
  std::vector<PlannedFault> plan;
  std::map<std::string, Duration> dead_until;
  const std::size_t dead_max = std::max<std::size_t>(1, nodes.size() / 3);
  for (Duration at{}; !nodes.empty() && at < total; at += between(1s, 3s)) {
    Fault fault;
    fault.kind = kKinds[random.below(kKinds.size())].kind;
    fault.lasts = between(1s, 8s);
    std::erase_if(dead_until, [&](const auto& one) { return one.second <= at; });
    std::vector<std::string> alive;
    for (const auto& node : nodes)
      if (!dead_until.contains(node)) alive.push_back(node);
    if (alive.empty() || (fault.kind == FaultKind::kill && dead_until.size() >= dead_max)) continue;
    // A partition cuts off up to half of the nodes, everything else happens to one.
    const std::size_t most =
        fault.kind == FaultKind::partition ? std::max<std::size_t>(1, alive.size() / 2) : 1;
    const std::size_t count = 1 + random.below(most);
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t pick = random.below(alive.size());
      fault.nodes.push_back(alive[pick]);
      alive.erase(alive.begin() + static_cast<std::ptrdiff_t>(pick));
    }
    std::ranges::sort(fault.nodes);
    if (is_slow(fault.kind)) fault.by = between(5ms, 300ms);
    if (fault.kind == FaultKind::partition) fault.one_way = random.below(3) == 0;
    // Coming up takes a moment, too.
    if (fault.kind == FaultKind::kill) dead_until[fault.nodes[0]] = at + fault.lasts + 5s;
    plan.push_back({at, std::move(fault)});
  }
  return plan;
}

Faults::Id Faults::add(Fault fault, std::set<PeerId> nodes) {
  const Id id = next_++;
  active_.emplace(id, Active{std::move(fault), std::move(nodes)});
  tell();
  return id;
}

void Faults::remove(Id id) {
  if (active_.erase(id) > 0) tell();
}

void Faults::tell() {
  for (auto& [node, flag] : flags_) flag->store(paused(node), std::memory_order_relaxed);
  changed_.notify_all();
}

bool Faults::any(FaultKind kind, const PeerId& node) const {
  return std::ranges::any_of(active_, [&](const auto& one) {
    return one.second.fault.kind == kind && one.second.nodes.contains(node);
  });
}

bool Faults::paused(const PeerId& node) const { return any(FaultKind::pause, node); }
bool Faults::disk_full(const PeerId& node) const { return any(FaultKind::disk_full, node); }

bool Faults::separated(const PeerId& from, const PeerId& to) const {
  return std::ranges::any_of(active_, [&](const auto& one) {
    const Active& active = one.second;
    if (active.fault.kind != FaultKind::partition) return false;
    const bool sends = active.nodes.contains(from), hears = active.nodes.contains(to);
    return active.fault.one_way ? sends && !hears : sends != hears;
  });
}

template <class Concerns>
Duration Faults::longest(FaultKind kind, Concerns&& concerns) const {
  Duration out{};
  for (const auto& [id, active] : active_)
    if (active.fault.kind == kind && concerns(active.nodes)) out = std::max(out, active.fault.by);
  return out;
}

Duration Faults::delay(const PeerId& from, const PeerId& to) const {
  return longest(FaultKind::delay,
                 [&](const auto& nodes) { return nodes.contains(from) || nodes.contains(to); });
}

Duration Faults::disk_delay(const PeerId& node) const {
  return longest(FaultKind::slow_disk, [&](const auto& nodes) { return nodes.contains(node); });
}

Task<Status> Faults::pass(PeerId from, PeerId to) {
  while (separated(from, to) || paused(from) || paused(to)) CO_TRY_STATUS(changed_.wait());
  co_return Status{};
}

Task<Status> Faults::awake(PeerId node) {
  while (paused(node)) CO_TRY_STATUS(changed_.wait());
  co_return Status{};
}

std::shared_ptr<const std::atomic<bool>> Faults::pause_flag(const PeerId& node) {
  auto& flag = flags_[node];
  if (!flag) flag = std::make_shared<std::atomic<bool>>(paused(node));
  return flag;
}

}  // namespace tau::testnet
