// A member whose certificate the network's root takes back while it goes on as if nothing had
// happened: it dials nodes and sends them commands that every member may send. From the moment at
// which the revocation has reached a node, that node must not obey it any more, over its restarts
// too; what contradicts goes into the ledger.
//
// Owned by a fault; stop() before destruction. Loop thread only.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "p2p/simulated/network.h"
#include "runtime/task_group.h"
#include "testnet/simulation/ledger.h"
#include "testnet/simulation/world.h"

namespace tau::testnet::simulation {

class Outlaw {
 public:
  Outlaw(World& world, Ledger& ledger, std::uint64_t seed);
  // A member for a while, then revoked at one node, then an outlaw until the time is over. Longer,
  // where nobody can be told yet.
  Task<void> live_for(Duration duration);
  Task<void> stop();
  std::uint64_t obeyed() const { return obeyed_; }    // commands, before it was revoked there
  std::uint64_t refused() const { return refused_; }  // afterwards

 private:
  Task<void> be_revoked();
  Task<void> command(std::size_t index);

  World& world_;
  Ledger& ledger_;
  SeededRandom random_;
  p2p::NodeIdentity identity_;
  p2p::simulated::SimulatedHost host_;
  runtime::TaskGroup tasks_;
  Bytes list_;                // that names it
  std::uint64_t number_ = 0;  // of that list; 0: there is none yet
  bool told_ = false;         // one node has it on its disk
  std::uint64_t obeyed_ = 0, refused_ = 0;
};

}  // namespace tau::testnet::simulation
