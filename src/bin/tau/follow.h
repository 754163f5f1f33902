// Follows a build of the cloud to its end: its log as it grows, then how it ended.
#pragma once

#include <map>
#include <string>

#include "bin/tau/cloud.h"
#include "bin/tau/terminal.h"

namespace tau::cli {

// The newest build of `branch` whose commits are `commits` (by repository; repositories that a
// build does not name are not compared). Nothing: there is none.
std::optional<http::Json> find_build(const http::Json& builds, const std::string& branch,
                                     const std::map<std::string, std::string>& commits);

// Shows the log of a build from `offset` on until it ends, if `follow`; else what is there.
Status show_build_log(Cloud& cloud, const Terminal& terminal, const std::string& build,
                      bool follow);

// Waits until a build ends, and shows it. When a newer push superseded it, the newest one of the
// branch is followed instead. Gives the build that ended.
Result<http::Json> follow_build(Cloud& cloud, const Terminal& terminal, http::Json build);

// "succeeded in 2.1 s", "failed: …".
std::string ending_of(const http::Json& build);

}  // namespace tau::cli
