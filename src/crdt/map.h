// A replicated map: every node that opens it under the same name has a copy, writes to its own
// copy, and hears of what others wrote. No node is needed for another to write; all that can reach
// each other come to the same content. README.md says what that means for concurrent writes.
//
// Loop thread only. Made after the exchange and stopped before it.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "crdt/sync.h"
#include "crdt/walk.h"

namespace tau::crdt {

struct MapOptions {
  std::string name;     // the same on every node: 1 to 64 letters, digits, '-', '_', '.'
  std::string writers;  // the certificate role that may write
  HistoryLimits history = {};
  Duration announce_every = std::chrono::seconds(10);  // heads, unless others just said the same
  Duration pull_every = std::chrono::seconds(30);      // from some peer, whatever was heard
  std::size_t snapshot_bytes_max = std::size_t{1} << 30;
};

// All of a copy in a few bytes: two replicas that have the same content have the same census.
struct Census {
  std::uint64_t keys = 0;
  crypto::Sha256 digest = {};
  friend bool operator==(const Census&, const Census&) = default;
};

// Of one write: how many keys, and bytes of keys and values together.
inline constexpr std::size_t kBatchKeysMax = 1000;
inline constexpr std::size_t kBatchBytesMax = 512u << 10;

class Map {
 public:
  struct Counters {
    std::uint64_t writes = 0;    // batches that were acknowledged
    std::uint64_t deltas = 0;    // that were made of them
    std::uint64_t received = 0;  // deltas of others that were applied
    std::uint64_t announced = 0, heard = 0;
    std::uint64_t refused = 0;  // announcements that were none, or of nodes that may not write
    Sync::Counters sync;
    Walk::Counters walk;
  };
  using Handler = std::function<void(const Change&)>;
  // Ends the subscription when it goes.
  using Subscription = std::shared_ptr<const void>;

  // `exchange.blocks()` stands on the same store as `kv` (below another prefix), so that one sync
  // covers both. All references outlive the map.
  Map(runtime::Loop& loop, p2p::Host& host, content::Exchange& exchange, store::Kv& kv,
      const p2p::NodeIdentity& identity, const p2p::Admission& admission, Random& random,
      MapOptions options, Logger log);
  ~Map();

  // Errors: those of the store, invalid_argument (a name or bounds that cannot be).
  Task<Status> start();
  Task<void> stop();  // idempotent; writes that wait fail with unavailable

  // All or nothing, here and on every replica. When it returns well it is on this node's disk; the
  // others hear of it right after. Writes that wait together share a delta and an fsync; of several
  // for one key others see the last. Errors: permission_denied (this node's certificate lacks the
  // role, has expired or was revoked), invalid_argument (bounds), resource_exhausted (too many
  // writes wait, disk full), unavailable (stopped; the write may or may not have happened), those
  // of the store.
  Task<Status> write(store::Batch batch);
  Task<Status> put(std::string key, Bytes value);
  Task<Status> erase(std::string key);

  // What this node knows now.
  Task<Result<std::optional<Bytes>>> get(std::string key);
  // Keys that start with `prefix` and are > `after`, in byte order, at most `limit`.
  Task<Result<std::vector<KeyValue>>> list(std::string prefix, std::string after,
                                           std::size_t limit);

  // Reads everything, a page at a time: what is written meanwhile may be in it or not.
  Task<Result<Census>> census() const;

  // `handler` is called on the loop after each change of a value below `prefix`, whoever made it,
  // once it is stored. It must not wait; what it keeps it bounds itself.
  Subscription subscribe(std::string prefix, Handler handler);

  Counters counters() const;
  const State& state() const { return state_; }  // for tools and tests
  std::size_t pending() const { return walk_.pending(); }
  // Asks some connected peer at once, or this one.
  void pull(std::optional<PeerId> peer = std::nullopt);

 private:
  struct Waiting;
  struct Listener;
  struct Author {
    double tokens = 0;  // how much more it may announce
    TimePoint at;
  };

  Status check(const store::Batch& batch);
  bool may_write();
  Task<void> commit_all();
  Task<Status> commit(std::vector<std::shared_ptr<Waiting>> group);
  Task<Status> apply(std::vector<Arrived> arrived);
  void tell(const std::vector<Change>& changes);

  void hear(const PeerId& from, BytesView data);
  bool in_rate(Author& author);
  Status may_announce(const PeerId& from, const Bytes& certificate);
  Task<void> announce_all();
  void announce();
  Task<void> pull_all();
  std::optional<PeerId> some_writer();

  runtime::Loop& loop_;
  p2p::Host& host_;
  const p2p::NodeIdentity& identity_;
  const p2p::Admission& admission_;
  Random& random_;
  MapOptions options_;
  Logger log_;
  std::string topic_;
  DeltaReader reader_;
  State state_;
  Sync sync_;
  Walk walk_;
  Counters counters_;
  bool running_ = false;

  std::deque<std::shared_ptr<Waiting>> queue_;
  std::size_t queue_bytes_ = 0;
  runtime::Signal writes_;

  std::vector<std::weak_ptr<Listener>> listeners_;

  std::map<PeerId, Author> authors_;  // rates of announcements
  std::deque<SealedDelta> unannounced_;
  bool news_ = false;        // of this node, to be announced at once
  bool heard_same_ = false;  // since the last announcement
  std::optional<TimePoint> answer_at_;
  TimePoint announced_at_;
  runtime::Signal say_;

  std::set<PeerId> to_pull_;
  runtime::Signal pulls_;

  std::shared_ptr<Map*> self_;  // null inside once stopped: the host's callbacks outlive this
  runtime::TaskGroup tasks_;
};

}  // namespace tau::crdt
