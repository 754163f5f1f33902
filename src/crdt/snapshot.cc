#include "crdt/snapshot.h"

#include <algorithm>

#include "codec/record.h"

namespace tau::crdt {
namespace {

// Beside one value of the largest size it stays far below the 2 MiB of a block.
constexpr std::size_t kChunkTarget = 256u << 10;
constexpr std::size_t kPage = 128;
// Entries that are written at once: bounds memory, and how long the loop is held.
constexpr std::size_t kMergedAtOnce = 256;

std::string offer_key(const codec::Cid& cid) { return "o/" + cid.to_string(); }

Task<Status> keep(const State& state, Offered& offered, Bytes data) {
  const auto cid = codec::Cid::of(codec::ContentType::dag_cbor, data);
  store::Batch batch;
  batch.put(offer_key(cid), {});
  CO_TRY_STATUS(state.kv().write(std::move(batch), store::Durability::buffered));
  offered.blocks.push_back(cid);
  std::vector<store::Block> blocks;
  blocks.push_back({cid, std::move(data)});
  co_return co_await state.blocks().put(std::move(blocks), store::Durability::buffered);
}

// The rows of a snapshot in order, one chunk in memory.
class Rows {
 public:
  Rows(const State& state, const std::vector<codec::Cid>& chunks)
      : state_(state), chunks_(chunks) {}
  // The next key's versions; no key at the end.
  Task<Result<std::optional<std::pair<std::string, Entry>>>> next() {
    std::optional<std::pair<std::string, Entry>> out;
    for (;;) {
      if (at_ == rows_.size()) {
        if (chunk_ == chunks_.size()) co_return out;
        CO_TRY_STATUS(runtime::yield());
        CO_TRY(const auto data, state_.blocks().get(chunks_[chunk_++]));
        if (!data) co_return fail(ErrorCode::not_found, "a chunk of the snapshot is not here");
        CO_TRY_SYNC(rows_, decode_chunk(*data));
        at_ = 0;
        if (!rows_.empty() && rows_.front().key < last_)
          co_return fail(ErrorCode::invalid_argument, "the snapshot's chunks are not in order");
        continue;
      }
      if (out && rows_[at_].key != out->first) co_return out;
      if (!out) out.emplace(rows_[at_].key, Entry());
      last_ = rows_[at_].key;
      if (!out->second.add(std::move(rows_[at_++].version)))
        co_return fail(ErrorCode::invalid_argument, "the snapshot has a version twice");
    }
  }

 private:
  const State& state_;
  const std::vector<codec::Cid>& chunks_;
  std::size_t chunk_ = 0, at_ = 0;
  std::vector<SnapshotRow> rows_;
  std::string last_;
};

// What this replica keeps, in order, a page in memory.
class Own {
 public:
  explicit Own(const State& state) : state_(state) {}
  Task<Result<std::optional<std::pair<std::string, Entry>>>> next() {
    std::optional<std::pair<std::string, Entry>> out;
    if (at_ == page_.size()) {
      if (end_) co_return out;
      CO_TRY_STATUS(runtime::yield());
      CO_TRY(page_, state_.entries(after_, kPage));
      end_ = page_.size() < kPage;
      at_ = 0;
      if (page_.empty()) co_return out;
      after_ = page_.back().first;
    }
    out = std::move(page_[at_++]);
    co_return out;
  }

