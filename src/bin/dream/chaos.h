// dream chaos: breaks things in a running universe on purpose, and does it again from a file.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "base/error.h"

namespace tau::dream {

// Adds `dream chaos …` to the program; what its commands say goes to `status`. `control` is where
// the option --control writes to.
void add_chaos(CLI::App& app, std::string& control, Status& status);

}  // namespace tau::dream
