// Where blocks come from: this node's store, or the network behind it.
#pragma once

#include "base/bytes.h"
#include "base/error.h"
#include "codec/cid.h"
#include "runtime/task.h"
#include "store/block_store.h"

namespace tau::content {

class BlockSource {
 public:
  virtual ~BlockSource() = default;
  // The data has the hash of `cid`. Errors: not_found, and those of where it looks.
  virtual Task<Result<Bytes>> block(codec::Cid cid) = 0;
};

// Only what this node has.
class LocalSource final : public BlockSource {
 public:
  explicit LocalSource(store::BlockStore& blocks) : blocks_(blocks) {}
  Task<Result<Bytes>> block(codec::Cid cid) override {
    CO_TRY(auto data, blocks_.get(cid));
    if (!data) co_return fail(ErrorCode::not_found, "block " + cid.to_string() + " is not here");
    co_return *std::move(data);
  }

 private:
  store::BlockStore& blocks_;
};

}  // namespace tau::content
