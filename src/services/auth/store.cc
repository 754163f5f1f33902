#include "services/auth/store.h"

namespace tau::auth {
namespace {

constexpr std::string_view kPrefix = "project/";
std::string key_of(const ProjectId& project) { return std::string(kPrefix) + project.str(); }

}  // namespace

Task<Status> Store::put(ProjectId project, codec::Signed registration) {
  store::Batch batch;
  batch.put(key_of(project), codec::to_cbor(registration));
  co_return co_await kv_.write(std::move(batch), store::Durability::synced);
}

Task<Result<std::optional<codec::Signed>>> Store::get(ProjectId project) {
  CO_TRY(const auto raw, kv_.get(key_of(project)));
  if (!raw) co_return std::optional<codec::Signed>();
  CO_TRY_SYNC(codec::Signed registration, codec::from_cbor<codec::Signed>(*raw));
  co_return std::optional(std::move(registration));
}

Task<Result<std::vector<codec::Signed>>> Store::list(ProjectId after, std::size_t limit) {
  CO_TRY(const auto entries,
         kv_.scan(std::string(kPrefix), after.empty() ? "" : key_of(after), limit));
  std::vector<codec::Signed> found;
  for (const auto& entry : entries) {
    CO_TRY_SYNC(auto registration, codec::from_cbor<codec::Signed>(entry.value));
    found.push_back(std::move(registration));
  }
  co_return found;
}

}  // namespace tau::auth
