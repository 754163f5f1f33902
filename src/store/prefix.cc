#include "store/kv.h"

namespace tau::store {
namespace {

class PrefixedKv final : public Kv {
 public:
  PrefixedKv(Kv& kv, std::string prefix) : kv_(kv), prefix_(std::move(prefix)) {}

  Task<Result<std::optional<Bytes>>> get(std::string key) override {
    co_return co_await kv_.get(prefix_ + key);
  }

  Task<Status> write(Batch batch, Durability durability) override {
    for (auto& operation : batch.operations) operation.key.insert(0, prefix_);
    co_return co_await kv_.write(std::move(batch), durability);
  }

  Task<Result<std::vector<Entry>>> scan(std::string prefix, std::string after,
                                        std::size_t limit) override {
    CO_TRY(auto entries,
           kv_.scan(prefix_ + prefix, after.empty() ? after : prefix_ + after, limit));
    for (auto& entry : entries) entry.key.erase(0, prefix_.size());
    co_return entries;
  }

 private:
  Kv& kv_;
  std::string prefix_;
};

}  // namespace

std::unique_ptr<Kv> with_prefix(Kv& kv, std::string prefix) {
  return std::make_unique<PrefixedKv>(kv, std::move(prefix));
}

Status check_batch(const Batch& batch) {
  std::size_t bytes = 0;
  for (const auto& operation : batch.operations) {
    if (operation.key.empty() || operation.key.size() > kKeySizeMax || operation.key[0] == '\0')
      return fail(ErrorCode::invalid_argument,
                  "a key of the store has 1 to " + std::to_string(kKeySizeMax) +
                      " bytes and does not start with a zero byte; this one has " +
                      std::to_string(operation.key.size()) + " bytes");
    bytes += operation.key.size() + (operation.value ? operation.value->size() : 0);
  }
  if (bytes > kBatchSizeMax)
    return fail(ErrorCode::invalid_argument, "a write of " + std::to_string(bytes) +
                                                 " bytes at once is more than the store's " +
                                                 std::to_string(kBatchSizeMax));
  return {};
}

}  // namespace tau::store
