// What bubblewrap is told for a Sandbox, and what to tell a person when the machine refuses.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "process/runner.h"

namespace tau::process {

// The folders that programs of this machine need to run at all: /usr, the links into it, and what
// the names of Debian's alternatives lead to. Nothing of the machine's configuration.
std::vector<Sandbox::Bind> system_binds();

// The options of bubblewrap, without its own name and the program's. Folders outside must be
// reachable by the user that the sandbox runs as. Errors: not_found, invalid_argument (a path
// inside that is not absolute).
Result<std::vector<std::string>> bubblewrap_options(
    const Sandbox& sandbox, const std::map<std::string, std::string>& environment,
    const std::filesystem::path& directory);

// `said`: bubblewrap's own words.
std::string sandbox_advice(std::string_view said);

}  // namespace tau::process
