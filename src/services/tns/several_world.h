// The town of service_scenario.h with several tns nodes whose disks take their time, for tests that
// wait until the members of shards have settled.
#pragma once

#include <functional>

#include "services/tns/test_world.h"

namespace tau::tns {

struct SeveralWorld {
  // `step`: of virtual time, between two looks of wait().
  SeveralWorld(std::size_t tns_count, std::uint64_t seed, Duration step)
      : random(seed),
        pace(step),
        town(loop, random, on(network), std::chrono::milliseconds(2), tns_count) {
    network.set_latency(std::chrono::milliseconds(1), Duration::zero());
  }
  bool wait(const std::function<bool()>& met, Duration limit) {
    for (const auto until = loop.now() + limit; loop.now() < until; town.pass(pace))
      if (met()) return true;
    return met();
  }
  runtime::VirtualLoop loop;
  SeededRandom random;
  Duration pace;
  p2p::simulated::SimulatedNetwork network{loop, random};
  Town town;
};

}  // namespace tau::tns
