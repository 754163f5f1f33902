// What only a project's owner may say of its builds: cancel, retry. Each is a record that is signed
// here, with the owner's key, and checked by patrick.
#pragma once

#include <string>

#include "bin/tau/cloud.h"
#include "bin/tau/credentials.h"
#include "bin/tau/terminal.h"

namespace tau::cli {

// The newest build of the project that has not ended. Errors: not_found.
Result<std::string> build_under_way(Cloud& cloud, const std::string& project);
// The newest build of the project. Errors: not_found.
Result<std::string> newest_build(Cloud& cloud, const std::string& project);

// Errors: permission_denied (another's project), failed_precondition (it has ended).
Status cancel_build(Cloud& cloud, const Terminal& terminal, const crypto::KeyPair& owner,
                    const std::string& build, std::int64_t now_unix_ms);

struct Retry {
  bool clean = false;   // without what caches hold
  bool follow = false;  // to its end
};
// Gives the exit code: that of the build, where it is followed.
Result<int> retry_build(Cloud& cloud, const Terminal& terminal, const crypto::KeyPair& owner,
                        const std::string& build, Retry how, std::int64_t now_unix_ms);

}  // namespace tau::cli
