// Bids: which of the monkeys that wait gets the job that came. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "services/patrick/jobs.h"

namespace tau::patrick {

struct Bidder {
  PeerId monkey;
  Bid bid;
  std::uint64_t order = 0;  // counts the polls of all monkeys: a smaller one waits longer
};

// The larger, the better:
//
//   + 100  built this project lately: what did not change is not built again
//   +  10  for each free slot, at most 8: jobs spread over the monkeys that have room
//   +   1  for each free 512 MiB, at most 8
//   -   1  for each percent of load, at most 100
//   - 1000 lost this very job before: better anybody else, but better it than nobody
//
// So a warm cache outweighs any room, unless its machine is busy and another's is not.
std::int64_t score(const Bidder& bidder, const JobRecord& job);

// The best of them; of equals the one that waits longest, then the smaller peer id. Nothing: there
// are none.
std::optional<std::size_t> best_bid(const std::vector<Bidder>& bidders, const JobRecord& job);

}  // namespace tau::patrick
