#include "p2p/simulated/network.h"
#include "services/patrick/service_scenario.h"

namespace tau::patrick {
namespace {

using namespace std::chrono_literals;

class PatrickService : public ::testing::Test {
 protected:
  command::Members::HostFactory hosts() {
    return [this](const crypto::KeyPair& key, p2p::Admission admission) {
      return std::make_unique<p2p::simulated::SimulatedHost>(
          network_, codec::peer_id_of(key.public_key()), std::move(admission), Logger());
    };
  }
  // Time goes by while nobody does anything.
  void pass(Duration d) { (void)runtime::block_on(loop_, runtime::sleep_for(d)); }

  runtime::VirtualLoop loop_;
  SeededRandom random_{1};
  p2p::simulated::SimulatedNetwork network_{loop_, random_};
};

TEST_F(PatrickService, TurnsPushesIntoJobsOnASimulatedNetwork) {
  run_patrick_scenario(loop_, random_, hosts());
}

TEST_F(PatrickService, GivesTheJobOfALostMonkeyToAnother) {
  Scenario s(loop_, random_, hosts());
  (void)s.push("config", 'a');
  const JobId job = s.push("code", 'b')->job;
  const auto first = s.call<TakeJob>(s.ann, {0});
  ASSERT_TRUE(first->job);
  pass(9s);
  EXPECT_TRUE(s.call<RenewLease>(s.ann, {job, first->fence}));
  pass(9s);
  EXPECT_EQ(s.state(job), JobState::building);
  // Bob waits for work and gets it as soon as the lease is over.
  const auto before = loop_.now();
  const auto second = s.call<TakeJob>(s.bob, {30'000});
  ASSERT_TRUE(second->job);
  EXPECT_LE(loop_.now() - before, 2s);
  EXPECT_GT(second->fence, first->fence);
  EXPECT_EQ(s.call<FinishJob>(s.ann, {job, first->fence, {}, "x"}).error().code(),
            ErrorCode::aborted);
  EXPECT_TRUE(s.call<FinishJob>(s.bob, {job, second->fence, {}, "main.cc:1:1: error: no"}));
  EXPECT_EQ(s.call<GetJob>(s.client, {job, {}, 0})->job.error, "main.cc:1:1: error: no");
}

TEST_F(PatrickService, LosesNothingAcknowledgedWhenItsMachineDies) {
  Scenario s(loop_, random_, hosts());
  (void)s.push("config", 'a');
  const JobId job = s.push("code", 'b')->job;
  const auto taken = s.call<TakeJob>(s.ann, {0});
  s.stop();
  s.kv.crash();
  s.start();
  EXPECT_EQ(s.state(job), JobState::building);
  EXPECT_TRUE(s.call<RenewLease>(s.ann, {job, taken->fence}));
  EXPECT_TRUE(s.call<FinishJob>(s.ann, {job, taken->fence, {}, "no"}));
  s.stop();
  s.kv.crash();
  s.start();
  EXPECT_EQ(s.state(job), JobState::failed);
  EXPECT_EQ(s.push("code", 'c')->seq, 3u) << "a seq never comes twice";
}

TEST_F(PatrickService, RefusesAPushThatItCouldNotKeepAndTakesItWhenToldAgain) {
  Scenario s(loop_, random_, hosts());
  (void)s.push("config", 'a');
  s.kv.fail_writes(Error(ErrorCode::resource_exhausted, "the disk is full"));
  EXPECT_EQ(s.push("code", 'b').error().code(), ErrorCode::resource_exhausted);
  EXPECT_FALSE(s.call<TakeJob>(s.ann, {0})->job);
  EXPECT_EQ(s.push("code", 'b')->seq, 2u);
  EXPECT_TRUE(s.call<TakeJob>(s.ann, {0})->job);
}

TEST_F(PatrickService, EndsALogAtItsBoundAndKeepsCharactersWhole) {
  Scenario s(loop_, random_, hosts());
  (void)s.push("config", 'a');
  const JobId job = s.push("code", 'b')->job;
  const auto taken = s.call<TakeJob>(s.ann, {0});
  std::string piece;
  while (piece.size() + 3 < kLogAppendBytesMax) piece += "\u20ac";
  for (int i = 0; i < 70; ++i) ASSERT_TRUE(s.call<AppendLog>(s.ann, {job, taken->fence, piece}));
  bool ended = true;
  const std::string log = s.log(job, ended);
  EXPECT_FALSE(ended);
  EXPECT_LE(log.size(), kLogBytesMax + 100);
  EXPECT_NE(log.find("[the log ends here: it has reached 4 MiB]"), std::string::npos);
}

TEST_F(PatrickService, SaysWhenALongPollEndsWithoutNews) {
  Scenario s(loop_, random_, hosts());
  const JobId job = s.push("config", 'a')->job;
  const auto before = loop_.now();
  const auto status = s.call<GetJob>(s.client, {job, JobState::waiting, 5'000});
  ASSERT_TRUE(status);
  EXPECT_EQ(status->job.state, JobState::waiting);
  EXPECT_NE(status->job.error.find("waiting for the first push of repository \"code\""),
            std::string::npos);
  EXPECT_GE(loop_.now() - before, 5s);
  EXPECT_FALSE(s.call<TakeJob>(s.ann, {2'000})->job);
}

}  // namespace
}  // namespace tau::patrick
