#include "consensus/disk.h"

#include <algorithm>
#include <cstdio>

namespace tau::consensus {
namespace {

constexpr std::string_view kStateKey = "state";
constexpr std::string_view kSnapshotKey = "snapshot";
constexpr std::string_view kRemovedKey = "removed";
constexpr std::string_view kLogPrefix = "log/";
constexpr std::string_view kChunkPrefix = "chunk/";
constexpr std::size_t kChunkSize = 1u << 20;
// What waits together goes to disk together, up to here; a quarter of what the store takes at once.
constexpr std::size_t kGroupSizeMax = 16u << 20;
constexpr std::uint16_t kChange = 3;  // RAFT_CHANGE
constexpr std::size_t kPage = 64;     // entries of one read: at most 3 MiB

struct State {
  std::uint64_t term = 0, vote = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("term", &State::term), codec::field("vote", &State::vote)};
  }
};

std::string hex16(std::uint64_t n) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(n));
  return text;
}
std::string log_key(std::uint64_t index) { return std::string(kLogPrefix) + hex16(index); }
std::string chunk_key(std::uint64_t index, std::uint64_t number) {
  return "chunk/" + hex16(index) + "/" + hex16(number);
}
std::unexpected<Error> broken(const std::string& what) {
  return fail(ErrorCode::data_loss, "the log on disk is broken: " + what +
                                        "; restore this node's data, or remove it if the group "
                                        "has other members");
}

}  // namespace

Task<Status> Disk::load_log(Loaded& loaded) {
  std::string after;
  std::uint64_t expected = 0;
  for (;;) {
    CO_TRY(const auto page, kv_.scan(std::string(kLogPrefix), after, kPage));
    for (const auto& [key, value] : page) {
      if (expected == 0) {
        char* end = nullptr;
        expected = std::strtoull(key.c_str() + kLogPrefix.size(), &end, 16);
        loaded.first_index = expected;
      }
      if (key != log_key(expected)) co_return broken("no entry " + std::to_string(expected));
      auto entry = codec::from_cbor<LogEntry>(value);
      if (!entry)
        co_return broken("entry " + std::to_string(expected) + ": " + entry.error().message());
      loaded.entries.push_back(*std::move(entry));
      ++expected;
      after = key;
    }
    if (page.size() < kPage) co_return Status{};
  }
}

// The mark goes last: what is cut short is done again at the next start.
Task<Status> Disk::forget_if_removed() {
  CO_TRY(const auto mark, kv_.get(std::string(kRemovedKey)));
  if (!mark) co_return Status{};
  for (const std::string_view prefix : {kLogPrefix, kChunkPrefix}) {
    std::string after;
    for (;;) {
      CO_TRY(const auto page, kv_.scan(std::string(prefix), after, kPage));
      store::Batch batch;
      for (const auto& [key, value] : page) {
        batch.erase(key);
        after = key;
      }
      if (!page.empty()) CO_TRY_STATUS(kv_.write(std::move(batch), store::Durability::buffered));
      if (page.size() < kPage) break;
    }
  }
  store::Batch last;
  last.erase(std::string(kSnapshotKey));
  last.erase(std::string(kRemovedKey));
  co_return co_await kv_.write(std::move(last), store::Durability::synced);
}

Task<Result<Disk::Loaded>> Disk::load() {
  CO_TRY_STATUS(forget_if_removed());
  Loaded loaded;
  CO_TRY(const auto state_bytes, kv_.get(std::string(kStateKey)));
  if (state_bytes) {
    auto state = codec::from_cbor<State>(*state_bytes);
    if (!state) co_return broken("term and vote: " + state.error().message());
    loaded.term = state->term;
    loaded.vote = state->vote;
  }
  CO_TRY(const auto snapshot_bytes, kv_.get(std::string(kSnapshotKey)));
  if (snapshot_bytes) {
    auto snapshot = codec::from_cbor<StoredSnapshot>(*snapshot_bytes);
    if (!snapshot) co_return broken("snapshot: " + snapshot.error().message());
    CO_TRY(loaded.snapshot_data, read_snapshot(*snapshot));
    loaded.snapshot = *std::move(snapshot);
    loaded.first_index = loaded.snapshot->index + 1;
  }
  CO_TRY_STATUS(load_log(loaded));
  const std::uint64_t applied = loaded.snapshot ? loaded.snapshot->index : 0;
  if (loaded.first_index > applied + 1)
    co_return broken("entries begin at " + std::to_string(loaded.first_index) +
                     ", the snapshot ends at " + std::to_string(applied));
  if (!loaded.entries.empty() && loaded.term == 0) co_return broken("entries without a term");
  snapshot_ = loaded.snapshot;
  first_ = loaded.first_index;
  next_ = loaded.first_index + loaded.entries.size();
  if (next_ <= applied) co_return broken("the log ends before its snapshot");
  terms_.clear();
  changes_.clear();
  for (std::size_t i = 0; i < loaded.entries.size(); ++i) {
    terms_.push_back(loaded.entries[i].term);
    if (loaded.entries[i].type == kChange) changes_.push_back(first_ + i);
  }
  co_return loaded;
}

Task<Status> Disk::bootstrap(LogEntry servers) {
  store::Batch batch;
  batch.put(std::string(kStateKey), codec::to_cbor(State{1, 0}));
  batch.put(log_key(1), codec::to_cbor(servers));
  co_return co_await kv_.write(std::move(batch), store::Durability::synced);
}

