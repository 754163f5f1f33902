// Whom a monkey asks to hold a deployment: two hoarders, or all where fewer are connected. An
// answer counts when it says that everything is on that hoarder's disk.
//
// Loop thread only; keeps nothing.
#pragma once

#include "base/random.h"
#include "command/caller.h"
#include "services/monkey/holders.h"

namespace tau::node {

// An acknowledged write is on the disks of this many owners.
inline constexpr std::size_t kHoldersWanted = 2;

class Hoarders final : public monkey::Holders {
 public:
  Hoarders(runtime::Loop& loop, command::Caller& caller, Random& random, PeerId self)
      : loop_(loop), caller_(caller), random_(random), self_(std::move(self)) {}

  Task<Result<std::vector<PeerId>>> hold(codec::Cid root) override;
  Task<Status> hold_also(codec::Cid root, std::vector<PeerId> holders) override;

 private:
  struct Asking;
  Task<Result<std::vector<PeerId>>> ask(Asking& asking, std::size_t wanted);
  Task<void> ask_in_turn(Asking& asking);

  runtime::Loop& loop_;
  command::Caller& caller_;
  Random& random_;
  const PeerId self_;
};

}  // namespace tau::node
