// Asks a seer over DNS, as a resolver would: for tools that show where a name leads, and for tests.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/time.h"
#include "net/network.h"
#include "runtime/task.h"
#include "services/seer/dns_message.h"

namespace tau::seer::dns {

// One question of class IN, with recursion desired off. `name` is a host name: labels of 1 to 63
// characters.
Bytes encode_query(std::uint16_t id, std::string_view name, Type type);

struct Addresses {
  Rcode rcode = Rcode::no_error;
  std::vector<std::string> addresses;  // of the family asked for, in the answer's order
};
// The server may be anybody. Errors: invalid_argument (malformed, or not the answer to that
// question).
Result<Addresses> parse_addresses(BytesView message, std::uint16_t id, Type type);

// One datagram and its answer; no retry. Errors: unavailable, deadline_exceeded, invalid_argument.
Task<Result<Addresses>> resolve(net::Network& network, net::Endpoint server, std::string name,
                                Type type, Duration limit = std::chrono::seconds(2));

}  // namespace tau::seer::dns
