// The fixtures of `dream inject` that push: with the user's own key and rights, by git, as tau
// does.
#pragma once

#include <filesystem>
#include <string>

#include "base/error.h"
#include "bin/tau/terminal.h"
#include "net/network.h"

namespace tau::dream {

struct FixtureOptions {
  std::filesystem::path path = ".";  // a folder with config/ and code/
  std::string branch = "main";
  std::string repository;  // of push-specific
  std::string label;       // of a project that is new to the universe; empty: from its name
  std::string fqdn;        // of attach-domain
  std::string name = "hello";
  bool follow = true;  // until the build has ended
};

// Gives the exit code. Errors: not_found (no such fixture, no project in the folder),
// failed_precondition (one that has no place here: says what to do instead; what git says).
Result<int> run_fixture(const net::Endpoint& control, const std::string& universe,
                        const std::string& fixture, const FixtureOptions& options,
                        const cli::Terminal& terminal);

}  // namespace tau::dream
