#include "services/seer/rate_limit.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace tau::seer {
namespace {

// splitmix64's finalizer: every bit of the input changes half of the output's.
std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

constexpr Duration kBurst = std::chrono::seconds(1);

}  // namespace

RateLimiter::RateLimiter(RateLimits limits, Random& random)
    : limits_(limits), secret_{random.next_u64(), random.next_u64()}, sets_(kSets) {}

std::uint64_t RateLimiter::network_of(std::string_view address) const {
  std::uint8_t raw[16] = {};
  const std::string text(address);
  std::uint64_t prefix = 0;
  if (inet_pton(AF_INET, text.c_str(), raw) == 1) {
    prefix = 1ull << 56 | static_cast<std::uint64_t>(raw[0]) << 16 |
             static_cast<std::uint64_t>(raw[1]) << 8 | raw[2];
  } else if (inet_pton(AF_INET6, text.c_str(), raw) == 1) {
    prefix = 2ull << 56;
    for (int i = 0; i < 7; ++i) prefix |= static_cast<std::uint64_t>(raw[i]) << (48 - 8 * i);
  } else {
    return 0;
  }
  return mix(mix(prefix ^ secret_[0]) + secret_[1]) | 1;  // never 0, which marks a free bucket
}

RateLimiter::Bucket& RateLimiter::bucket(std::uint64_t key) {
  auto& set = sets_[(key >> 20) % kSets];
  const auto found = std::ranges::find(set, key, &Bucket::key);
  if (found != set.end()) return *found;
  // The one that took least: a network that is being limited keeps its bucket, however many others
  // ask once.
  Bucket& oldest = *std::ranges::min_element(set, {}, &Bucket::due);
  oldest = Bucket{key, {}, 0};
  return oldest;
}

RateLimiter::Verdict RateLimiter::admit(std::string_view address, Kind kind, TimePoint now) {
  const bool positive = kind == Kind::answer || kind == Kind::no_data;
  const std::uint32_t rate = positive ? limits_.answers_per_second : limits_.negatives_per_second;
  const std::uint64_t network = rate == 0 ? 0 : network_of(address);
  if (network == 0) return Verdict::pass;
  Bucket& own = bucket(mix(network + static_cast<std::uint64_t>(kind)) | 1);
  const Duration interval = kBurst / rate;
  const Duration due = std::max(own.due, now.since_start) + interval;
  if (due - now.since_start <= kBurst) {
    own.due = due;
    return Verdict::pass;
  }
  ++own.over;
  return limits_.slip != 0 && own.over % limits_.slip == 0 ? Verdict::slip : Verdict::drop;
}

}  // namespace tau::seer
