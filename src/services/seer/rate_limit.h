// How many answers one client's network gets: so that a sender of forged questions gains nothing
// from us against whose address it forges, and a flood from one place leaves the others their
// answers.
//
// A bucket of tokens for each network (IPv4 /24, IPv6 /56: what one subscriber or forger commonly
// has) and kind of answer; it holds one second's worth. Of what exceeds it, every slip-th is
// answered with a truncated message, so that a real client comes back over TCP, which cannot be
// forged; the rest is dropped. Memory is fixed: a table of kBuckets, of which the emptiest of a few
// gives way to a newcomer. Pure; loop thread only.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "base/time.h"

namespace tau::seer {

struct RateLimits {
  // Addresses, texts and the like: enough for a resolver of thousands of users behind one /24,
  // since answers are kept by it for their TTL. 0: no limit.
  std::uint32_t answers_per_second = 200;
  // NXDOMAIN, REFUSED, FORMERR, and questions that must be passed on to tns. 0: no limit.
  std::uint32_t negatives_per_second = 50;
  std::uint32_t slip = 2;  // every how manieth is answered truncated; 0: none
};

class RateLimiter {
 public:
  enum class Kind : std::uint8_t { answer, no_data, name_error, error, lookup };
  enum class Verdict : std::uint8_t { pass, slip, drop };

  // `random` keys the table, so that nobody can choose addresses that share one place in it.
  RateLimiter(RateLimits limits, Random& random);

  // `address`: numeric. One that is not is never limited (simulated peers).
  Verdict admit(std::string_view address, Kind kind, TimePoint now);

  // What stands for the network of `address`, the same for all its hosts; 0 if it is none.
  std::uint64_t network_of(std::string_view address) const;

 private:
  static constexpr std::size_t kWays = 8;
  static constexpr std::size_t kSets = 4096;  // 32,768 buckets of 24 bytes: 768 KiB
  struct Bucket {
    std::uint64_t key = 0;
    Duration due{};          // when the bucket is full again: later than now by what was taken
    std::uint32_t over = 0;  // answers refused so far: every slip-th goes out truncated
  };
  Bucket& bucket(std::uint64_t key);

  const RateLimits limits_;
  std::array<std::uint64_t, 2> secret_;
  std::vector<std::array<Bucket, kWays>> sets_;
};

}  // namespace tau::seer
