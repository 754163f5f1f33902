// Disk: what a member of a group must never forget, in a store::Kv of its own.
//
//   state                     term and vote
//   log/<index, 16 hex>       one entry
//   snapshot                  which snapshot counts, and how many chunks it has
//   removed                   the group goes on without this member: all but term and vote is void
//   chunk/<index>/<number>    its bytes
//
// libraft says "write" and goes on; the writes wait in one queue here, are put on disk in that
// order (those that wait together share one fsync), and their callbacks follow in that order. What
// must not leave the node before it is durable waits for `written()`. After an error of the store
// nothing more is written until the group is started again: an order with a hole would be a lie.
//
// Loop thread only. run() is the writer; the owner keeps it in a TaskGroup and calls close() first.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "consensus/wire.h"
#include "runtime/channel.h"
#include "store/kv.h"

namespace tau::consensus {

struct StoredSnapshot {
  std::uint64_t index = 0, term = 0, servers_index = 0, chunks = 0, bytes = 0;
  std::vector<Server> servers;
  static constexpr auto fields() {
    return std::tuple{codec::field("index", &StoredSnapshot::index),
                      codec::field("term", &StoredSnapshot::term),
                      codec::field("servers_index", &StoredSnapshot::servers_index),
                      codec::field("chunks", &StoredSnapshot::chunks),
                      codec::field("bytes", &StoredSnapshot::bytes),
                      codec::field("servers", &StoredSnapshot::servers)};
  }
};

class Disk {
 public:
  using Done = std::move_only_function<void(const Status&)>;

  struct Loaded {
    std::uint64_t term = 0, vote = 0;
    std::optional<StoredSnapshot> snapshot;
    Bytes snapshot_data;
    std::uint64_t first_index = 1;  // of entries
    std::vector<LogEntry> entries;
    bool pristine() const { return term == 0 && entries.empty() && !snapshot; }
  };

  Disk(runtime::Loop& loop, store::Kv& kv) : kv_(kv), changed_(loop) {}

  // What a member that was removed had goes first; its term and vote stay, so that it votes in no
  // term twice and founds no group again. Errors: data_loss when what is there is not a whole log.
  Task<Result<Loaded>> load();
  // Term 1 and the first entry, which names the voters: the same on every member.
  Task<Status> bootstrap(LogEntry servers);
  Task<Result<Bytes>> read_snapshot(StoredSnapshot snapshot);

  // Each returns a ticket; the write is durable once written() has reached it.
  std::uint64_t put_state(std::uint64_t term, std::uint64_t vote, Done done);
  std::uint64_t append(std::vector<LogEntry> entries, Done done);
  std::uint64_t truncate(std::uint64_t from_index);
  std::uint64_t put_removed(Done done);
  // Keeps the last `keep` entries before the snapshot; 0: discards the whole log.
  std::uint64_t put_snapshot(StoredSnapshot snapshot, BytesView data, std::uint64_t keep,
                             Done done);

  std::uint64_t written() const { return written_; }
  const Status& status() const { return status_; }
  const std::optional<StoredSnapshot>& snapshot() const { return snapshot_; }
  std::uint64_t first_index() const { return first_; }
  std::uint64_t next_index() const { return next_; }
  // Of an entry of the log, also one that is still in the queue; 0: not in the log.
  std::uint64_t term_of(std::uint64_t index) const {
    return index < first_ || index >= next_ ? 0 : terms_[index - first_];
  }
  // Of the last entry that names the members; 0: none in the log or the snapshot.
  std::uint64_t last_change() const {
    return !changes_.empty() ? changes_.back() : snapshot_ ? snapshot_->servers_index : 0;
  }

  Task<void> run();  // until close(), and the queue is empty
  // What was queued before the call is on disk after it. Errors: the store's.
  Task<Status> flush();
  void close();

 private:
  struct Write {
    store::Batch batch;
    std::size_t bytes = 0;
    Done done;
  };
  std::uint64_t enqueue(store::Batch batch, Done done);
  Task<Status> load_log(Loaded& loaded);
  Task<Status> forget_if_removed();
  void forget_before(std::uint64_t index);
  void forget_from(std::uint64_t index);

  store::Kv& kv_;
  runtime::Signal changed_;
  std::deque<Write> queue_;
  std::uint64_t queued_ = 0, written_ = 0;
  Status status_;
  bool closing_ = false;
  std::optional<StoredSnapshot> snapshot_;
  std::uint64_t first_ = 1, next_ = 1;  // what the queue will have written
  std::deque<std::uint64_t> terms_;     // of first_ to next_
  std::deque<std::uint64_t> changes_;   // indexes of the entries that name members
};

}  // namespace tau::consensus
