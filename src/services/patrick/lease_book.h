// The leases of the jobs that are being built, as the patrick that leads keeps them: who holds
// which is decided by the group (jobs.h), until when is the leader's alone, by its monotonic clock.
// Who comes to lead gives each a whole lease, so one may last longer than its monkey was told, by
// an election, and is never shorter.
//
// Pure; forgotten by who leads no more.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "base/strong_id.h"
#include "base/time.h"

namespace tau::patrick {

class LeaseBook {
 public:
  explicit LeaseBook(Duration length) : length_(length) {}

  // A whole lease from now on, whatever it had.
  void begin(const JobId& job, std::uint64_t fence, TimePoint now);
  // False: it is not here, or is being ended.
  bool renew(const JobId& job, std::uint64_t fence, TimePoint now);
  void end(const JobId& job) { leases_.erase(job); }
  void clear() { leases_.clear(); }
  bool has(const JobId& job, std::uint64_t fence) const;

  struct Held {
    JobId job;
    std::uint64_t fence = 0;
  };
  std::vector<Held> over(TimePoint now) const;
  std::optional<TimePoint> next_expiry() const;

 private:
  struct Lease {
    std::uint64_t fence = 0;
    TimePoint until;
  };
  Duration length_;
  std::map<JobId, Lease> leases_;
};

}  // namespace tau::patrick
