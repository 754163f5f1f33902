// What the verbs that ask a running node share.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "http/json.h"

namespace tau::odo {

inline constexpr const char* kApiHelp = "A node's API: http://ADDRESS:PORT";

// Asks the API of a node, and waits for its answer. Errors: invalid_argument (no URL), unavailable
// (nobody answers), failed_precondition (why the node refused).
Result<http::Json> call(const std::string& api, std::string method, std::string path,
                        std::string body);

// "2027-01-31 10:00 UTC"
std::string day_of(std::int64_t unix_ms);

}  // namespace tau::odo
