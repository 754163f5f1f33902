#include "crdt/walk.h"

#include <algorithm>
#include <set>

#include "codec/record.h"

namespace tau::crdt {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kFetchersMax = 8;
constexpr Duration kFetchLimit = 10s;
constexpr std::size_t kAppliedAtOnce = 64;
// While nobody is connected; what is announced later is walked anew.
constexpr Duration kTryAgain = 500ms;
constexpr unsigned kTriesMax = 20;

struct PendingRow {
  WireLink link;
  PeerId from;
  static constexpr auto fields() {
    return std::tuple{codec::field("link", &PendingRow::link),
                      codec::field("from", &PendingRow::from)};
  }
};

std::string pending_key(const codec::Cid& cid) { return "p/" + cid.to_string(); }

// What a delta stands on: its parents, and its writer's delta before it.
std::vector<Link> ground_of(const SealedDelta& sealed) {
  std::vector<Link> out = sealed.delta.parents;
  if (!sealed.delta.previous) return out;
  Dot dot = sealed.delta.dot();
  --dot.number;
  const Link previous{*sealed.delta.previous, std::move(dot)};
  if (std::ranges::none_of(out, [&](const Link& l) { return l.cid == previous.cid; }))
    out.push_back(previous);
  return out;
}

}  // namespace

Walk::Walk(Parts parts) : parts_(std::move(parts)), work_(parts_.loop), tasks_(parts_.loop) {}

Task<Status> Walk::start() {
  CO_TRY(const auto rows, parts_.state.kv().scan("p/", "", 2 * kPendingMax));
  Inline none;
  for (const auto& row : rows) {
    CO_TRY_SYNC(const auto pending, codec::from_cbor<PendingRow>(row.value));
    CO_TRY_SYNC(const auto links, links_from({pending.link}, 1));
    if (parts_.state.known(links[0]) || pending_.size() >= kPendingMax) {
      garbage_.push_back(links[0]);
      continue;
    }
    want(links[0], pending.from, none);
    if (const auto it = pending_.find(links[0].cid); it != pending_.end()) it->second.row = true;
  }
  for (std::size_t i = 0; i < kFetchersMax; ++i) tasks_.spawn(fetch_all());
  tasks_.spawn(apply_all());
  co_return Status{};
}

Task<void> Walk::stop() { co_await tasks_.stop(); }

void Walk::hear(PeerId from, std::vector<Link> heads, std::vector<Bytes> blocks) {
  Inline given;
  for (auto& block : blocks) {
    const auto cid = codec::Cid::of(codec::ContentType::dag_cbor, block);
    given.emplace(cid, std::move(block));
  }
  for (const auto& head : heads) want(head, from, given);
  work_.notify_all();
}

void Walk::want(const Link& link, const PeerId& from, Inline& blocks) {
  if (parts_.state.known(link) || pending_.contains(link.cid)) return;
  if (pending_.size() >= kPendingMax) return give_up(from);
  pending_.emplace(link.cid, Pending{link, from, std::nullopt});
  const auto node = blocks.extract(link.cid);
  if (!node) {
    to_fetch_.push_back(link.cid);
    return;
  }
  auto opened = parts_.reader.open(link.cid, std::move(node.mapped()));
  if (opened) return arrive(link.cid, std::move(*opened), false, blocks);
  ++counters_.refused;
  drop(link.cid);
}

// Calls itself through want() for deltas that came inline, kAnnouncedBlocksMax deep at most.
void Walk::arrive(const codec::Cid& cid, SealedDelta delta, bool stored, Inline& blocks) {
  const auto ground = ground_of(delta);
  {
    Pending& pending = pending_.at(cid);
    bytes_ += delta.block.size();
    pending.arrived.emplace(
        Arrived{.delta = std::move(delta), .stored = stored, .pending = pending.row});
  }
  const PeerId from = pending_.at(cid).from;
  if (bytes_ > kPendingBytesMax) return give_up(from);
  for (const auto& link : ground) {
    if (parts_.state.known(link)) continue;
    want(link, from, blocks);
    const auto child = pending_.find(cid), parent = pending_.find(link.cid);
    if (child == pending_.end()) return;  // the walk was given up, or the parent was refused
    if (parent == pending_.end()) {
      if (!parts_.state.known(link)) return drop(cid);
      continue;
    }
    parent->second.children.push_back(cid);
    ++child->second.waits_for;
  }
  if (pending_.at(cid).waits_for == 0) ready_.push_back(cid);
}

