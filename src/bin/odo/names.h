// The verbs about what the registry holds: names, pointers.
#pragma once

#include <CLI/CLI.hpp>

#include "base/error.h"

namespace tau::odo {

// Adds them to `app`; they set `status`. Both outlive the parsing.
void declare_names(CLI::App& app, Status& status);

}  // namespace tau::odo
