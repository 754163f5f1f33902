// What a replica keeps: the entries, the context, the heads, and the recent history; all of it in a
// store::Kv, the small parts in memory as well. Changes are made by a Transaction and come to the
// store whole or not at all, in causal order: a power cut takes away the end at most.
//
// One transaction at a time: who makes one holds the lock. Loop thread only.
//
// Rows: "n" format and incarnation; "w" the own last delta; "c/<writer>" context; "h" heads;
// "e/<key>" entries (entry.h); "l/<order>" history; "g/…" removals that came before what they
// remove; "s" the snapshot that is being merged.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "base/random.h"
#include "crdt/delta.h"
#include "crdt/entry.h"
#include "runtime/channel.h"
#include "store/block_store.h"

namespace tau::crdt {

struct Head {
  Link link;
  std::uint64_t height = 0;
  friend bool operator==(const Head&, const Head&) = default;
};

inline bool highest_first(const Head& a, const Head& b) {
  return std::tie(b.height, b.link) < std::tie(a.height, a.link);
}

// The value of `key` is now this one; nothing: the key is gone.
struct Change {
  std::string key;
  std::optional<Bytes> value;
};

struct KeyValue {
  std::string key;
  Bytes value;
  friend bool operator==(const KeyValue&, const KeyValue&) = default;
};

// History beyond either bound is folded: its blocks are erased, its effect stays.
struct HistoryLimits {
  std::size_t deltas_max = 4096;
  std::size_t bytes_max = 32u << 20;
};

// Writers that a context may have: a request to a peer carries all of them in one frame of 1 MiB.
inline constexpr std::size_t kWritersMax = 10'000;
// Heads that are kept: each write of anybody joins up to kParentsMax of them.
inline constexpr std::size_t kHeadsMax = 1024;

class State {
 public:
  // `blocks` stands on the same store as `kv`, so that what syncs one syncs the other.
  State(runtime::Loop& loop, store::Kv& kv, store::BlockStore& blocks, Random& random, PeerId peer,
        HistoryLimits limits)
      : lock(loop, 1),
        kv_(kv),
        blocks_(blocks),
        random_(random),
        peer_(std::move(peer)),
        limits_(limits) {}

  // Reads what is kept; makes a new store ready. Errors: those of the store, failed_precondition
  // (written by a newer program).
  Task<Status> load();

  runtime::Semaphore lock;  // of transactions, snapshots and merges

  // The writer that this replica is, and its last delta. A store that came back from an older copy
  // may learn of later deltas of its own; when only a snapshot tells of them, it becomes another
  // writer rather than count anew.
  std::uint64_t incarnation() const { return incarnation_; }
  WriterId own() const { return writer_id_of(peer_, incarnation_); }
  const std::optional<codec::Cid>& last_own() const { return last_own_; }
  const Context& context() const { return context_; }
  const Context& folded() const { return folded_; }
  const std::vector<Head>& heads() const { return heads_; }
  bool known(const Link& link) const {
    return by_cid_.contains(link.cid) || folded_.covers(link.dot);
  }
  // In the order in which they came here, what `theirs` does not cover.
  std::vector<Link> history_beyond(const Context& theirs, std::size_t at_most) const;
  std::size_t history_size() const { return history_.size(); }
  std::size_t history_bytes() const { return history_bytes_; }

  Task<Result<Entry>> entry(std::string key) const;
  Task<Result<std::vector<KeyValue>>> list(std::string prefix, std::string after,
                                           std::size_t limit) const;
  // Entries as they are kept, keys > `after` in byte order.
  Task<Result<std::vector<std::pair<std::string, Entry>>>> entries(std::string after,
                                                                   std::size_t limit) const;

  class Transaction {
   public:
    explicit Transaction(State& state) : state_(&state), heads_(state.heads_) {}

    Task<Result<const Entry*>> entry(std::string key);  // valid until the next call
    // Once for each delta; what is known is passed over. `stored`: the block is in the block store.
    Task<Status> apply(const SealedDelta& delta, bool stored);
    // For snapshots: an entry as it shall be, and at last what the snapshot covers.
    Task<Status> replace(std::string key, Entry entry);
    void adopt(const Context& theirs, std::vector<Head> heads);
    void put_row(std::string key, std::optional<Bytes> value) {
      rows_.operations.push_back({std::move(key), std::move(value)});
    }

    bool empty() const { return entries_.empty() && history_.empty() && rows_.operations.empty(); }
    std::size_t entries() const { return entries_.size(); }
    std::uint64_t height() const;  // of the highest head
    const std::vector<Head>& heads() const { return heads_; }

   private:
    friend class State;
    struct Loaded {
      Entry entry;
      std::optional<Version> before;  // the winner, without its value
    };
    struct Step {
      Link link;
      std::size_t size = 0;
    };
    Task<Result<Loaded*>> load(std::string key);
    bool covers(const Dot& dot) const {
      return state_->context_.covers(dot) || context_.covers(dot);
    }

    State* state_;
    std::map<std::string, Loaded> entries_;
    std::vector<Head> heads_;
    Context context_, folded_;  // what is added
    std::optional<codec::Cid> last_own_;
    bool become_another_ = false;
    std::vector<Step> history_;
    std::vector<store::Block> blocks_;
    std::set<std::pair<std::string, Dot>> graves_made_, graves_used_;
    store::Batch rows_;
  };

  // Nothing changes in memory unless the store took it. After an error the state is read anew
  // before the next transaction (see fresh()).
  Task<Result<std::vector<Change>>> commit(Transaction transaction, store::Durability durability);
  // To be called with the lock, before a transaction is made.
  Task<Status> fresh();

  store::Kv& kv() const { return kv_; }
  store::BlockStore& blocks() const { return blocks_; }

 private:
  struct Past {
    std::uint64_t order = 0;
    Link link;
    std::size_t size = 0;
  };
  Status add_row(const store::Entry& row);
  Task<Status> fold();
  void remember(Past past);

  store::Kv& kv_;
  store::BlockStore& blocks_;
  Random& random_;
  PeerId peer_;
  HistoryLimits limits_;
  std::uint64_t incarnation_ = 0;
  std::optional<codec::Cid> last_own_;
  std::uint64_t next_order_ = 1;
  bool stale_ = false;
  Context context_, folded_;
  std::vector<Head> heads_;
  std::deque<Past> history_;
  std::size_t history_bytes_ = 0;
  std::unordered_map<codec::Cid, std::uint64_t> by_cid_;
  std::set<std::pair<std::string, Dot>> graves_;
};

}  // namespace tau::crdt