Task<Result<Bytes>> Disk::read_snapshot(StoredSnapshot snapshot) {
  Bytes data;
  for (std::uint64_t i = 0; i < snapshot.chunks; ++i) {
    CO_TRY(const auto chunk, kv_.get(chunk_key(snapshot.index, i)));
    if (!chunk) co_return broken("chunk " + std::to_string(i) + " of the snapshot is missing");
    data.insert(data.end(), chunk->begin(), chunk->end());
  }
  if (data.size() != snapshot.bytes) co_return broken("the snapshot has another size");
  co_return data;
}

std::uint64_t Disk::enqueue(store::Batch batch, Done done) {
  std::size_t bytes = 0;
  for (const auto& o : batch.operations) bytes += o.key.size() + (o.value ? o.value->size() : 0);
  queue_.push_back({std::move(batch), bytes, std::move(done)});
  changed_.notify_all();
  return ++queued_;
}

std::uint64_t Disk::put_state(std::uint64_t term, std::uint64_t vote, Done done) {
  store::Batch batch;
  batch.put(std::string(kStateKey), codec::to_cbor(State{term, vote}));
  return enqueue(std::move(batch), std::move(done));
}

std::uint64_t Disk::append(std::vector<LogEntry> entries, Done done) {
  store::Batch batch;
  for (const auto& entry : entries) {
    terms_.push_back(entry.term);
    if (entry.type == kChange) changes_.push_back(next_);
    batch.put(log_key(next_++), codec::to_cbor(entry));
  }
  return enqueue(std::move(batch), std::move(done));
}

std::uint64_t Disk::truncate(std::uint64_t from_index) {
  store::Batch batch;
  for (std::uint64_t i = from_index; i < next_; ++i) batch.erase(log_key(i));
  forget_from(from_index);
  next_ = std::min(next_, from_index);
  first_ = std::min(first_, next_);
  return enqueue(std::move(batch), nullptr);
}

std::uint64_t Disk::put_removed(Done done) {
  store::Batch batch;
  batch.put(std::string(kRemovedKey), Bytes{1});
  return enqueue(std::move(batch), std::move(done));
}

std::uint64_t Disk::put_snapshot(StoredSnapshot snapshot, BytesView data, std::uint64_t keep,
                                 Done done) {
  snapshot.bytes = data.size();
  snapshot.chunks = (data.size() + kChunkSize - 1) / kChunkSize;
  for (std::uint64_t i = 0; i < snapshot.chunks; ++i) {
    store::Batch chunk;
    chunk.put(
        chunk_key(snapshot.index, i),
        to_bytes(data.subspan(i * kChunkSize, std::min(kChunkSize, data.size() - i * kChunkSize))));
    enqueue(std::move(chunk), nullptr);
  }
  // One batch makes the new snapshot the one that counts and lets go of what it replaces.
  store::Batch batch;
  batch.put(std::string(kSnapshotKey), codec::to_cbor(snapshot));
  if (snapshot_ && snapshot_->index != snapshot.index) {
    for (std::uint64_t i = 0; i < snapshot_->chunks; ++i)
      batch.erase(chunk_key(snapshot_->index, i));
  }
  std::uint64_t first = first_;
  if (keep == 0) {
    first = next_;
  } else if (snapshot.index > keep) {
    first = std::clamp(snapshot.index - keep + 1, first_, next_);
  }
  for (std::uint64_t i = first_; i < first; ++i) batch.erase(log_key(i));
  forget_before(first);
  first_ = first;
  if (keep == 0) first_ = next_ = snapshot.index + 1;
  snapshot_ = snapshot;
  return enqueue(std::move(batch), std::move(done));
}

void Disk::forget_before(std::uint64_t index) {
  for (std::uint64_t i = first_; i < index && !terms_.empty(); ++i) terms_.pop_front();
  while (!changes_.empty() && changes_.front() < index) changes_.pop_front();
}

void Disk::forget_from(std::uint64_t index) {
  const std::uint64_t kept = index > first_ ? index - first_ : 0;
  while (terms_.size() > kept) terms_.pop_back();
  while (!changes_.empty() && changes_.back() >= index) changes_.pop_back();
}

Task<Status> Disk::flush() {
  const std::uint64_t ticket = queued_;
  while (status_ && written_ < ticket && !closing_) CO_TRY_STATUS(changed_.wait());
  co_return status_;
}

void Disk::close() {
  closing_ = true;
  changed_.notify_all();
}

Task<void> Disk::run() {
  for (;;) {
    while (queue_.empty() && !closing_) {
      if (!co_await changed_.wait()) co_return;
    }
    if (queue_.empty()) co_return;
    store::Batch batch;
    std::vector<Done> done;
    std::size_t bytes = 0;
    do {
      Write write = std::move(queue_.front());
      queue_.pop_front();
      bytes += write.bytes;
      for (auto& o : write.batch.operations) batch.operations.push_back(std::move(o));
      done.push_back(std::move(write.done));
    } while (!queue_.empty() && bytes + queue_.front().bytes <= kGroupSizeMax);
    if (status_ && !batch.operations.empty())
      status_ = co_await kv_.write(std::move(batch), store::Durability::synced);
    for (auto& callback : done) {
      if (status_) ++written_;
      if (callback) callback(status_);
    }
    changed_.notify_all();  // whoever flushes
  }
}

}  // namespace tau::consensus
