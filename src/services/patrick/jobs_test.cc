#include "services/patrick/jobs.h"

#include <gtest/gtest.h>

namespace tau::patrick {
namespace {

using namespace std::chrono_literals;

const ProjectId kProject("p");
const PeerId kAnn("monkey-ann"), kBob("monkey-bob");

std::string commit(int n) { return std::string(39, '0') + static_cast<char>('a' + n); }
Source source(int n) {
  return {commit(n), codec::Cid::of(codec::ContentType::raw, as_bytes(commit(n)))};
}
// Jobs with a registration of two repositories, every change applied at once.
struct World {
  World() {
    registration.repositories = {{"config", auth::RepositoryKind::config, "local"},
                                 {"code", auth::RepositoryKind::code, "local"}};
  }
  Result<Accepted> push(const std::string& repository, const std::string& branch, int n) {
    auto pushed =
        jobs.push({kProject, repository, branch, commit(n)}, source(n), registration, {}, 1);
    if (!pushed) return fail(pushed.error());
    jobs.apply(pushed->change);
    return pushed->accepted;
  }
  Accepted remove(const std::string& repository, const std::string& branch) {
    auto pushed = jobs.push({kProject, repository, branch, ""}, std::nullopt, registration, {}, 1);
    jobs.apply(pushed->change);
    return pushed->accepted;
  }
  const JobRecord* take(const PeerId& monkey) {
    const JobRecord* next = jobs.next();
    if (!next) return nullptr;
    const JobId job = next->job.id;
    const auto change = jobs.take(job, next->fence, monkey, 2);
    EXPECT_TRUE(change);
    jobs.apply(*change);
    return jobs.find(job);
  }
  Status finish(const JobId& job, const PeerId& monkey, std::uint64_t fence, bool good) {
    FinishJob::Request end{job, fence, std::nullopt, good ? "" : "no"};
    if (good) end.deployment = source(0).archive;
    auto change = jobs.finish(end, monkey, 3);
    if (!change) return fail(change.error());
    jobs.apply(*change);
    return {};
  }
  // The monkey of a job is silent for as long as its lease.
  void lose(const JobId& job) { jobs.apply(jobs.expire(job, jobs.find(job)->fence, 7, 4)); }
  JobState state(const JobId& job) const { return jobs.find(job)->state; }

  Jobs jobs;
  auth::Registration registration;
};

TEST(Jobs, WaitForTheFirstPushOfEveryRepositoryAndSayForWhich) {
  World w;
  const auto first = w.push("config", "main", 1);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->seq, 1u);
  EXPECT_NE(first->note.find("waiting for the first push of repository \"code\""),
            std::string::npos);
  EXPECT_EQ(w.take(kAnn), nullptr);
  EXPECT_EQ(w.jobs.find(first->job)->status().error,
            "waiting for the first push of repository \"code\"");
  const auto second = w.push("code", "main", 2);
  EXPECT_EQ(second->seq, 2u);
  EXPECT_EQ(w.state(first->job), JobState::superseded);
  const JobRecord* taken = w.take(kAnn);
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->job.id, second->job);
  EXPECT_EQ(taken->job.sources.at("config").commit, commit(1));
  EXPECT_EQ(taken->job.sources.at("code").commit, commit(2));
}

TEST(Jobs, TwoRepositoriesPushedAtOnceLoseNothing) {
  World w;
  (void)w.push("config", "main", 1);
  (void)w.push("code", "main", 1);
  const JobRecord* building = w.take(kAnn);
  const JobId first = building->job.id;
  const auto config = w.push("config", "main", 2), code = w.push("code", "main", 3);
  EXPECT_EQ(w.state(first), JobState::building) << "what is being built goes on";
  EXPECT_EQ(w.state(config->job), JobState::superseded) << "one waiting job for a branch";
  const JobRecord* next = w.take(kBob);
  EXPECT_EQ(next->job.id, code->job);
  EXPECT_EQ(next->job.sources.at("config").commit, commit(2));
  EXPECT_EQ(next->job.sources.at("code").commit, commit(3));
  EXPECT_GT(next->job.seq, w.jobs.find(first)->job.seq);
}

