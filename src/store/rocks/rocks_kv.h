// The durable store: one RocksDB per node.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "runtime/thread_pool.h"
#include "store/kv.h"

namespace tau::store {

// What all stores of one process share: the cache, the bound on unflushed memory, and the threads
// for what waits for the disk. Outlives every RocksKv. Thread-safe.
class RocksEnvironment {
 public:
  struct Options {
    std::size_t block_cache_bytes = 32u << 20;
    // Over all stores together; the fullest flushes first. A universe of ten nodes stays below it.
    std::size_t write_buffer_bytes = 64u << 20;
    int background_threads = 1;  // for flushes, and as many for compactions
  };
  explicit RocksEnvironment(runtime::ThreadPool& pool) : RocksEnvironment(pool, Options()) {}
  RocksEnvironment(runtime::ThreadPool& pool, Options options);
  ~RocksEnvironment();

 private:
  friend class RocksKv;
  struct Parts;
  runtime::ThreadPool& pool_;
  std::unique_ptr<Parts> parts_;
};

// Owns an open database; closing is the destructor, which syncs what was buffered and may come only
// when no call is under way. Reads run on the loop (they come from the cache or the page cache);
// synced and large writes run on the environment's threads, and synced writes that wait at the same
// time share one fsync. After an error of the disk, writes fail until the store is opened again.
class RocksKv final : public Kv {
 public:
  // Makes the directory if need be. Errors: failed_precondition (another process has it open, or a
  // newer program wrote it), data_loss, unavailable (no such place, no permission).
  static Task<Result<std::unique_ptr<RocksKv>>> open(RocksEnvironment& environment,
                                                     std::string directory);
  ~RocksKv() override;

  Task<Result<std::optional<Bytes>>> get(std::string key) override;
  Task<Status> write(Batch batch, Durability durability) override;
  Task<Result<std::vector<Entry>>> scan(std::string prefix, std::string after,
                                        std::size_t limit) override;

  std::uint64_t fsyncs() const { return fsyncs_; }  // groups of synced writes so far

 private:
  struct Database;
  struct Waiting;
  RocksKv(RocksEnvironment& environment, std::string directory, std::unique_ptr<Database> database);
  static Result<std::unique_ptr<Database>> open_blocking(RocksEnvironment& environment,
                                                         const std::string& directory);
  Task<Status> write_synced(Batch batch);
  Status write_blocking(const std::vector<const Batch*>& batches, Durability durability);
  void next_leader();

  RocksEnvironment& environment_;
  std::string directory_;
  std::unique_ptr<Database> database_;
  std::deque<std::shared_ptr<Waiting>> queue_;  // synced writes that no group has taken up
  bool committing_ = false;                     // a leader is at work or has been named
  std::uint64_t fsyncs_ = 0;
};

}  // namespace tau::store
