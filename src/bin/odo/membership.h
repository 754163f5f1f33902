// The verbs about who belongs to a network, while it runs: renew, revoke, restore, revocations; and
// what a running node says of itself and its peers.
#pragma once

#include <CLI/CLI.hpp>

#include "base/error.h"

namespace tau::odo {

// Adds them to `app` and to its subcommand `network`; they set `status`. Both outlive the parsing.
void declare_membership(CLI::App& app, CLI::App& network, Status& status);

}  // namespace tau::odo