// With all that stands on it.
void Walk::drop(const codec::Cid& cid) {
  std::vector<codec::Cid> todo = {cid};
  while (!todo.empty()) {
    const auto node = pending_.extract(todo.back());
    todo.pop_back();
    if (!node) continue;
    const Pending& gone = node.mapped();
    if (gone.arrived) bytes_ -= gone.arrived->delta.block.size();
    if (gone.row) garbage_.push_back(gone.link);
    todo.insert(todo.end(), gone.children.begin(), gone.children.end());
  }
  work_.notify_all();
}

void Walk::give_up(const PeerId& from) {
  ++counters_.given_up;
  std::vector<codec::Cid> theirs;
  for (const auto& [cid, pending] : pending_)
    if (pending.from == from) theirs.push_back(cid);
  for (const auto& cid : theirs) drop(cid);
  parts_.ask(from);
}

void Walk::settled(const codec::Cid& cid) {
  const auto node = pending_.extract(cid);
  if (!node) return;
  if (node.mapped().arrived) bytes_ -= node.mapped().arrived->delta.block.size();
  for (const auto& child : node.mapped().children) {
    const auto it = pending_.find(child);
    if (it != pending_.end() && --it->second.waits_for == 0) ready_.push_back(child);
  }
}

void Walk::review() {
  std::vector<codec::Cid> here;
  for (const auto& [cid, pending] : pending_)
    if (parts_.state.known(pending.link)) here.push_back(cid);
  for (const auto& cid : here) {
    const Pending& pending = pending_.at(cid);
    if (pending.row) garbage_.push_back(pending.link);
    settled(cid);
  }
  work_.notify_all();
}

Task<void> Walk::fetch_all() {
  for (;;) {
    if (to_fetch_.empty()) {
      if (!co_await work_.wait()) co_return;
      continue;
    }
    const codec::Cid cid = to_fetch_.front();
    to_fetch_.pop_front();
    auto it = pending_.find(cid);
    if (it == pending_.end() || it->second.arrived) continue;
    const PeerId from = it->second.from;
    if (!std::exchange(it->second.row, true)) {
      store::Batch batch;
      batch.put(pending_key(cid), codec::to_cbor(PendingRow{wire_link(it->second.link), from}));
      if (!co_await parts_.state.kv().write(std::move(batch), store::Durability::buffered)) {
        drop(cid);
        continue;
      }
    }
    auto block = co_await parts_.exchange.get(cid, {.hints = {from}, .deadline = kFetchLimit});
    if (!block && block.error().code() == ErrorCode::cancelled) co_return;
    it = pending_.find(cid);
    if (it == pending_.end() || it->second.arrived) continue;
    if (parts_.state.known(it->second.link)) {
      // A pull was quicker.
      garbage_.push_back(it->second.link);
      settled(cid);
      work_.notify_all();
      continue;
    }
    if (!block && block.error().code() == ErrorCode::unavailable &&
        ++it->second.tries < kTriesMax) {
      // Nobody is connected: this node has just started, or is cut off.
      to_fetch_.push_back(cid);
      if (!co_await runtime::sleep_for(kTryAgain)) co_return;
      continue;
    }
    auto opened = block ? parts_.reader.open(cid, std::move(*block)) : fail(block.error());
    if (!opened) {
      block ? ++counters_.refused : ++counters_.given_up;
      drop(cid);
      parts_.ask(from);
      continue;
    }
    ++counters_.fetched;
    Inline none;
    arrive(cid, std::move(*opened), true, none);
    work_.notify_all();
  }
}

Task<void> Walk::apply_all() {
  for (;;) {
    if (!garbage_.empty()) co_await clean();
    if (ready_.empty()) {
      if (!co_await work_.wait()) co_return;
      continue;
    }
    std::vector<Arrived> group;
    std::vector<codec::Cid> cids;
    while (!ready_.empty() && group.size() < kAppliedAtOnce) {
      const auto it = pending_.find(ready_.front());
      ready_.pop_front();
      if (it == pending_.end() || !it->second.arrived) continue;
      cids.push_back(it->first);
      group.push_back(*it->second.arrived);
    }
    if (group.empty()) continue;
    const auto applied = co_await parts_.apply(std::move(group));
    if (!applied && applied.error().code() == ErrorCode::cancelled) co_return;
    for (const auto& cid : cids) {
      if (applied) {
        settled(cid);
      } else {
        drop(cid);
      }
    }
  }
}

// Rows of what is no longer pending, and blocks that were fetched for nothing.
Task<void> Walk::clean() {
  const auto garbage = std::exchange(garbage_, {});
  store::Batch batch;
  for (const auto& link : garbage) {
    if (pending_.contains(link.cid)) continue;
    if (!parts_.state.known(link)) (void)co_await parts_.state.blocks().erase(link.cid);
    batch.erase(pending_key(link.cid));
  }
  if (!batch.operations.empty())
    (void)co_await parts_.state.kv().write(std::move(batch), store::Durability::buffered);
}

}  // namespace tau::crdt
