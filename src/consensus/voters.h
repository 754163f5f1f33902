// Who should vote: pure decisions over what the leader knows of the certified members. The keeper
// (consensus/keeper.h) carries them out, one step at a time.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "consensus/group.h"

namespace tau::consensus {

// A node that may belong to the group, or belongs to it. Empty: not known, which counts as one
// common operator or region, and as a host of its own.
struct Candidate {
  PeerId peer;
  std::string host, operated_by, region;  // failure domains, from its certificate
  bool live = false;                      // connected, certified for the role, and heard lately
  bool given_up = false;                  // not live for longer than the grace time
  bool ready = false;                     // a member that has caught up
  // Where failure domains do not tell them apart, the lower one is chosen. With all at 0, who is a
  // member stays one.
  std::uint64_t rank = 0;
};

struct VoterPolicy {
  std::size_t voters = 3;     // odd; fewer while there are fewer nodes
  std::size_t replicas = 16;  // members that do not vote, at most; one more while one makes room
};

// An odd number of voters that share as few hosts, then operators, then regions as can be. Those
// that vote already stay unless another choice is better. One that is given up goes when another
// can take its place, and not before: with fewer voters, fewer copies would count as a majority.
// For the same reason two voters stay two. `current` sorted.
std::vector<PeerId> choose_voters(const std::vector<Candidate>& candidates,
                                  const std::vector<PeerId>& current, const VoterPolicy& policy);

struct MemberStep {
  enum class Kind { add_replica, promote, demote, remove };
  Kind kind = Kind::add_replica;
  PeerId peer;
  friend bool operator==(const MemberStep&, const MemberStep&) = default;
};

// The next change towards that choice; nothing when there is none to make now. After each, a
// majority of the voters is live.
std::optional<MemberStep> next_step(const Members& members,
                                    const std::vector<Candidate>& candidates,
                                    const VoterPolicy& policy);

}  // namespace tau::consensus
