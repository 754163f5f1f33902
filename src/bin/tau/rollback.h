// Deployments of before: what a branch served, and going back to it by the owner's order.
#pragma once

#include <cstdint>
#include <string>

#include "bin/tau/cloud.h"
#include "bin/tau/terminal.h"
#include "crypto/ed25519.h"

namespace tau::cli {

// Prints them, newest first.
Status show_history(Cloud& cloud, const Terminal& terminal, const std::string& project,
                    const std::string& branch);

// `to`: a seq of the history, or (the beginning of) a deployment's CID; empty: the newest
// deployment that is older than the one that serves. Signs the order and gives it. Errors:
// not_found (no such version, or nothing before), and what the cloud says.
Status roll_back(Cloud& cloud, const Terminal& terminal, const crypto::KeyPair& owner,
                 const std::string& project, const std::string& branch, const std::string& to,
                 std::int64_t now_unix_ms);

// What `to` means in a history (the cloud's "versions"). Errors: not_found, invalid_argument
// (several deployments begin like that).
Result<http::Json> version_to_serve(const http::Json& versions, const std::string& to);

}  // namespace tau::cli
