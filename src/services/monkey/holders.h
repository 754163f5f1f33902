// Who is asked to hold a deployment before it is published.
#pragma once

#include <vector>

#include "base/error.h"
#include "base/strong_id.h"
#include "codec/cid.h"
#include "runtime/task.h"

namespace tau::monkey {

class Holders {
 public:
  virtual ~Holders() = default;
  // Returns once two hoarders (all, where fewer live) hold everything below `root` on their disks.
  // Errors: unavailable (no hoarder, or too few of them succeeded: says why).
  virtual Task<Result<std::vector<PeerId>>> hold(codec::Cid root) = 0;
  // Asks the same ones for something that goes with it, all at once. Errors: unavailable (one of
  // them does not hold it: says why).
  virtual Task<Status> hold_also(codec::Cid root, std::vector<PeerId> holders) = 0;
};

}  // namespace tau::monkey
