#include "store/block_store.h"

namespace tau::store {
namespace {

std::string key_of(const codec::Cid& cid) {
  const Bytes hash = cid.multihash();
  return "b/" + to_text(hash);
}

Status check(const Block& block) {
  if (block.data.size() > kBlockSizeMax)
    return fail(ErrorCode::invalid_argument,
                "block " + block.cid.to_string() + " has " + std::to_string(block.data.size()) +
                    " bytes; at most " + std::to_string(kBlockSizeMax) + " are exchanged");
  if (!block.cid.matches(block.data))
    return fail(ErrorCode::invalid_argument,
                "data of block " + block.cid.to_string() + " does not have that hash");
  return {};
}

}  // namespace

Task<Status> BlockStore::put(std::vector<Block> blocks, Durability durability) {
  Batch batch;
  for (auto& block : blocks) {
    CO_TRY_SYNC_STATUS(check(block));
    batch.put(key_of(block.cid), std::move(block.data));
  }
  co_return co_await kv_.write(std::move(batch), durability);
}

Task<Result<std::optional<Bytes>>> BlockStore::get(codec::Cid cid) {
  CO_TRY(auto data, kv_.get(key_of(cid)));
  if (data && !cid.matches(*data))
    co_return fail(ErrorCode::data_loss,
                   "stored block " + cid.to_string() +
                       " no longer has its hash: the disk changed it; erase it and fetch it again");
  co_return data;
}

Task<Result<bool>> BlockStore::has(codec::Cid cid) {
  CO_TRY(const auto data, kv_.get(key_of(cid)));
  co_return data.has_value();
}

Task<Status> BlockStore::erase(codec::Cid cid) {
  Batch batch;
  batch.erase(key_of(cid));
  co_return co_await kv_.write(std::move(batch), Durability::buffered);
}

}  // namespace tau::store
