// A monkey that claims leases that it does not have, with the right numbers: as one might that
// slept for long. No patrick may believe it.
//
// Owned by the people; stop() before destruction. Loop thread only.
#pragma once

#include "p2p/simulated/network.h"
#include "services/patrick/api.h"
#include "testnet/simulation/ledger.h"
#include "testnet/simulation/world.h"

namespace tau::testnet::simulation {

class Claimant {
 public:
  Claimant(World& world, Ledger& ledger, std::uint64_t seed);
  Task<void> claim(patrick::JobStatus job);  // from every patrick that it reaches
  Task<void> stop();

 private:
  World& world_;
  Ledger& ledger_;
  SeededRandom random_;
  p2p::NodeIdentity identity_;
  p2p::simulated::SimulatedHost host_;
  bool started_ = false;
};

}  // namespace tau::testnet::simulation