TEST(Jobs, APushToldAgainChangesNothing) {
  World w;
  (void)w.push("config", "main", 1);
  const auto once = w.push("code", "main", 1);
  const auto again = w.push("code", "main", 1);
  EXPECT_EQ(again->job, once->job);
  EXPECT_EQ(again->seq, once->seq);
  EXPECT_EQ(w.jobs.list(kProject, 10).size(), 2u);
}

TEST(Jobs, ABranchOfOneRepositoryBorrowsMainOfTheOther) {
  World w;
  const auto idea = w.push("code", "idea", 5);
  EXPECT_EQ(w.take(kAnn), nullptr) << "no config anywhere";
  (void)w.push("config", "main", 1);
  const JobRecord* taken = w.take(kAnn);
  ASSERT_TRUE(taken) << "main of config arrived";
  EXPECT_EQ(taken->job.id, idea->job);
  EXPECT_EQ(taken->job.branch, "idea");
  EXPECT_EQ(taken->job.sources.at("config").commit, commit(1));
  EXPECT_EQ(taken->job.sources.at("code").commit, commit(5));
}

TEST(Jobs, ASeqNeverComesTwiceEvenWhenTheBranchWasDeleted) {
  World w;
  (void)w.push("config", "main", 1);
  (void)w.push("code", "main", 1);
  EXPECT_TRUE(w.remove("code", "main").job.empty());
  EXPECT_TRUE(w.jobs.branches_with(kProject, "code").empty());
  EXPECT_EQ(w.push("code", "main", 1)->seq, 3u);
}

TEST(Jobs, ALeaseThatIsNotRenewedGivesTheJobToAnotherWithAHigherFence) {
  World w;
  (void)w.push("config", "main", 1);
  const JobId job = w.push("code", "main", 1)->job;
  const std::uint64_t first = w.take(kAnn)->fence;
  EXPECT_TRUE(w.jobs.check_lease(job, kAnn, first));
  EXPECT_TRUE(w.jobs.expire(job, first + 1, {}, 4).empty()) << "another lease";
  w.lose(job);
  EXPECT_EQ(w.state(job), JobState::waiting);
  EXPECT_EQ(w.jobs.check_lease(job, kAnn, first).error().code(), ErrorCode::aborted);
  const std::uint64_t second = w.take(kBob)->fence;
  EXPECT_GT(second, first);
  EXPECT_EQ(w.finish(job, kAnn, first, true).error().code(), ErrorCode::aborted);
  EXPECT_EQ(w.finish(job, kAnn, second, true).error().code(), ErrorCode::aborted) << "not hers";
  EXPECT_TRUE(w.finish(job, kBob, second, true));
  EXPECT_TRUE(w.finish(job, kBob, second, true)) << "told again";
  EXPECT_EQ(w.finish(job, kBob, second, false).error().code(), ErrorCode::aborted);
  EXPECT_EQ(w.state(job), JobState::succeeded);
}

TEST(Jobs, AJobThatOutlivesFiveMonkeysIsGivenUp) {
  World w;
  (void)w.push("config", "main", 1);
  const JobId job = w.push("code", "main", 1)->job;
  for (std::uint64_t i = 0; i < kTakesMax; ++i) {
    ASSERT_TRUE(w.take(kAnn));
    w.lose(job);
  }
  EXPECT_EQ(w.state(job), JobState::failed);
  EXPECT_EQ(w.take(kAnn), nullptr);
}

TEST(Jobs, ALostJobIsNotBuiltAgainWhenANewerOneIsThere) {
  World w;
  (void)w.push("config", "main", 1);
  const JobId old = w.push("code", "main", 1)->job;
  (void)w.take(kAnn);
  (void)w.push("code", "main", 2);
  w.lose(old);
  EXPECT_EQ(w.state(old), JobState::superseded);
}

