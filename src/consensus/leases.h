// Leases with fencing numbers, as a piece of a state machine: who may do a thing now, decided by
// the group alone. Deterministic: commands and their stamps are all it knows of the world.
//
// Time is the leaders': each command of a stamped group carries how long its leader has led, by its
// monotonic clock, and ReplicatedClock adds up what passed between one leader's commands. Wall
// clocks have no part in it, so a clock that jumps expires nothing and revives nothing; the time
// between two leaders does not count, so a lease never ends early because of an election.
//
// The fence: each time a lease changes hands its number is larger than any before it, of any name.
// Whoever acts under a lease shows its number to what it acts on, which refuses smaller ones: that
// is what makes a holder harmless that was paused and believes in its lease still.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "codec/record.h"
#include "consensus/stamp.h"

namespace tau::consensus {

class ReplicatedClock {
 public:
  std::uint64_t advance(Stamp stamp);  // returns now_ms()
  std::uint64_t now_ms() const { return now_ms_; }

  static constexpr auto fields() {
    return std::tuple{codec::field("term", &ReplicatedClock::term_),
                      codec::field("elapsed", &ReplicatedClock::elapsed_ms_),
                      codec::field("now", &ReplicatedClock::now_ms_)};
  }

 private:
  std::uint64_t term_ = 0, elapsed_ms_ = 0, now_ms_ = 0;
};

struct Lease {
  std::string name, holder;
  std::uint64_t fence = 0;
  std::uint64_t ends_ms = 0;  // of the replicated time
  static constexpr auto fields() {
    return std::tuple{codec::field("name", &Lease::name), codec::field("holder", &Lease::holder),
                      codec::field("fence", &Lease::fence), codec::field("ends", &Lease::ends_ms)};
  }
};

class Leases {
 public:
  static constexpr std::size_t kLeasesMax = 65536;           // 20 MB
  static constexpr std::size_t kTextMax = 256;               // a name, a holder
  static constexpr std::uint64_t kLengthMaxMs = 86'400'000;  // who needs more renews

  // Now, of the replicated clock. A holder that asks again has its own lease, renewed, with the
  // same fence. Errors: already_exists (another holds it; the message says for how long),
  // invalid_argument, resource_exhausted.
  Result<Lease> acquire(const std::string& name, const std::string& holder, std::uint64_t length_ms,
                        std::uint64_t now_ms);
  // Errors: failed_precondition: it ended, or it is another's.
  Result<Lease> renew(const std::string& name, std::uint64_t fence, std::uint64_t length_ms,
                      std::uint64_t now_ms);
  // One that is gone already is released.
  void release(const std::string& name, std::uint64_t fence);
  // Nothing: free, or ended.
  const Lease* find(const std::string& name, std::uint64_t now_ms) const;
  std::size_t size() const { return leases_.size(); }

  // For the machine's snapshot.
  struct State {
    std::uint64_t last_fence = 0;
    std::vector<Lease> leases;
    static constexpr auto fields() {
      return std::tuple{codec::field("last_fence", &State::last_fence),
                        codec::field("leases", &State::leases)};
    }
  };
  State state() const;
  void restore(State state);

 private:
  void forget_ended(std::uint64_t now_ms);

  std::map<std::string, Lease> leases_;
  std::uint64_t last_fence_ = 0;
};

}  // namespace tau::consensus