 private:
  const State& state_;
  std::vector<std::pair<std::string, Entry>> page_;
  std::size_t at_ = 0;
  bool end_ = false;
  std::string after_;
};

Entry join(const Entry& mine, const Context& my_context, const Entry& theirs,
           const Context& their_context) {
  Entry out;
  for (const auto& version : mine.versions())
    if (theirs.has(version.dot) || !their_context.covers(version.dot)) out.add(version);
  for (const auto& version : theirs.versions())
    if (mine.has(version.dot) || !my_context.covers(version.dot)) out.add(version);
  return out;
}

Task<Status> write_out(State& state, State::Transaction& t, store::Durability durability,
                       const OnChanges& on_changes) {
  State::Transaction full = std::exchange(t, State::Transaction(state));
  CO_TRY(const auto changes, state.commit(std::move(full), durability));
  on_changes(changes);
  t = State::Transaction(state);
  co_return Status{};
}

}  // namespace

Task<Result<Offered>> build_snapshot(const State& state, std::string map) {
  Offered offered;
  offered.context = state.context();
  SnapshotRoot root{
      .map = std::move(map), .context = wire_context(state.context()), .heads = {}, .chunks = {}};
  for (const auto& head : state.heads()) root.heads.push_back(wire_head(head));
  std::vector<SnapshotRow> rows;
  std::size_t bytes = 0;
  Own own(state);
  for (bool end = false; !end;) {
    CO_TRY(auto entry, own.next());
    end = !entry;
    if (entry) {
      for (const auto& version : entry->second.versions()) {
        bytes += entry->first.size() + version.value.size() + 64;
        rows.push_back({entry->first, version});
        if (bytes < kChunkTarget) continue;
        CO_TRY_STATUS(keep(state, offered, encode_chunk(rows)));
        root.chunks.push_back(offered.blocks.back());
        rows.clear();
        bytes = 0;
      }
    }
  }
  if (!rows.empty()) {
    CO_TRY_STATUS(keep(state, offered, encode_chunk(rows)));
    root.chunks.push_back(offered.blocks.back());
  }
  CO_TRY_STATUS(keep(state, offered, codec::to_cbor(root)));
  offered.root = offered.blocks.back();
  co_return offered;
}

Task<Status> erase_snapshot(const State& state, std::vector<codec::Cid> blocks) {
  store::Batch batch;
  for (const auto& cid : blocks) {
    CO_TRY_STATUS(state.blocks().erase(cid));
    batch.erase(offer_key(cid));
  }
  co_return co_await state.kv().write(std::move(batch), store::Durability::buffered);
}

Task<Result<SnapshotRoot>> check_snapshot(const State& state, codec::Cid root, std::string map) {
  CO_TRY(const auto data, state.blocks().get(root));
  if (!data) co_return fail(ErrorCode::not_found, "the snapshot's root is not here");
  CO_TRY_SYNC(SnapshotRoot decoded, decode_snapshot_root(*data));
  if (decoded.map != map)
    co_return fail(ErrorCode::invalid_argument, "a snapshot of another map was offered");
  CO_TRY_SYNC(const Context context, context_from(decoded.context));
  Rows rows(state, decoded.chunks);
  for (;;) {
    CO_TRY(const auto entry, rows.next());
    if (!entry) break;
    for (const auto& version : entry->second.versions())
      if (!context.covers(version.dot))
        co_return fail(ErrorCode::invalid_argument, "a snapshot has what it does not cover");
  }
  co_return decoded;
}

Task<Status> merge_snapshot(State& state, const SnapshotRoot& root, const OnChanges& on_changes) {
  CO_TRY_SYNC(const Context theirs, context_from(root.context));
  CO_TRY_SYNC(auto heads, heads_from(root.heads));
  const Context mine = state.context();
  Rows rows(state, root.chunks);
  Own own(state);
  State::Transaction t(state);
  CO_TRY(auto b, rows.next());
  CO_TRY(auto a, own.next());
  while (a || b) {
    const bool take_a = a && (!b || a->first <= b->first);
    const bool take_b = b && (!a || b->first <= a->first);
    const std::string key = take_a ? a->first : b->first;
    Entry joined = join(take_a ? a->second : Entry(), mine, take_b ? b->second : Entry(), theirs);
    if (!take_a || joined != a->second) {
      if (take_a || !joined.empty()) CO_TRY_STATUS(t.replace(key, std::move(joined)));
    }
    if (t.entries() >= kMergedAtOnce)
      CO_TRY_STATUS(write_out(state, t, store::Durability::buffered, on_changes));
    if (take_b) {
      CO_TRY(b, rows.next());
    }
    if (take_a) {
      CO_TRY(a, own.next());
    }
  }
  t.adopt(theirs, std::move(heads));
  t.put_row("s", std::nullopt);
  co_return co_await write_out(state, t, store::Durability::synced, on_changes);
}

}  // namespace tau::crdt
