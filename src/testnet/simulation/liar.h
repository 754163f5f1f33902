// A member of the network that means no good: it has a valid certificate (of a plain node), and
// sends what is malformed, not its to say, or not so: broken frames, frames that never end,
// commands of roles that it lacks, made-up gossip, promises of content that it does not have.
//
// Owned by a fault; stop() before destruction. Loop thread only.
#pragma once

#include <memory>
#include <optional>

#include "p2p/simulated/network.h"
#include "runtime/task_group.h"
#include "testnet/simulation/world.h"

namespace tau::testnet::simulation {

class Liar {
 public:
  Liar(World& world, std::uint64_t seed);
  Task<void> lie_for(Duration duration);
  Task<void> stop();
  std::uint64_t told() const { return told_; }

 private:
  Task<void> lie();
  Task<void> break_frames(PeerId to, std::string protocol, Bytes bytes, bool hang);
  Bytes noise(std::size_t size_max);
  Bytes forged_frame();
  void gossip();
  std::optional<PeerId> one_of(std::string_view role);
  Task<void> pose();
  Task<void> release();
  template <class C>
  Task<Result<typename C::Response>> call(PeerId to, std::string_view protocol,
                                          typename C::Request request);

  World& world_;
  SeededRandom random_;
  p2p::NodeIdentity identity_;
  p2p::simulated::SimulatedHost host_;
  runtime::TaskGroup tasks_;
  std::uint64_t told_ = 0;
};

}  // namespace tau::testnet::simulation
