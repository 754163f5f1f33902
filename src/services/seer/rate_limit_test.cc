#include "services/seer/rate_limit.h"

#include <gtest/gtest.h>

namespace tau::seer {
namespace {

using namespace std::chrono_literals;
using Kind = RateLimiter::Kind;
using Verdict = RateLimiter::Verdict;

struct Count {
  int pass = 0, slip = 0, drop = 0;
};
Count ask(RateLimiter& limiter, std::string_view address, Kind kind, TimePoint now, int times) {
  Count count;
  for (int i = 0; i < times; ++i) {
    const auto verdict = limiter.admit(address, kind, now);
    ++(verdict == Verdict::pass ? count.pass : verdict == Verdict::slip ? count.slip : count.drop);
  }
  return count;
}

class Limits : public testing::Test {
 protected:
  SeededRandom random{7};
  const TimePoint start{1h};
};

TEST_F(Limits, AreOneSecondsWorthAtOnceAndThenTheRate) {
  RateLimiter limiter({100, 10, 2}, random);
  EXPECT_EQ(ask(limiter, "192.0.2.1", Kind::answer, start, 500).pass, 100);
  EXPECT_EQ(ask(limiter, "192.0.2.1", Kind::answer, start + 100ms, 500).pass, 10);
  EXPECT_EQ(ask(limiter, "192.0.2.1", Kind::answer, start + 1h, 500).pass, 100);
  EXPECT_EQ(ask(limiter, "192.0.2.1", Kind::name_error, start, 500).pass, 10);
}

TEST_F(Limits, SendEverySecondBackToTcpOrTheNumberThatIsSet) {
  RateLimiter limiter({100, 10, 2}, random);
  const Count half = ask(limiter, "192.0.2.1", Kind::answer, start, 300);
  EXPECT_EQ(half.slip, 100);
  EXPECT_EQ(half.drop, 100);
  RateLimiter never({100, 10, 0}, random);
  EXPECT_EQ(ask(never, "192.0.2.1", Kind::answer, start, 300).slip, 0);
  RateLimiter off({0, 0, 2}, random);
  EXPECT_EQ(ask(off, "192.0.2.1", Kind::answer, start, 3000).pass, 3000);
}

TEST_F(Limits, AreSharedByANetworkAndByNobodyElse) {
  RateLimiter limiter({100, 10, 2}, random);
  EXPECT_EQ(ask(limiter, "192.0.2.1", Kind::answer, start, 200).pass, 100);
  EXPECT_EQ(ask(limiter, "192.0.2.254", Kind::answer, start, 200).pass, 0);
  EXPECT_EQ(ask(limiter, "192.0.3.1", Kind::answer, start, 200).pass, 100);
  EXPECT_EQ(ask(limiter, "192.0.2.1", Kind::no_data, start, 200).pass, 100) << "another kind";
  EXPECT_EQ(ask(limiter, "2001:db8:0:100::1", Kind::answer, start, 200).pass, 100);
  EXPECT_EQ(ask(limiter, "2001:db8:0:1ff::1", Kind::answer, start, 200).pass, 0) << "the same /56";
  EXPECT_EQ(ask(limiter, "2001:db8:0:200::1", Kind::answer, start, 200).pass, 100);
}

TEST_F(Limits, HoldForALoudOneHoweverManyOthersAskOnce) {
  RateLimiter limiter({100, 10, 2}, random);
  EXPECT_EQ(ask(limiter, "192.0.2.1", Kind::answer, start, 200).pass, 100);
  for (int i = 0; i < 60'000; ++i)
    (void)limiter.admit("11." + std::to_string(i >> 8 & 255) + "." + std::to_string(i & 255) + ".1",
                        Kind::answer, start);
  EXPECT_EQ(ask(limiter, "192.0.2.1", Kind::answer, start, 200).pass, 0);
}

}  // namespace
}  // namespace tau::seer
