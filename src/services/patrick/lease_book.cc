#include "services/patrick/lease_book.h"

#include <algorithm>

namespace tau::patrick {

void LeaseBook::begin(const JobId& job, std::uint64_t fence, TimePoint now) {
  leases_.insert_or_assign(job, Lease{fence, now + length_});
}

bool LeaseBook::renew(const JobId& job, std::uint64_t fence, TimePoint now) {
  const auto it = leases_.find(job);
  if (it == leases_.end() || it->second.fence != fence) return false;
  it->second.until = std::max(it->second.until, now + length_);
  return true;
}

bool LeaseBook::has(const JobId& job, std::uint64_t fence) const {
  const auto it = leases_.find(job);
  return it != leases_.end() && it->second.fence == fence;
}

std::vector<LeaseBook::Held> LeaseBook::over(TimePoint now) const {
  std::vector<Held> found;
  for (const auto& [job, lease] : leases_) {
    if (lease.until > now) continue;
    found.push_back({job, lease.fence});
  }
  return found;
}

std::optional<TimePoint> LeaseBook::next_expiry() const {
  std::optional<TimePoint> first;
  for (const auto& [job, lease] : leases_)
    if (!first || lease.until < *first) first = lease.until;
  return first;
}

}  // namespace tau::patrick