TEST(Jobs, AnOlderBuildThatANewerOneOvertookIsNoFailure) {
  World w;
  (void)w.push("config", "main", 1);
  const JobId old = w.push("code", "main", 1)->job;
  (void)w.take(kAnn);
  const JobId newer = w.push("code", "main", 2)->job;
  const std::uint64_t fence = w.take(kBob)->fence;
  EXPECT_TRUE(w.finish(newer, kBob, fence, true));
  EXPECT_TRUE(w.finish(old, kAnn, 1, false)) << "tns refused it";
  EXPECT_EQ(w.state(old), JobState::superseded);
}

TEST(Jobs, AnOlderBuildIsNoFailureBeforeTheNewerOneHasReported) {
  World w;
  (void)w.push("config", "main", 1);
  const JobId old = w.push("code", "main", 1)->job;
  (void)w.take(kAnn);
  (void)w.push("code", "main", 2);
  (void)w.take(kBob);
  FinishJob::Request refused{old, 1, std::nullopt, "push 3 is live"};
  refused.overtaken = true;
  const auto change = w.jobs.finish(refused, kAnn, 3);
  ASSERT_TRUE(change) << change.error().to_string();
  w.jobs.apply(*change);
  EXPECT_EQ(w.state(old), JobState::superseded);
}

TEST(Jobs, OldOnesAreForgottenButNeverOneThatGoesOn) {
  World w;
  (void)w.push("config", "main", 0);
  const JobId kept = w.push("code", "idea", 0)->job;
  (void)w.take(kAnn);
  for (int i = 0; i < 150; ++i) (void)w.push("code", "main", i % 25 + 1);
  EXPECT_LE(w.jobs.list(kProject, 1000).size(), kJobsKept);
  EXPECT_EQ(w.state(kept), JobState::building);
  EXPECT_EQ(w.jobs.list(kProject, 1).front().seq, 151u) << "newest first";
}

TEST(Jobs, TheFenceIsInWhatPatrickSigns) {
  World w;
  (void)w.push("config", "main", 1);
  const JobId job = w.push("code", "main", 1)->job;
  EXPECT_FALSE(w.jobs.find(job)->job.fence);
  EXPECT_EQ(w.take(kAnn)->job.fence, 1u);
  w.lose(job);
  EXPECT_EQ(w.take(kBob)->job.fence, 2u);
  EXPECT_EQ(w.jobs.find(job)->status().fence, 2u);
}

TEST(Jobs, AJobThatNeverReachedItsMonkeyWaitsAgain) {
  World w;
  (void)w.push("config", "main", 1);
  const JobId job = w.push("code", "main", 1)->job;
  const std::uint64_t fence = w.take(kAnn)->fence;
  EXPECT_TRUE(w.jobs.give_back(job, kBob, fence).empty()) << "not his";
  w.jobs.apply(w.jobs.give_back(job, kAnn, fence));
  EXPECT_EQ(w.state(job), JobState::waiting);
  EXPECT_FALSE(w.jobs.find(job)->monkey);
  EXPECT_TRUE(w.jobs.building().empty());
  EXPECT_GT(w.take(kAnn)->fence, fence);
}

TEST(Jobs, OneThatIsCancelledEndsAtOnceAndItsMonkeyIsRefused) {
  World w;
  (void)w.push("config", "main", 1);
  const JobId waiting = w.push("code", "main", 1)->job;
  w.jobs.apply(*w.jobs.cancel(waiting, 5));
  EXPECT_EQ(w.state(waiting), JobState::cancelled);
  EXPECT_EQ(w.take(kAnn), nullptr);
  EXPECT_TRUE(w.jobs.cancel(waiting, 6)->empty()) << "told again";

  const JobId building = w.push("code", "main", 2)->job;
  const std::uint64_t fence = w.take(kAnn)->fence;
  w.jobs.apply(*w.jobs.cancel(building, 5));
  EXPECT_EQ(w.state(building), JobState::cancelled);
  EXPECT_EQ(w.jobs.check_lease(building, kAnn, fence).error().code(), ErrorCode::aborted);
  EXPECT_EQ(w.jobs.begin_publishing(building, kAnn, fence).error().code(), ErrorCode::aborted);
  EXPECT_EQ(w.finish(building, kAnn, fence, true).error().code(), ErrorCode::aborted);
  EXPECT_TRUE(w.jobs.building().empty());
  EXPECT_EQ(w.jobs.cancel(JobId("none"), 5).error().code(), ErrorCode::not_found);
}

