// A store in memory that behaves like one on a disk that can be lost: for tests and the simulator.
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "store/kv.h"

namespace tau::store {

// Outlives the node that uses it, so that a node which crashed starts again on what its disk kept.
// Never fails unless it is told to.
class MemoryKv final : public Kv {
 public:
  // `sync_latency`: how long a synced write takes, as an fsync does.
  explicit MemoryKv(Duration sync_latency = {}) : sync_latency_(sync_latency) {}

  Task<Result<std::optional<Bytes>>> get(std::string key) override;
  Task<Status> write(Batch batch, Durability durability) override;
  Task<Result<std::vector<Entry>>> scan(std::string prefix, std::string after,
                                        std::size_t limit) override;

  // Loses what was buffered: all of it, or (with chance) all but some of the first batches, as a
  // disk does. Synced writes that are under way fail with unavailable; with chance the first ones
  // are on the disk all the same. A batch is there as a whole or not at all: a torn one is what a
  // store's checksums cut off.
  void crash();
  void crash(Random& random);

  // A disk that has become slow, or is one again.
  void set_sync_latency(Duration latency) { sync_latency_ = latency; }
  // While it is full, every batch that puts something fails with resource_exhausted.
  void set_full(bool full) { full_ = full; }
  // The next `times` writes fail with `error` and change nothing.
  void fail_writes(Error error, std::size_t times = 1);
  // Changes a stored value behind the store's back. False when there is no such key.
  bool corrupt(const std::string& key);

  // What a power cut could not take away now. Null: there is no such key.
  const Bytes* durable(const std::string& key) const;

  std::size_t size() const { return entries_.size(); }
  std::size_t unsynced_batches() const { return undo_.size(); }

 private:
  using Before = std::vector<std::pair<std::string, std::optional<Bytes>>>;

  void apply(Batch batch, Durability durability);
  void lose_after(std::size_t batches_kept);
  Task<Status> sync(Batch& batch);

  Duration sync_latency_;
  std::map<std::string, Bytes, std::less<>> entries_;
  std::vector<Before> undo_;     // one for each batch since the last sync, what it replaced
  std::list<Batch*> under_way_;  // synced writes that wait for the disk, in order
  bool full_ = false;
  std::uint64_t life_ = 0;  // counts crashes
  std::optional<Error> injected_;
  std::size_t failures_left_ = 0;
};

}  // namespace tau::store
