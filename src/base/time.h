// Time as an argument. Monotonic time drives timers and deadlines; wall time only goes into records
// and certificates.
#pragma once

#include <chrono>
#include <cstdint>

namespace tau {

using Duration = std::chrono::nanoseconds;

// Since an arbitrary start of this process (or of the simulated world).
struct TimePoint {
  Duration since_start{};
  friend auto operator<=>(const TimePoint&, const TimePoint&) = default;
  friend TimePoint operator+(TimePoint t, Duration d) { return {t.since_start + d}; }
  friend TimePoint operator-(TimePoint t, Duration d) { return {t.since_start - d}; }
  friend Duration operator-(TimePoint a, TimePoint b) { return a.since_start - b.since_start; }
};

class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;
  virtual std::int64_t wall_unix_ms() const = 0;  // UTC
};

class SystemClock final : public Clock {
 public:
  TimePoint now() const override { return {std::chrono::steady_clock::now().time_since_epoch()}; }
  std::int64_t wall_unix_ms() const override {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
};

}  // namespace tau