TEST(Jobs, WhatIsBeingPublishedIsTooLateToCancelUntilItsMonkeyIsLost) {
  World w;
  (void)w.push("config", "main", 1);
  const JobId job = w.push("code", "main", 1)->job;
  const std::uint64_t fence = w.take(kAnn)->fence;
  EXPECT_EQ(w.jobs.begin_publishing(job, kBob, fence).error().code(), ErrorCode::aborted);
  w.jobs.apply(*w.jobs.begin_publishing(job, kAnn, fence));
  EXPECT_TRUE(w.jobs.begin_publishing(job, kAnn, fence)->empty()) << "told again";
  EXPECT_EQ(w.jobs.cancel(job, 5).error().code(), ErrorCode::failed_precondition);
  w.lose(job);
  EXPECT_TRUE(w.jobs.cancel(job, 5));
  EXPECT_TRUE(w.finish(job, kAnn, w.take(kAnn)->fence, true));
  EXPECT_EQ(w.jobs.cancel(job, 5).error().code(), ErrorCode::failed_precondition);
}

TEST(Jobs, ARetryIsANewJobOfTheSameSourcesOnceForEachJob) {
  World w;
  (void)w.push("config", "main", 1);
  const JobId job = w.push("code", "main", 1)->job;
  EXPECT_EQ(w.jobs.retry(job, false, 5).error().code(), ErrorCode::failed_precondition);
  EXPECT_TRUE(w.finish(job, kAnn, w.take(kAnn)->fence, false));
  const auto retried = w.jobs.retry(job, true, 5);
  ASSERT_TRUE(retried);
  w.jobs.apply(retried->change);
  const JobRecord* fresh = w.jobs.find(retried->job);
  ASSERT_TRUE(fresh);
  EXPECT_NE(fresh->job.id, job);
  EXPECT_EQ(fresh->job.seq, 3u);
  EXPECT_EQ(fresh->job.sources.at("code").commit, commit(1));
  EXPECT_EQ(fresh->job.clean, true);
  EXPECT_FALSE(fresh->job.fence);
  EXPECT_EQ(fresh->retry_of, job);
  EXPECT_EQ(w.jobs.find(job)->retried_by, fresh->job.id);
  const auto again = w.jobs.retry(job, true, 6);
  EXPECT_EQ(again->job, retried->job);
  EXPECT_TRUE(again->change.empty());
  EXPECT_EQ(w.push("code", "main", 2)->seq, 4u);
  EXPECT_EQ(w.jobs.retry(JobId("none"), false, 5).error().code(), ErrorCode::not_found);
}

TEST(Jobs, AnOlderPushIsNotRetriedOverANewerOne) {
  World w;
  (void)w.push("config", "main", 1);
  const JobId old = w.push("code", "main", 1)->job;
  EXPECT_TRUE(w.finish(old, kAnn, w.take(kAnn)->fence, false));
  const JobId newer = w.push("code", "main", 2)->job;
  EXPECT_EQ(w.jobs.retry(old, false, 5).error().code(), ErrorCode::failed_precondition);
  w.jobs.apply(*w.jobs.cancel(newer, 5));
  EXPECT_TRUE(w.jobs.retry(old, false, 5)) << "the newer one came to nothing";
}

TEST(Jobs, ARestartRestoresEverything) {
  World w;
  (void)w.push("config", "main", 1);
  const JobId job = w.push("code", "main", 1)->job;
  const std::uint64_t fence = w.take(kAnn)->fence;
  w.jobs.apply(*w.jobs.host(kProject, kBob, std::nullopt));
  Jobs again;
  again.restore(w.jobs.state());
  EXPECT_EQ(codec::to_cbor(again.state()), codec::to_cbor(w.jobs.state()));
  EXPECT_TRUE(again.check_lease(job, kAnn, fence));
  ASSERT_EQ(again.building().size(), 1u);
  ASSERT_TRUE(again.host_of(kProject));
  EXPECT_EQ(*again.host_of(kProject), kBob);
  const auto next =
      again.push({kProject, "code", "main", commit(9)}, source(9), w.registration, {}, 1);
  EXPECT_EQ(next->accepted.seq, 3u);
  EXPECT_GT(next->change.jobs.back().order, again.find(job)->order);
}

