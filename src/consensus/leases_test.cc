#include "consensus/leases.h"

#include "consensus/test_cluster.h"

namespace tau::consensus {
namespace {

TEST(ReplicatedClock, CountsWhatPassesUnderOneLeaderAndNothingBetweenTwo) {
  ReplicatedClock clock;
  EXPECT_EQ(clock.advance({1, 5'000}), 0u);
  EXPECT_EQ(clock.advance({1, 5'700}), 700u);
  EXPECT_EQ(clock.advance({2, 90'000'000}), 700u);  // a leader that has been up for a day
  EXPECT_EQ(clock.advance({2, 90'000'300}), 1'000u);
}

TEST(ReplicatedClock, NeverGoesBackAndDoesNotStandStillAfterwards) {
  ReplicatedClock clock;
  clock.advance({1, 1'000});
  EXPECT_EQ(clock.advance({1, 2'000}), 1'000u);
  EXPECT_EQ(clock.advance({1, 500}), 1'000u);
  EXPECT_EQ(clock.advance({1, 2'500}), 1'500u);
  EXPECT_EQ(clock.advance({2, 0}), 1'500u);
  EXPECT_EQ(clock.advance({2, 100}), 1'600u);
}

TEST(Leases, HaveOneHolderAndAFenceThatGrowsWithEach) {
  Leases leases;
  const auto a = leases.acquire("tick", "a", 1'000, 0);
  ASSERT_TRUE(a);
  EXPECT_EQ(leases.acquire("tick", "b", 1'000, 999).error().code(), ErrorCode::already_exists);
  const auto other = leases.acquire("job", "b", 1'000, 999);
  ASSERT_TRUE(other);
  EXPECT_GT(other->fence, a->fence);
  const auto b = leases.acquire("tick", "b", 1'000, 1'000);
  ASSERT_TRUE(b);
  EXPECT_GT(b->fence, other->fence);
  EXPECT_FALSE(leases.renew("tick", a->fence, 1'000, 1'001));
  leases.release("tick", a->fence);  // too late: it is b's
  ASSERT_TRUE(leases.find("tick", 1'001));
  EXPECT_EQ(leases.find("tick", 1'001)->holder, "b");
}

TEST(Leases, AreRenewedWithTheSameFenceAndNeverAfterTheirEnd) {
  Leases leases;
  const auto a = leases.acquire("tick", "a", 1'000, 0);
  ASSERT_TRUE(a);
  EXPECT_EQ(leases.renew("tick", a->fence, 1'000, 900)->ends_ms, 1'900u);
  EXPECT_EQ(leases.acquire("tick", "a", 1'000, 1'000)->fence, a->fence);
  EXPECT_EQ(leases.renew("tick", a->fence, 1'000, 2'000).error().code(),
            ErrorCode::failed_precondition);
  EXPECT_GT(leases.acquire("tick", "a", 1'000, 2'000)->fence, a->fence);
}

TEST(Leases, KeepTheirFencesAcrossSnapshotsAlsoOfLeasesThatAreGone) {
  Leases leases;
  const auto a = leases.acquire("tick", "a", 1'000, 0);
  leases.release("tick", a->fence);
  Leases copy;
  const auto state = codec::from_cbor<Leases::State>(codec::to_cbor(leases.state()));
  ASSERT_TRUE(state);
  copy.restore(*state);
  EXPECT_GT(copy.acquire("tick", "b", 1'000, 0)->fence, a->fence);
}

TEST(Leases, AreBounded) {
  Leases leases;
  EXPECT_FALSE(leases.acquire("", "a", 1, 0));
  EXPECT_FALSE(leases.acquire("x", std::string(Leases::kTextMax + 1, 'a'), 1, 0));
  EXPECT_FALSE(leases.acquire("x", "a", 0, 0));
  EXPECT_FALSE(leases.acquire("x", "a", Leases::kLengthMaxMs + 1, 0));
  for (std::size_t i = 0; i < Leases::kLeasesMax; ++i)
    ASSERT_TRUE(leases.acquire(std::to_string(i), "a", 1'000, 0));
  EXPECT_EQ(leases.acquire("more", "a", 1, 0).error().code(), ErrorCode::resource_exhausted);
  EXPECT_TRUE(leases.acquire("more", "a", 1, 1'000));  // the others have ended
}

// The machine of a stamped group: says how much time has passed for it.
class Watch final : public StateMachine {
 public:
  Bytes apply(BytesView data) override {
    const auto stamped = take_stamp(data);
    CHECK(stamped);
    return to_bytes(std::string_view(std::to_string(clock.advance(stamped->stamp))));
  }
  Bytes snapshot() const override { return codec::to_cbor(clock); }
  Status restore(BytesView data) override {
    TRY(clock, codec::from_cbor<ReplicatedClock>(data));
    return {};
  }
  ReplicatedClock clock;
};

TEST(StampedGroup, GivesItsMachineTheLeadersTime) {
  Network net;
  Member a(net);
  Groups groups(net.loop, a.host, net.random, Logger(), {.name = "w", .role = "tns"});
  ASSERT_TRUE(groups.start());
  Watch watch;
  Group group(groups, a.kv, {.name = "w", .voters = {a.host.id()}, .stamped = true}, watch);
  ASSERT_TRUE(block_on(net.loop, group.start()));
  const auto tick = [&] { return std::stoi(to_text(*block_on(net.loop, group.propose({})))); };
  const int first = tick();
  block_on(net.loop, runtime::sleep_for(10s));  // it slept meanwhile; its leader's time did not
  EXPECT_NEAR(tick() - first, 10'000, 20);
  block_on(net.loop, group.stop());
  ASSERT_TRUE(block_on(net.loop, group.start()));
  EXPECT_LE(tick() - first, 10'100);
  block_on(net.loop, group.stop());
  block_on(net.loop, groups.stop());
}

}  // namespace
}  // namespace tau::consensus
