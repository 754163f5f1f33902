// Which input made which module: a function whose folder, image and toolchain did not change is not
// built again. Loop thread only.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "codec/cid.h"
#include "store/kv.h"

namespace tau::monkey {

class ModuleCache {
 public:
  // An entry is about 200 bytes; the modules themselves are blocks, for the block store to keep.
  static constexpr std::size_t kEntriesMax = 4096;

  explicit ModuleCache(store::Kv& kv, std::size_t entries_max = kEntriesMax)
      : kv_(kv), entries_max_(entries_max) {}

  Task<Status> load();  // once, before the others
  std::optional<codec::Cid> find(const std::string& input_digest);
  // Drops the entry that was not asked for the longest when there are too many.
  Task<Status> put(std::string input_digest, codec::Cid module, std::int64_t now_unix_ms);
  Task<Status> forget(std::string input_digest);
  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    codec::Cid module;
    std::uint64_t used = 0;  // larger: later
  };
  store::Kv& kv_;
  std::size_t entries_max_;
  std::uint64_t uses_ = 0;
  std::map<std::string, Entry> entries_;
};

}  // namespace tau::monkey