TEST(Jobs, AProjectsRepositoriesAreInOnePlaceUntilItIsGivenUp) {
  World w;
  w.jobs.apply(*w.jobs.host(kProject, kAnn, std::nullopt));
  EXPECT_TRUE(w.jobs.host(kProject, kAnn, std::nullopt)->empty()) << "told again";
  EXPECT_EQ(w.jobs.host(kProject, kBob, std::nullopt).error().code(),
            ErrorCode::failed_precondition);
  EXPECT_EQ(w.jobs.host(kProject, kBob, PeerId("other")).error().code(),
            ErrorCode::failed_precondition);
  w.jobs.apply(*w.jobs.host(kProject, kBob, kAnn));
  EXPECT_EQ(*w.jobs.host_of(kProject), kBob);
}

TEST(Jobs, OfAllProjectsTheOldestThatHaveEndedMakeRoom) {
  World w;
  (void)w.push("config", "main", 0);
  const JobId kept = w.push("code", "idea", 0)->job;
  (void)w.take(kAnn);
  const std::string long_error(16'000, 'x');
  // Of many projects, each with a job that failed at length.
  for (int i = 0; i < 3000; ++i) {
    JobRecord record = *w.jobs.find(kept);
    record.job.id = JobId("old-" + std::to_string(i));
    record.job.project = ProjectId("p" + std::to_string(i));
    record.order = 1000 + static_cast<std::uint64_t>(i);
    record.state = JobState::failed;
    record.error = long_error;
    w.jobs.apply(w.jobs.import(record));
  }
  EXPECT_TRUE(w.jobs.find(JobId("old-0")));
  (void)w.push("code", "main", 3);
  EXPECT_FALSE(w.jobs.find(JobId("old-0")));
  EXPECT_TRUE(w.jobs.find(JobId("old-2999")));
  EXPECT_EQ(w.state(kept), JobState::building);
  EXPECT_LE(codec::to_cbor(w.jobs.state()).size(), kJobBytesMax + (1u << 20));
}

TEST(Jobs, RecordsSurviveTheirEncoding) {
  World w;
  const JobId job = w.push("code", "main", 1)->job;
  const auto bytes = codec::to_cbor(*w.jobs.find(job));
  const auto read = codec::from_cbor<JobRecord>(bytes);
  ASSERT_TRUE(read) << read.error().to_string();
  EXPECT_EQ(codec::to_cbor(*read), bytes);
}

TEST(Branch, NamesArePlain) {
  const struct {
    std::string_view name;
    bool good;
  } cases[] = {{"main", true},  {"feature/x-1.2_3", true},
               {"", false},     {"-x", false},
               {"a..b", false}, {"a b", false},
               {"/a", false},   {"a/", false},
               {"a//b", false}, {"a.lock", false},
               {"a/.b", false}, {"ü", false},
               {"a\nb", false}, {".hidden", false},
               {"a@{b", false}, {"HEAD~1", false}};
  for (const auto& c : cases) EXPECT_EQ(check_branch(c.name).has_value(), c.good) << c.name;
  EXPECT_FALSE(check_branch(std::string(129, 'a')));
}

TEST(Jobs, BranchesAreBounded) {
  World w;
  for (std::size_t i = 0; i < kBranchesMax; ++i)
    ASSERT_TRUE(w.push("code", "b" + std::to_string(i), 1));
  EXPECT_EQ(w.push("code", "one-more", 1).error().code(), ErrorCode::resource_exhausted);
  EXPECT_TRUE(w.push("code", "b7", 2));
  EXPECT_EQ(w.push("website", "main", 1).error().code(), ErrorCode::not_found);
}

}  // namespace
}  // namespace tau::patrick
