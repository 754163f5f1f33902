// Snapshots: everything that a replica knows at one moment, as blocks; and the merge of one into
// what another replica knows. Of two states a version remains unless one side knows it (its context
// covers the dot) and does not have it: then it was removed there. So what was deleted stays
// deleted however long a replica was away, without a tombstone, and what it wrote alone meanwhile
// stays as well.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "crdt/state.h"
#include "crdt/wire.h"

namespace tau::crdt {

using OnChanges = std::function<void(const std::vector<Change>&)>;

struct Offered {
  codec::Cid root;
  Context context;
  std::vector<codec::Cid> blocks;  // all of it, the root as well
};

// With the lock held. Memory: one chunk. Each block's CID is written below "o/" before the block.
Task<Result<Offered>> build_snapshot(const State& state, std::string map);
Task<Status> erase_snapshot(const State& state, std::vector<codec::Cid> blocks);

// Reads every chunk of a snapshot that is in the block store; nothing is changed. Errors:
// invalid_argument.
Task<Result<SnapshotRoot>> check_snapshot(const State& state, codec::Cid root, std::string map);

// With the lock held, after check_snapshot(). Cut short by a crash it is done again from the
// beginning with the same outcome, so the caller first writes down that it has begun; while it runs
// readers see some keys merged and some not.
Task<Status> merge_snapshot(State& state, const SnapshotRoot& root, const OnChanges& on_changes);

}  // namespace tau::crdt
