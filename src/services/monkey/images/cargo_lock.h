// What a Cargo.lock says that a crate needs of other people's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace tau::monkey {

struct LockedCrate {
  std::string name, version;
  std::string file_name() const { return name + "-" + version; }  // without ".crate"
};

// The crates of the registry that the text of `file` names, without those of the project's own
// folders. Errors: invalid_argument, "FILE:LINE:1: error: what, what to do" (a crate out of a git
// repository or of another registry, one without a digest; more than 2000 crates).
Result<std::vector<LockedCrate>> crates_of_lock(std::string_view file, std::string_view text);

}  // namespace tau::monkey
