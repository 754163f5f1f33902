// Asks a running dream, over its control API.
#pragma once

#include <functional>
#include <string>

#include "http/json.h"
#include "net/network.h"

namespace tau::dream {

// Errors: unavailable (no dream runs there: says how to start one), and what the API answers.
Result<http::Json> ask(const net::Endpoint& control, const std::string& method,
                       const std::string& target, const http::Json& body = {});

// The universe that a command means: `named`, else the only one, else blackhole. Errors: those of
// ask(); invalid_argument (several: names them).
Result<std::string> universe_meant(const net::Endpoint& control, const std::string& named);

// Prints the lines of an answer of JSON lines by `show`, to its end. Errors: as ask(); what `show`
// says ends it.
Status read_lines(const net::Endpoint& control, const std::string& target,
                  const std::function<Status(const http::Json&)>& show);

// Waits until nothing listens there any more. Errors: deadline_exceeded.
Status wait_until_gone(const net::Endpoint& control);

}  // namespace tau::dream
