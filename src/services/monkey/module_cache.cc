#include "services/monkey/module_cache.h"

#include <algorithm>

#include "codec/record.h"

namespace tau::monkey {
namespace {

constexpr const char* kPrefix = "module/";

struct Stored {
  codec::Cid module;
  std::int64_t built_unix_ms = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("module", &Stored::module),
                      codec::field("built", &Stored::built_unix_ms)};
  }
};

}  // namespace

Task<Status> ModuleCache::load() {
  CO_TRY(const auto stored, kv_.scan(kPrefix, "", entries_max_));
  std::vector<std::pair<std::int64_t, std::string>> by_age;
  for (const auto& entry : stored) {
    const auto record = codec::from_cbor<Stored>(entry.value);
    if (!record) continue;  // of another version: it will be written again
    const std::string digest = entry.key.substr(std::string_view(kPrefix).size());
    entries_[digest].module = record->module;
    by_age.emplace_back(record->built_unix_ms, digest);
  }
  std::ranges::sort(by_age);
  for (const auto& [built, digest] : by_age) entries_[digest].used = ++uses_;
  co_return Status{};
}

std::optional<codec::Cid> ModuleCache::find(const std::string& input_digest) {
  const auto it = entries_.find(input_digest);
  if (it == entries_.end()) return std::nullopt;
  it->second.used = ++uses_;
  return it->second.module;
}

Task<Status> ModuleCache::put(std::string input_digest, codec::Cid module,
                              std::int64_t now_unix_ms) {
  store::Batch batch;
  batch.put(kPrefix + input_digest, codec::to_cbor(Stored{module, now_unix_ms}));
  entries_[input_digest] = {module, ++uses_};
  if (entries_.size() > entries_max_) {
    const auto oldest =
        std::ranges::min_element(entries_, {}, [](const auto& entry) { return entry.second.used; });
    batch.erase(kPrefix + oldest->first);
    entries_.erase(oldest);
  }
  // What is lost here is only built again, so nothing waits for the disk.
  co_return co_await kv_.write(std::move(batch), store::Durability::buffered);
}

Task<Status> ModuleCache::forget(std::string input_digest) {
  entries_.erase(input_digest);
  store::Batch batch;
  batch.erase(kPrefix + input_digest);
  co_return co_await kv_.write(std::move(batch), store::Durability::buffered);
}

}  // namespace tau::monkey
