#include "runtime/loop.h"
#include "testnet/chaos/faulty_process.h"

namespace tau::testnet {
namespace {

class FaultyKv final : public store::Kv {
 public:
  FaultyKv(std::unique_ptr<store::Kv> inner, Faults& faults, PeerId node)
      : inner_(std::move(inner)), faults_(faults), node_(std::move(node)) {}

  Task<Result<std::optional<Bytes>>> get(std::string key) override {
    CO_TRY_STATUS(turn());
    co_return co_await inner_->get(std::move(key));
  }
  Task<Status> write(store::Batch batch, store::Durability durability) override {
    CO_TRY_STATUS(turn());
    if (faults_.disk_full(node_))
      co_return fail(ErrorCode::resource_exhausted,
                     "the disk is full, because dream chaos said so: dream chaos heal");
    co_return co_await inner_->write(std::move(batch), durability);
  }
  Task<Result<std::vector<store::Entry>>> scan(std::string prefix, std::string after,
                                               std::size_t limit) override {
    CO_TRY_STATUS(turn());
    co_return co_await inner_->scan(std::move(prefix), std::move(after), limit);
  }

 private:
  Task<Status> turn() {
    CO_TRY_STATUS(faults_.awake(node_));
    if (const Duration delay = faults_.disk_delay(node_); delay != Duration{})
      CO_TRY_STATUS(runtime::sleep_for(delay));
    co_return Status{};
  }

  std::unique_ptr<store::Kv> inner_;
  Faults& faults_;
  const PeerId node_;
};

}  // namespace

std::unique_ptr<store::Kv> make_faulty_store(std::unique_ptr<store::Kv> inner, Faults& faults,
                                             PeerId node) {
  return std::make_unique<FaultyKv>(std::move(inner), faults, std::move(node));
}

}  // namespace tau::testnet
