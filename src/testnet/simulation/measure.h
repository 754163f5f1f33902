// What a network costs when nothing goes wrong: messages and bytes for each node and minute.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "p2p/simulated/wire.h"

namespace tau::testnet::simulation {

struct Cost {
  std::size_t nodes = 0, pushes = 0;  // pushes that were accepted while it was counted
  // Of one node in a minute. A message is one delivery of the simulated network, about one packet.
  double messages = 0, bytes = 0;
  std::array<double, p2p::simulated::kKinds> messages_of_kind{};
  double connections = 0;  // of a node, at the end
  double virtual_per_cpu_second = 0;
};

// Counts for `minutes` of virtual time, after the network has come to rest. Errors: a node does not
// start, or pushes are not taken.
Result<Cost> measure(std::size_t nodes, double pushes_a_minute, double minutes);

}  // namespace tau::testnet::simulation
