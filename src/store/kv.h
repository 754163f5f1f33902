// An ordered key-value store of bytes: where a service keeps its state. store/rocks is durable;
// store/memory serves tests and the simulator, where it can lose what was not synced. Loop thread
// only.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "runtime/task.h"

namespace tau::store {

struct Batch {
  struct Operation {
    std::string key;
    std::optional<Bytes> value;  // nothing: delete
  };
  std::vector<Operation> operations;

  Batch& put(std::string key, Bytes value) {
    operations.push_back({std::move(key), std::move(value)});
    return *this;
  }
  Batch& erase(std::string key) {
    operations.push_back({std::move(key), std::nullopt});
    return *this;
  }
};

// synced: survives kill -9 and power loss once the task ends, and so does everything that was
// written to the same store before it. buffered: survives kill -9 of this process at most.
enum class Durability : std::uint8_t { buffered, synced };

struct Entry {
  std::string key;
  Bytes value;
};

inline constexpr std::size_t kKeySizeMax = 4096;  // a hundred bytes in practice
inline constexpr std::size_t kBatchSizeMax = 64
                                             << 20;  // a group of blocks; bounds one write's memory

// A key is 1 to kKeySizeMax bytes and does not start with a zero byte (those are the store's own);
// a batch has at most kBatchSizeMax bytes. invalid_argument otherwise.
Status check_batch(const Batch& batch);

// Of concurrent writes the order is not defined; one that is awaited comes before the next. A write
// whose task is cancelled may or may not happen.
class Kv {
 public:
  virtual ~Kv() = default;
  // Errors: data_loss (checksum), resource_exhausted (disk full), unavailable (stopped).
  virtual Task<Result<std::optional<Bytes>>> get(std::string key) = 0;
  virtual Task<Status> write(Batch batch, Durability durability) = 0;  // all or nothing
  // Keys that start with `prefix` and are > `after`, in byte order, at most `limit`.
  virtual Task<Result<std::vector<Entry>>> scan(std::string prefix, std::string after,
                                                std::size_t limit) = 0;
};

// Everything under `prefix` of another store, as a store of its own: one per service.
std::unique_ptr<Kv> with_prefix(Kv& kv, std::string prefix);

}  // namespace tau::store
