#include "services/patrick/bids.h"

#include <algorithm>
#include <tuple>

namespace tau::patrick {
namespace {

constexpr std::int64_t kWarm = 100, kSlot = 10, kLost = 1000;
constexpr std::uint32_t kSlotsCounted = 8, kMemoryCounted = 8, kLoadMax = 100;
constexpr std::uint32_t kMemoryUnitMib = 512;

}  // namespace

std::int64_t score(const Bidder& bidder, const JobRecord& job) {
  const Bid& bid = bidder.bid;
  std::int64_t points = 0;
  if (std::ranges::find(bid.warm, job.job.project) != bid.warm.end()) points += kWarm;
  points += kSlot * std::min(bid.slots, kSlotsCounted);
  points += std::min(bid.memory_mib / kMemoryUnitMib, kMemoryCounted);
  points -= std::min(bid.load_percent, kLoadMax);
  if (job.fence > 0 && job.monkey == bidder.monkey) points -= kLost;
  return points;
}

std::optional<std::size_t> best_bid(const std::vector<Bidder>& bidders, const JobRecord& job) {
  const auto place = [&](const Bidder& b) {
    return std::tuple(-score(b, job), b.order, std::cref(b.monkey.str()));
  };
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < bidders.size(); ++i) {
    if (!best) {
      best = i;
      continue;
    }
    const auto [score_a, order_a, id_a] = place(bidders[i]);
    const auto [score_b, order_b, id_b] = place(bidders[*best]);
    if (std::tie(score_a, order_a, id_a.get()) < std::tie(score_b, order_b, id_b.get())) best = i;
  }
  return best;
}

}  // namespace tau::patrick
