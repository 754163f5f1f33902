// Every key of auth:  "project/<project id>" -> CBOR of the owner's signed registration.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "codec/signed.h"
#include "store/kv.h"

namespace tau::auth {

class Store {
 public:
  explicit Store(store::Kv& kv) : kv_(kv) {}

  Task<Status> put(ProjectId project, codec::Signed registration);  // fsynced
  Task<Result<std::optional<codec::Signed>>> get(ProjectId project);
  Task<Result<std::vector<codec::Signed>>> list(ProjectId after, std::size_t limit);

 private:
  store::Kv& kv_;
};

}  // namespace tau::auth
