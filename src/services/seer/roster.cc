#include "services/seer/roster.h"

#include <algorithm>

namespace tau::seer {
namespace {

using namespace std::chrono_literals;

// Changes of so long are one delta: so a seer makes at most twenty a second, whatever happens.
constexpr Duration kGather = 50ms;
constexpr std::size_t kBatchRowsMax = 500;
constexpr std::size_t kBatchBytesMax = 256u << 10;  // half of what a write may have
constexpr Duration kAgain = 1s;                     // after a write that failed, or had to wait
// Rows of one node: four at once, then one in five seconds; the latest is what is written.
constexpr double kPaceBurst = 4, kPacePerSecond = 0.2;
// A seer that has just started waits for nodes to find it; two of their reports and a dial.
constexpr Duration kRemember = 5s;
// Rows of a seer that was not there for so long are erased by another one.
constexpr Duration kTidyEvery = 10min, kGoneAfter = 15min;
constexpr std::size_t kPage = 200;
// Ten minutes of a network of a thousand nodes, hours of a usual one: a seer that was away for
// longer takes a snapshot.
constexpr crdt::HistoryLimits kHistory{.deltas_max = 2048, .bytes_max = 8u << 20};

struct Key {
  PeerId node, seer;
};
std::optional<Key> parse(const std::string& key) {
  const auto slash = key.find('/');
  if (slash == key.npos || slash == 0 || slash + 1 == key.size()) return std::nullopt;
  return Key{PeerId(key.substr(0, slash)), PeerId(key.substr(slash + 1))};
}
std::string key_of(const PeerId& node, const PeerId& seer) { return node.str() + '/' + seer.str(); }

Task<Status> until_work(runtime::Signal& signal) { co_return co_await signal.wait(); }

}  // namespace

Roster::Roster(Parts parts, Nodes& nodes, Logger log)
    : loop_(parts.loop),
      host_(parts.host),
      admission_(parts.admission),
      nodes_(nodes),
      log_(log),
      self_(parts.identity.id()),
      map_(parts.loop, parts.host, parts.exchange, parts.kv, parts.identity, parts.admission,
           parts.random,
           {.name = std::string(kRosterMap), .writers = std::string(kRole), .history = kHistory},
           std::move(log)),
      work_(parts.loop),
      tasks_(parts.loop) {}

Task<Status> Roster::start() {
  nodes_.remember_until(loop_.now() + kRemember);
  CO_TRY_STATUS(map_.start());
  changes_ = map_.subscribe(
      "", [this](const crdt::Change& change) { see(change.key, change.value, Since::just_now); });
  CO_TRY_STATUS(read_all());
  tasks_.spawn(keep_writing());
  tasks_.spawn(end_remembering());
  tasks_.spawn(keep_tidy());
  co_return Status{};
}

Task<void> Roster::stop() {
  changes_.reset();
  co_await tasks_.stop();
  co_await map_.stop();
}

Task<Status> Roster::read_all() {
  std::string after;
  for (;;) {
    CO_TRY(const auto rows, map_.list("", after, kPage));
    for (const auto& row : rows) see(row.key, row.value, Since::before_the_start);
    if (rows.size() < kPage) co_return Status{};
    after = rows.back().key;
    CO_TRY_STATUS(runtime::yield());
  }
}

void Roster::see(const std::string& key, const std::optional<Bytes>& value, Since since) {
  const auto names = parse(key);
  if (!names) return;  // of a seer that lies; tidy() takes it away
  const bool own = names->seer == self_, kept = since == Since::before_the_start;
  if (own) {
    see_own(names->node, value);
    if (!kept) changed(names->node);  // somebody else may have written or erased it
  }
  if (!value) return nodes_.unwitness(names->seer, names->node);
  if (own && !kept) return;  // what was just written here is heard here
  const std::int64_t wall = loop_.wall_unix_ms();
  StatusPtr status = nodes_.known(names->node, *value);
  if (!status) {
    auto checked = check_passed_on(admission_, *value, wall);
    if (!checked || (*checked)->peer() != names->node) {
      if (log_.enabled(LogLevel::debug))
        log_.debug("what " + names->seer.str() + " says of " + names->node.str() +
                   " is refused: " + (checked ? "another signed it" : checked.error().message()));
      return nodes_.unwitness(names->seer, names->node);
    }
    status = *std::move(checked);
  }
  if (!is_recent(*status, wall)) return nodes_.unwitness(names->seer, names->node);
  // What was kept is as old as its signature, at most.
  const Duration age =
      std::chrono::milliseconds(std::max<std::int64_t>(wall - status->status.made_unix_ms, 0));
  const auto taken = kept ? nodes_.remember(names->seer, std::move(status), loop_.now() - age)
                          : nodes_.witness(names->seer, std::move(status), loop_.now());
  if (!taken) log_.debug(taken.error().message());
}

void Roster::see_own(const PeerId& node, const std::optional<Bytes>& value) {
  if (!value) {
    written_.erase(node);
  } else {
    Count count;
    if (const auto item = codec::from_cbor<p2p::NodeSigned>(*value))
      if (const auto status = codec::from_cbor<NodeStatus>(item->record.body))
        count = {status->life_unix_ms, status->number};
    written_.insert_or_assign(node, count);
  }
}

void Roster::changed(const PeerId& node) {
  changed_.insert(node);
  work_.notify_all();
}

bool Roster::may_write(const PeerId& node, TimePoint now) {
  Pace& pace = paces_.try_emplace(node, Pace{kPaceBurst, now}).first->second;
  const double seconds = std::chrono::duration<double>(now - pace.at).count();
  pace.left = std::min(kPaceBurst, pace.left + seconds * kPacePerSecond);
  pace.at = now;
  if (pace.left < 1) return false;
  pace.left -= 1;
  return true;
}

// What differs from this seer's rows; what may not be written yet stays in `changed_`. An erasure
// waits for nothing: there are no more of them than of writes.
store::Batch Roster::take_changes(TimePoint now) {
  store::Batch batch;
  std::size_t bytes = 0;
  for (auto it = changed_.begin(); it != changed_.end();) {
    if (batch.operations.size() >= kBatchRowsMax || bytes > kBatchBytesMax) break;
    const PeerId& node = *it;
    const StatusPtr here = nodes_.heard_here(node, now);
    const auto row = written_.find(node);
    if (here && !(row != written_.end() && row->second == here->count())) {
      if (!may_write(node, now)) {
        ++it;
        continue;
      }
      bytes += here->raw.size();
      batch.put(key_of(node, self_), here->raw);
    } else if (!here && row != written_.end()) {
      batch.erase(key_of(node, self_));
    }
    it = changed_.erase(it);
  }
  return batch;
}

Task<void> Roster::keep_writing() {
  for (;;) {
    if (changed_.empty()) {
      if (!co_await work_.wait()) co_return;
      continue;
    }
    if (!co_await runtime::sleep_for(kGather)) co_return;
    store::Batch batch = take_changes(loop_.now());
    if (batch.operations.empty()) {
      if (changed_.empty()) continue;
      const auto woken = co_await runtime::with_deadline(kAgain, "waiting", until_work(work_));
      if (!woken && woken.error().code() != ErrorCode::deadline_exceeded) co_return;
      if (!woken) work_.notify_all();  // forgets the wait that was given up
      continue;
    }
    std::vector<PeerId> nodes;
    for (const auto& operation : batch.operations) nodes.push_back(parse(operation.key)->node);
    const auto written = co_await map_.write(std::move(batch));
    if (written) continue;
    log_.warning("telling other seers: " + written.error().to_string());
    changed_.insert(nodes.begin(), nodes.end());
    if (!co_await runtime::sleep_for(kAgain)) co_return;
  }
}

// From here on only what was heard since the start is this seer's to say. Earlier, what it wrote in
// its life before stands unless something happens to the node.
Task<void> Roster::end_remembering() {
  if (!co_await runtime::sleep_for(kRemember)) co_return;
  for (const auto& [node, count] : written_) changed_.insert(node);
  work_.notify_all();
}

// The first of those that are connected: so one of them does it, as a rule.
bool Roster::has_the_duty() const {
  bool first = true;
  host_.each_peer([&](const PeerId& peer, const p2p::Certificate& certificate) {
    if (peer < self_ && certificate.has_role(kRole)) first = false;
  });
  return first;
}

Task<void> Roster::keep_tidy() {
  while (co_await runtime::sleep_for(kTidyEvery)) {
    const TimePoint now = loop_.now();
    std::erase_if(paces_, [&](const auto& item) { return now - item.second.at > kTidyEvery; });
    std::set<PeerId> gone;
    for (auto& [seer, since] : missed_) {
      const auto certificate = host_.certificate_of(seer);
      if (certificate && certificate->has_role(kRole)) {
        since = now;
      } else if (now - since > kGoneAfter) {
        gone.insert(seer);
      }
    }
    if (!has_the_duty()) continue;
    const auto done = co_await tidy(gone);
    if (!done && done.error().code() == ErrorCode::cancelled) co_return;
    if (!done) log_.warning("tidying what seers share: " + done.error().to_string());
  }
}

// Rows of seers that are gone, and what is no row.
Task<Status> Roster::tidy(const std::set<PeerId>& gone) {
  std::string after;
  for (;;) {
    CO_TRY(const auto rows, map_.list("", after, kPage));
    store::Batch batch;
    for (const auto& row : rows) {
      const auto names = parse(row.key);
      if (names && names->seer != self_) missed_.try_emplace(names->seer, loop_.now());
      if (!names || gone.contains(names->seer)) batch.erase(row.key);
    }
    CO_TRY_STATUS(map_.write(std::move(batch)));
    if (rows.size() < kPage) break;
    after = rows.back().key;
  }
  for (const PeerId& seer : gone) missed_.erase(seer);
  co_return Status{};
}

}  // namespace tau::seer
