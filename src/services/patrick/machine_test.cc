#include "services/patrick/machine.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "consensus/stamp.h"

namespace tau::patrick {
namespace {

const PeerId kHost("patrick-1"), kOther("patrick-2"), kAnn("monkey-ann");

// An owner, and commands of a group's log.
struct World {
  World() : owner(crypto::KeyPair::generate(random)) {
    auth::Registration r;
    r.genesis = {"hello", owner.public_key().raw(), {}};
    r.label = "hello";
    r.repositories = {{"code", auth::RepositoryKind::code, "local"}};
    project = r.project();
    registration = codec::sign_record(owner, r);
  }
  JobsCommand push(int n, const PeerId& host = kHost) const {
    const std::string commit = std::string(39, '0') + static_cast<char>('a' + n);
    JobsCommand command;
    command.now_unix_ms = 1000 + n;
    command.push =
        AcceptPush{project,
                   "code",
                   "main",
                   commit,
                   Source{commit, codec::Cid::of(codec::ContentType::raw, as_bytes(commit))},
                   registration,
                   host};
    return command;
  }
  SeededRandom random{1};
  crypto::KeyPair owner;
  ProjectId project;
  codec::Signed registration;
};

JobsAnswer apply(Machine& machine, const JobsCommand& command, std::uint64_t term = 1) {
  const auto answer = codec::from_cbor<JobsAnswer>(
      machine.apply(consensus::put_stamp({term, 5}, codec::to_cbor(command))));
  EXPECT_TRUE(answer);
  return *answer;
}

JobsCommand take(const JobId& job, std::uint64_t fence) {
  JobsCommand command;
  command.take = LeaseOf{job, fence, kAnn};
  return command;
}

TEST(PatrickMachine, TheSameCommandsComeToTheSameOnEveryMember) {
  World w;
  Machine one, other;
  std::vector<JobsCommand> log;
  log.push_back(w.push(1));
  const JobId first = *apply(one, log.back()).job;
  log.push_back(take(first, 0));
  (void)apply(one, log.back());
  log.push_back(w.push(2));
  (void)apply(one, log.back());
  log.emplace_back().expire = EndLease{first, 1, 1, 9};
  (void)apply(one, log.back());
  log.emplace_back().retry = RetryOrder{first, true, 1};
  (void)apply(one, log.back());
  for (const auto& command : log) (void)apply(other, command);
  EXPECT_EQ(one.snapshot(), other.snapshot());

  Machine restored;
  ASSERT_TRUE(restored.restore(one.snapshot()));
  EXPECT_EQ(restored.snapshot(), one.snapshot());
  log.push_back(w.push(3));
  (void)apply(one, log.back());
  (void)apply(restored, log.back());
  EXPECT_EQ(restored.snapshot(), one.snapshot()) << "what follows does not depend on the way here";
  EXPECT_FALSE(restored.restore(Bytes{1, 2, 3}));
}

TEST(PatrickMachine, APushToldAgainIsAnsweredWithTheSameJob) {
  World w;
  Machine machine;
  const auto once = apply(machine, w.push(1));
  const auto again = apply(machine, w.push(1));
  EXPECT_TRUE(once.changed);
  EXPECT_FALSE(again.changed);
  EXPECT_EQ(again.job, once.job);
  EXPECT_EQ(again.seq, once.seq);
}

TEST(PatrickMachine, OnlyTheNodeThatHostsAProjectTellsOfItsPushes) {
  World w;
  Machine machine;
  EXPECT_EQ(apply(machine, w.push(1)).code, 0u);
  const auto refused = apply(machine, w.push(2, kOther));
  EXPECT_EQ(refused.status_code().error().code(), ErrorCode::failed_precondition);
  EXPECT_NE(refused.message.find(kHost.str()), std::string::npos) << refused.message;
}

TEST(PatrickMachine, ALeaseIsGivenToOneMonkeyAndEndedByWhoLeads) {
  World w;
  Machine machine;
  const JobId job = *apply(machine, w.push(1)).job;
  EXPECT_EQ(apply(machine, take(job, 0), 3).code, 0u);
  EXPECT_EQ(apply(machine, take(job, 0), 3).status_code().error().code(), ErrorCode::aborted);
  JobsCommand expire;
  expire.expire = EndLease{job, 1, 3, 0};
  EXPECT_EQ(apply(machine, expire, 4).status_code().error().code(), ErrorCode::aborted)
      << "the leader of term 4 may have renewed it";
  EXPECT_EQ(machine.jobs().find(job)->state, JobState::building);
  EXPECT_TRUE(apply(machine, expire, 3).changed);
  EXPECT_EQ(machine.jobs().find(job)->state, JobState::waiting);
}

TEST(PatrickMachine, WhatItCannotReadIsAnsweredAndChangesNothing) {
  World w;
  Machine machine;
  (void)apply(machine, w.push(1));
  const Bytes before = machine.snapshot();
  int told = 0;
  machine.on_change([&](const Change&) { ++told; });
  for (const Bytes& bytes : {Bytes{}, Bytes(16), Bytes(17, 0xff)}) {
    const auto answer = codec::from_cbor<JobsAnswer>(machine.apply(bytes));
    ASSERT_TRUE(answer);
    EXPECT_NE(answer->code, 0u);
  }
  EXPECT_NE(apply(machine, JobsCommand{}).code, 0u);
  JobsCommand strangers = w.push(2);
  strangers.push->registration.body.back() ^= 1;
  EXPECT_NE(apply(machine, strangers).code, 0u);
  EXPECT_EQ(machine.snapshot(), before);
  EXPECT_EQ(told, 0);
}

}  // namespace
}  // namespace tau::patrick
