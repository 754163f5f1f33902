#include "consensus/leases.h"

#include <algorithm>
#include <utility>

namespace tau::consensus {

std::uint64_t ReplicatedClock::advance(Stamp stamp) {
  // A leader's first command only says where its count stands.
  if (stamp.term == term_ && stamp.elapsed_ms > elapsed_ms_)
    now_ms_ += stamp.elapsed_ms - elapsed_ms_;
  if (stamp.term != term_ || stamp.elapsed_ms > elapsed_ms_) elapsed_ms_ = stamp.elapsed_ms;
  term_ = stamp.term;
  return now_ms_;
}

Result<Lease> Leases::acquire(const std::string& name, const std::string& holder,
                              std::uint64_t length_ms, std::uint64_t now_ms) {
  if (name.empty() || holder.empty() || name.size() > kTextMax || holder.size() > kTextMax)
    return fail(ErrorCode::invalid_argument, "a lease needs a name and a holder, of at most " +
                                                 std::to_string(kTextMax) + " bytes each");
  if (length_ms == 0 || length_ms > kLengthMaxMs)
    return fail(
        ErrorCode::invalid_argument,
        "a lease lasts from 1 to " + std::to_string(kLengthMaxMs) + " ms; renew it for more");
  if (const Lease* held = find(name, now_ms); held && held->holder != holder)
    return fail(ErrorCode::already_exists, "lease " + name + " is held by " + held->holder +
                                               " for another " +
                                               std::to_string(held->ends_ms - now_ms) + " ms");
  if (const Lease* mine = find(name, now_ms)) return renew(name, mine->fence, length_ms, now_ms);
  if (leases_.size() >= kLeasesMax) forget_ended(now_ms);
  if (leases_.size() >= kLeasesMax)
    return fail(ErrorCode::resource_exhausted,
                "all " + std::to_string(kLeasesMax) + " leases are held; wait until some end");
  Lease lease{name, holder, ++last_fence_, now_ms + length_ms};
  leases_.insert_or_assign(name, lease);
  return lease;
}

Result<Lease> Leases::renew(const std::string& name, std::uint64_t fence, std::uint64_t length_ms,
                            std::uint64_t now_ms) {
  if (length_ms == 0 || length_ms > kLengthMaxMs)
    return fail(ErrorCode::invalid_argument,
                "a lease lasts from 1 to " + std::to_string(kLengthMaxMs) + " ms");
  const auto it = leases_.find(name);
  if (it == leases_.end() || it->second.fence != fence || it->second.ends_ms <= now_ms)
    return fail(ErrorCode::failed_precondition,
                "lease " + name + " with the fence " + std::to_string(fence) +
                    " has ended; acquire it again, and give up what was done under it");
  it->second.ends_ms = std::max(it->second.ends_ms, now_ms + length_ms);
  return it->second;
}

void Leases::release(const std::string& name, std::uint64_t fence) {
  const auto it = leases_.find(name);
  if (it != leases_.end() && it->second.fence == fence) leases_.erase(it);
}

const Lease* Leases::find(const std::string& name, std::uint64_t now_ms) const {
  const auto it = leases_.find(name);
  return it == leases_.end() || it->second.ends_ms <= now_ms ? nullptr : &it->second;
}

void Leases::forget_ended(std::uint64_t now_ms) {
  std::erase_if(leases_, [&](const auto& lease) { return lease.second.ends_ms <= now_ms; });
}

Leases::State Leases::state() const {
  State state{last_fence_, {}};
  for (const auto& [name, lease] : leases_) state.leases.push_back(lease);
  return state;
}

void Leases::restore(State state) {
  last_fence_ = state.last_fence;
  leases_.clear();
  for (Lease& lease : state.leases) {
    last_fence_ = std::max(last_fence_, lease.fence);
    std::string name = lease.name;
    leases_.insert_or_assign(std::move(name), std::move(lease));
  }
}

}  // namespace tau::consensus
