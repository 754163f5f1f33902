// Content-addressed blocks (IPLD). Every block is checked against its CID when it comes in and when
// it is read.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "codec/cid.h"
#include "store/kv.h"

namespace tau::store {

inline constexpr std::size_t kBlockSizeMax = 2u << 20;  // what bitswap peers accept

struct Block {
  codec::Cid cid;
  Bytes data;
};

// Over any Kv: key "b/" + multihash bytes, so that one block serves every CID codec of the same
// hash.
class BlockStore {
 public:
  explicit BlockStore(Kv& kv) : kv_(kv) {}

  // Errors: invalid_argument when data does not hash to the CID, or is larger than kBlockSizeMax.
  Task<Status> put(std::vector<Block> blocks, Durability durability);
  Task<Result<std::optional<Bytes>>> get(codec::Cid cid);  // data_loss when the disk changed it
  Task<Result<bool>> has(codec::Cid cid);
  Task<Status> erase(codec::Cid cid);

 private:
  Kv& kv_;
};

}  // namespace tau::store
