// Asks a running dream, over its control API.
#pragma once

#include <string>

#include "http/json.h"
#include "net/network.h"

namespace tau::dream {

// Errors: unavailable (no dream runs there: says how to start one), and what the API answers.
Result<http::Json> ask(const net::Endpoint& control, const std::string& method,
                       const std::string& target);

// Waits until nothing listens there any more. Errors: deadline_exceeded.
Status wait_until_gone(const net::Endpoint& control);

}  // namespace tau::dream
