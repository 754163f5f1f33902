// Keeper: moves a group's members towards what consensus/voters.h chooses. Runs on every member;
// only the leader's does anything, one step each `pace`: a dead voter is replaced after `grace`,
// a node that is back earlier keeps its place.
//
// Loop thread only; between start() and stop(), within those of its group.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "consensus/voters.h"

namespace tau::consensus {

class Keeper {
 public:
  struct Options {
    VoterPolicy policy = {};
    Duration pace = std::chrono::seconds(5);
    Duration grace = std::chrono::minutes(5);  // longer than a restart, or an update of a machine
    // Candidate::rank, so that groups spread over the nodes; none: 0 for all.
    std::function<std::uint64_t(const PeerId&)> rank = nullptr;
  };
  Keeper(Groups& groups, Group& group, Options options);
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  void start();
  Task<void> stop();  // idempotent

 private:
  Task<void> run();
  Task<Status> step();
  std::vector<Candidate> candidates();

  Groups& groups_;
  Group& group_;
  Options options_;
  std::unique_ptr<runtime::TaskGroup> tasks_;
  std::map<PeerId, p2p::Certificate> seen_;  // of the members, also when they are away
  std::map<PeerId, TimePoint> away_since_;
};

}  // namespace tau::consensus
