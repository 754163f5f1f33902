// Every key of hoarder:  "held/<text of the root's CID, version 1>" -> CBOR of Held.
#pragma once

#include <optional>
#include <vector>

#include "services/hoarder/api.h"
#include "store/kv.h"

namespace tau::hoarder {

class Store {
 public:
  explicit Store(store::Kv& kv) : kv_(kv) {}

  Task<Status> put(Held held);          // fsynced
  Task<Status> erase(codec::Cid root);  // fsynced
  Task<Result<std::optional<Held>>> get(codec::Cid root);
  Task<Result<std::vector<Held>>> list(std::optional<codec::Cid> after, std::size_t limit);

 private:
  store::Kv& kv_;
};

}  // namespace tau::hoarder
