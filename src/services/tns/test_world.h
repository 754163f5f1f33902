// The town of service_scenario.h on a simulated network, for tests.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "codec/peer_id.h"
#include "p2p/simulated/network.h"
#include "services/tns/service_scenario.h"

namespace tau::tns {

inline command::Members::HostFactory on(p2p::simulated::SimulatedNetwork& network) {
  return [&network](const crypto::KeyPair& key, p2p::Admission admission) {
    return std::make_unique<p2p::simulated::SimulatedHost>(
        network, codec::peer_id_of(key.public_key()), std::move(admission), Logger());
  };
}

struct World {
  explicit World(Duration sync = {}, std::size_t tns_count = 1)
      : network(loop, random), town(loop, random, on(network), sync, tns_count) {
    network.set_latency(std::chrono::milliseconds(1), Duration::zero());
  }
  // No tns for the substrate until heal().
  void cut() { network.partition({{town.tns.host->id(), town.monkey.host->id()}}); }
  void heal() {
    network.heal();
    (void)runtime::block_on(loop, town.substrate.host->connect(town.tns.host->addresses()[0]));
  }
  runtime::VirtualLoop loop;
  SeededRandom random{3};
  p2p::simulated::SimulatedNetwork network;
  Town town;
};

inline const std::vector<std::string> kHello = {"hello.x.localhost"};

// Answers lookups as it is told to, in place of a tns node.
struct Liar {
  std::function<Result<Lookup::Response>(const Lookup::Request&)> lie;
  int asked = 0;
  Task<Result<Lookup::Response>> handle(command::Peer, Lookup::Request request) {
    ++asked;
    co_return lie(request);
  }
};

}  // namespace tau::tns
