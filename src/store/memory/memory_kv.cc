#include "store/memory/memory_kv.h"

#include <algorithm>

#include "runtime/loop.h"

namespace tau::store {

Task<Result<std::optional<Bytes>>> MemoryKv::get(std::string key) {
  const auto it = entries_.find(key);
  if (it == entries_.end()) co_return std::optional<Bytes>();
  co_return std::optional<Bytes>(it->second);
}

Task<Status> MemoryKv::write(Batch batch, Durability durability) {
  CO_TRY_SYNC_STATUS(check_batch(batch));
  if (failures_left_ > 0) {
    --failures_left_;
    co_return fail(*injected_);
  }
  const auto puts = [](const Batch::Operation& operation) { return operation.value.has_value(); };
  if (full_ && std::ranges::any_of(batch.operations, puts))
    co_return fail(ErrorCode::resource_exhausted, "no space left on the disk");
  if (durability == Durability::synced && sync_latency_ > Duration{}) CO_TRY_STATUS(sync(batch));
  apply(std::move(batch), durability);
  co_return Status{};
}

Task<Status> MemoryKv::sync(Batch& batch) {
  const auto life = life_;
  const auto place = under_way_.insert(under_way_.end(), &batch);
  const Status slept = co_await runtime::sleep_for(sync_latency_);
  if (life != life_) co_return fail(ErrorCode::unavailable, "the store crashed during the write");
  under_way_.erase(place);
  co_return slept;
}

void MemoryKv::apply(Batch batch, Durability durability) {
  Before before;
  for (auto& operation : batch.operations) {
    const auto it = entries_.find(operation.key);
    std::optional<Bytes> old;
    if (it != entries_.end()) old = std::move(it->second);
    before.emplace_back(operation.key, std::move(old));
    if (operation.value) {
      entries_.insert_or_assign(std::move(operation.key), std::move(*operation.value));
    } else if (it != entries_.end()) {
      entries_.erase(it);
    }
  }
  undo_.push_back(std::move(before));
  if (durability == Durability::synced) undo_.clear();
}

Task<Result<std::vector<Entry>>> MemoryKv::scan(std::string prefix, std::string after,
                                                std::size_t limit) {
  std::vector<Entry> found;
  auto it = after < prefix ? entries_.lower_bound(prefix) : entries_.upper_bound(after);
  for (; it != entries_.end() && found.size() < limit && it->first.starts_with(prefix); ++it)
    found.push_back({it->first, it->second});
  co_return found;
}

void MemoryKv::lose_after(std::size_t batches_kept) {
  ++life_;
  under_way_.clear();
  while (undo_.size() > batches_kept) {
    for (auto old = undo_.back().rbegin(); old != undo_.back().rend(); ++old) {
      if (old->second) {
        entries_.insert_or_assign(old->first, std::move(*old->second));
      } else {
        entries_.erase(old->first);
      }
    }
    undo_.pop_back();
  }
  undo_.clear();  // what a disk still has after a crash, it keeps
}

void MemoryKv::crash() { lose_after(0); }
void MemoryKv::crash(Random& random) {
  const std::size_t kept = random.below(undo_.size() + under_way_.size() + 1);
  if (kept > undo_.size()) {
    std::size_t arrived = kept - undo_.size();
    for (Batch* batch : under_way_) {
      if (arrived-- == 0) break;
      apply(std::move(*batch), Durability::synced);
    }
  }
  lose_after(std::min(kept, undo_.size()));
}

void MemoryKv::fail_writes(Error error, std::size_t times) {
  injected_ = std::move(error);
  failures_left_ = times;
}

const Bytes* MemoryKv::durable(const std::string& key) const {
  for (const Before& batch : undo_)
    for (const auto& [changed, before] : batch)
      if (changed == key) return before ? &*before : nullptr;
  const auto it = entries_.find(key);
  return it == entries_.end() ? nullptr : &it->second;
}

bool MemoryKv::corrupt(const std::string& key) {
  const auto it = entries_.find(key);
  if (it == entries_.end()) return false;
  if (it->second.empty()) {
    it->second.push_back(0);
  } else {
    it->second[0] ^= 1;
  }
  return true;
}

}  // namespace tau::store
