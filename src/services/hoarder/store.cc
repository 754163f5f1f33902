#include "services/hoarder/store.h"

namespace tau::hoarder {
namespace {

constexpr std::string_view kPrefix = "held/";

std::string key_of(const codec::Cid& root) { return std::string(kPrefix) + root.to_string(); }

Result<Held> open(const std::string& key, BytesView value) {
  auto held = codec::from_cbor<Held>(value);
  if (!held)
    return fail(ErrorCode::data_loss,
                "record \"" + key + "\" does not decode: " + held.error().message());
  return held;
}

}  // namespace

Task<Status> Store::put(Held held) {
  store::Batch batch;
  batch.put(key_of(held.root), codec::to_cbor(held));
  co_return co_await kv_.write(std::move(batch), store::Durability::synced);
}

Task<Status> Store::erase(codec::Cid root) {
  store::Batch batch;
  batch.erase(key_of(root));
  co_return co_await kv_.write(std::move(batch), store::Durability::synced);
}

Task<Result<std::optional<Held>>> Store::get(codec::Cid root) {
  const std::string key = key_of(root);
  CO_TRY(const auto value, kv_.get(key));
  if (!value) co_return std::optional<Held>();
  CO_TRY_SYNC(auto held, open(key, *value));
  co_return std::optional<Held>(std::move(held));
}

Task<Result<std::vector<Held>>> Store::list(std::optional<codec::Cid> after, std::size_t limit) {
  CO_TRY(const auto entries,
         kv_.scan(std::string(kPrefix), after ? key_of(*after) : std::string(), limit));
  std::vector<Held> all;
  for (const auto& entry : entries) {
    CO_TRY_SYNC(auto held, open(entry.key, entry.value));
    all.push_back(std::move(held));
  }
  co_return all;
}

}  // namespace tau::hoarder
