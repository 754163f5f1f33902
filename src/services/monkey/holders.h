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
};

}  // namespace tau::monkey
