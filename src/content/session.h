// Session: the peers that are asked for the blocks of one piece of content. Remembers who had them
// and who did not, so that the blocks of one DAG come from the peers that hold it, shared out among
// them. A peer that lied is never asked again.
//
// Loop thread only; outlives the gets that run in it.
#pragma once

#include <memory>
#include <set>
#include <vector>

#include "content/bitswap.h"

namespace tau::content {

class Session {
 public:
  Session(runtime::Loop& loop, p2p::Host& host, Bitswap& bitswap)
      : loop_(loop), host_(host), bitswap_(bitswap) {}

  // Those that are known already, and those above the bound, are left out.
  void add(const std::vector<PeerId>& peers);

  // Asks the best connected member; another one as soon as one does not have the block, and
  // whenever an answer is slow. With no member left to ask, connected providers of the block become
  // members (Kademlia), and at last every connected peer. Gives the first data that arrives.
  // Errors: not_found (all that answered lack it), unavailable (nobody could be asked), cancelled.
  Task<Result<Bytes>> get(codec::Cid cid);

  std::size_t dropped() const;  // peers that lied

 private:
  struct Member {
    PeerId peer;
    std::size_t in_flight = 0;
    unsigned misses = 0;  // since it last had a block
    bool lied = false;
  };
  struct Race;

  std::shared_ptr<Member> best(const std::set<PeerId>& asked) const;
  Task<void> add_providers(codec::Cid cid);
  Task<void> reach(PeerId peer);
  Task<void> ask(std::shared_ptr<Race> race, std::shared_ptr<Member> member);

  runtime::Loop& loop_;
  p2p::Host& host_;
  Bitswap& bitswap_;
  std::vector<std::shared_ptr<Member>> members_;
};

}  // namespace tau::content
