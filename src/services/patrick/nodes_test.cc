// Several patricks on simulated hosts: what is promised when one of them dies or is cut off.
#include "p2p/simulated/network.h"
#include "services/patrick/service_scenario.h"

namespace tau::patrick {
namespace {

using namespace std::chrono_literals;

class PatrickNodes : public ::testing::Test {
 protected:
  PatrickNodes() {
    s.emplace(
        loop, random,
        [this](const crypto::KeyPair& key, p2p::Admission admission) {
          return std::make_unique<p2p::simulated::SimulatedHost>(
              network, codec::peer_id_of(key.public_key()), std::move(admission), Logger());
        },
        3);
    EXPECT_TRUE(wait([&] { return leader() != nullptr; }));
  }
  void pass(Duration d) { (void)runtime::block_on(loop, runtime::sleep_for(d)); }
  bool wait(const std::function<bool()>& met, Duration limit = 20s) {
    const auto until = loop.now() + limit;
    while (!met() && loop.now() < until) pass(5ms);
    return met();
  }
  // The one that gives jobs; null: none.
  PatrickNode* leader() {
    for (auto& node : s->nodes)
      if (node.service && node.service->gives_jobs()) return &node;
    return nullptr;
  }
  PatrickNode& follower() {
    for (auto& node : s->nodes)
      if (node.service && !node.service->gives_jobs()) return node;
    return s->nodes.front();
  }
  // Connections that the partition ended are made again, as nodes do by themselves.
  void heal() {
    network.heal();
    for (std::size_t i = 0; i < s->members.size(); ++i)
      for (std::size_t k = 0; k < i; ++k)
        (void)runtime::block_on(loop,
                                s->members[i].host->connect(s->members[k].host->addresses().at(0)));
  }
  // Its power goes, and it is never seen again unless it is started.
  void kill(PatrickNode& node) {
    network.kill(node.member.host->id());
    node.kv.crash();
    node.block_kv.crash();
    s->down(node);
  }
  Result<Accepted> push_at(PatrickNode& node, const std::string& repository, char c) {
    return runtime::block_on(
        loop, node.service->accept({s->book.project, repository, "main", Scenario::commit(c)}));
  }
  template <class C>
  Result<typename C::Response> ask(PatrickNode& node, command::Member& who,
                                   typename C::Request request) {
    return runtime::block_on(
        loop, who.caller.call<C>(node.member.identity.id(), kProtocol, std::move(request)));
  }
  Result<JobStatus> job_at(PatrickNode& node, const JobId& job) {
    auto found = ask<GetJob>(node, s->client, {job, {}, 0});
    if (!found) return fail(found.error());
    return std::move(found->job);
  }
  std::string log_at(PatrickNode& node, const JobId& job) {
    std::string text;
    for (;;) {
      const auto read = ask<ReadLog>(node, s->client, {job, text.size(), 0});
      EXPECT_TRUE(read) << read.error().to_string();
      if (!read || read->text.empty()) return text;
      text += read->text;
    }
  }
  // A job that waits, with the repositories at `host`.
  JobId pushed(PatrickNode& host) {
    EXPECT_TRUE(push_at(host, "config", 'a'));
    const auto second = push_at(host, "code", 'b');
    EXPECT_TRUE(second) << second.error().to_string();
    return second ? second->job : JobId();
  }

  runtime::VirtualLoop loop;
  SeededRandom random{1};
  p2p::simulated::SimulatedNetwork network{loop, random};
  std::optional<Scenario> s;
};

// A call of a member that goes on while the test does something else.
template <class C>
class Call {
 public:
  Call(runtime::Loop& loop, PatrickNode& node, command::Member& who, typename C::Request request)
      : group_(loop) {
    group_.spawn(run(node.member.identity.id(), who, std::move(request)));
  }
  ~Call() { runtime::block_on(group_.loop(), group_.stop()); }
  std::optional<Result<typename C::Response>> answer;

 private:
  Task<void> run(PeerId patrick, command::Member& who, typename C::Request request) {
    answer = co_await who.caller.call<C>(std::move(patrick), kProtocol, std::move(request));
  }
  runtime::TaskGroup group_;
};

TEST_F(PatrickNodes, APushAcceptedByAnyIsKnownToAllAndItsSourcesAreAtAMajority) {
  const JobId job = pushed(follower());
  for (auto& node : s->nodes) {
    const auto status = job_at(node, job);
    ASSERT_TRUE(status) << status.error().to_string();
    EXPECT_EQ(status->seq, 2u);
    const auto listed = ask<ListJobs>(node, s->client, {s->book.project, 10});
    ASSERT_TRUE(listed);
    EXPECT_EQ(listed->jobs.size(), 2u);
    EXPECT_FALSE(listed->stale);
  }
  const auto archive = leader()->service->jobs().find(job)->job.sources.at("code").archive;
  std::size_t holders = 0;
  for (auto& node : s->nodes) {
    node.block_kv.crash();  // what was not synced is gone
    content::LocalSource source(node.blocks);
    if (runtime::block_on(loop, content::read_file(source, archive, 1u << 20))) ++holders;
  }
  EXPECT_GE(holders, 2u);
}

TEST_F(PatrickNodes, TheLeaderDiesBetweenAcceptAndLeaseAndTheJobIsBuilt) {
  PatrickNode& host = follower();
  const JobId job = pushed(host);
  Call<TakeJob> waiting(loop, host, s->ann, {30'000, Bid{}});
  PatrickNode* first = leader();
  pass(10ms);
  EXPECT_FALSE(waiting.answer) << "who does not lead gives nothing";
  kill(*first);
  ASSERT_TRUE(wait([&] { return leader() != nullptr; }, 10s));
  // Its poll waits at one of the two, or it asks the other.
  std::optional<TakeJob::Response> taken;
  if (wait([&] { return waiting.answer.has_value(); }, 2s)) {
    ASSERT_TRUE(*waiting.answer);
    taken = **waiting.answer;
  } else {
    const auto asked = ask<TakeJob>(*leader(), s->ann, {1000, Bid{}});
    ASSERT_TRUE(asked) << asked.error().to_string();
    taken = *asked;
  }
  ASSERT_TRUE(taken->job);
  EXPECT_EQ(taken->fence, 1u);
  EXPECT_TRUE(ask<FinishJob>(*leader(), s->ann, {job, 1, {}, "no"}));
  EXPECT_EQ(push_at(host, "code", 'c')->seq, 3u) << "no seq comes twice";
}

TEST_F(PatrickNodes, ALeaseOutlivesTheLeaderThatGaveItWithTheLogOfItsBuild) {
  const JobId job = pushed(follower());
  PatrickNode* first = leader();
  ASSERT_TRUE(ask<TakeJob>(*first, s->ann, {1000})->job);
  const std::string text = "compiling ping\n";
  const auto kept = ask<AppendLog>(*first, s->ann, {job, 1, text, 0});
  ASSERT_TRUE(kept) << kept.error().to_string();
  EXPECT_EQ(kept->size, text.size());
  EXPECT_TRUE(ask<RenewLease>(*first, s->ann, {job, 1, 0}));
  kill(*first);
  EXPECT_EQ(ask<RenewLease>(follower(), s->ann, {job, 1, 0}).error().code(), ErrorCode::unavailable)
      << "nobody says that it is lost";
  ASSERT_TRUE(wait([&] { return leader() != nullptr; }, 10s));
  PatrickNode& second = *leader();
  EXPECT_TRUE(ask<RenewLease>(second, s->ann, {job, 1, 0}));
  // What was acknowledged is there; what comes again is not there twice.
  EXPECT_EQ(ask<AppendLog>(second, s->ann, {job, 1, text, 0})->size, text.size());
  EXPECT_EQ(ask<AppendLog>(second, s->ann, {job, 1, "linking\n", text.size()})->size,
            text.size() + 8);
  EXPECT_TRUE(ask<RenewLease>(second, s->ann, {job, 1, {}, true}));
  const auto deployment = codec::Cid::of(codec::ContentType::dag_cbor, as_bytes("d"));
  EXPECT_TRUE(ask<FinishJob>(follower(), s->ann, {job, 1, deployment, "", text.size() + 8}));
  for (auto& node : s->nodes) {
    if (!node.service) continue;
    EXPECT_EQ(job_at(node, job)->state, JobState::succeeded);
    EXPECT_NE(log_at(node, job).find("compiling ping\nlinking\n"), std::string::npos);
  }
}

TEST_F(PatrickNodes, ANewLeaderGivesEachBuildAWholeLeaseToBeHeardOf) {
  const JobId job = pushed(follower());
  PatrickNode* first = leader();
  ASSERT_TRUE(ask<TakeJob>(*first, s->ann, {1000})->job);
  pass(kLease - 1s);
  kill(*first);
  ASSERT_TRUE(wait([&] { return leader() != nullptr; }, 10s));
  pass(kLease - 1s);
  EXPECT_EQ(job_at(*leader(), job)->state, JobState::building);
  pass(2s);
  EXPECT_EQ(job_at(*leader(), job)->state, JobState::waiting);
  const auto second = ask<TakeJob>(*leader(), s->bob, {1000});
  ASSERT_TRUE(second && second->job);
  EXPECT_EQ(second->fence, 2u);
}

TEST_F(PatrickNodes, TheLeaderDiesWhileAJobEndsAndItEndsOnce) {
  const JobId job = pushed(follower());
  PatrickNode* first = leader();
  ASSERT_TRUE(ask<TakeJob>(*first, s->ann, {1000})->job);
  const auto deployment = codec::Cid::of(codec::ContentType::dag_cbor, as_bytes("d"));
  {
    Call<FinishJob> end(loop, *first, s->ann, {job, 1, deployment, ""});
    pass(1ms);  // on its way
    kill(*first);
  }
  // Told again, to whoever is there, until somebody says that it is done.
  ASSERT_TRUE(wait(
      [&] { return ask<FinishJob>(follower(), s->ann, {job, 1, deployment, ""}).has_value(); }));
  ASSERT_TRUE(wait([&] { return leader() != nullptr; }));
  const auto status = job_at(*leader(), job);
  ASSERT_TRUE(status);
  EXPECT_EQ(status->state, JobState::succeeded);
  EXPECT_EQ(status->fence, 1u);
  EXPECT_FALSE(ask<TakeJob>(*leader(), s->bob, {0})->job);
}

TEST_F(PatrickNodes, ALeaderThatIsCutOffWithItsMonkeyGivesNothingAndItsLateResultIsRefused) {
  const JobId job = pushed(follower());
  PatrickNode& first = *leader();
  ASSERT_TRUE(ask<TakeJob>(first, s->ann, {1000})->job);
  network.partition({{first.member.host->id(), s->ann.host->id()}});
  pass(3s);
  EXPECT_FALSE(first.service->gives_jobs());
  const auto deployment = codec::Cid::of(codec::ContentType::dag_cbor, as_bytes("ann's"));
  EXPECT_EQ(ask<RenewLease>(first, s->ann, {job, 1, 0}).error().code(), ErrorCode::unavailable);
  EXPECT_EQ(ask<RenewLease>(first, s->ann, {job, 1, {}, true}).error().code(),
            ErrorCode::unavailable);
  EXPECT_EQ(ask<AppendLog>(first, s->ann, {job, 1, "x", 0}).error().code(), ErrorCode::unavailable);
  EXPECT_EQ(ask<FinishJob>(first, s->ann, {job, 1, deployment, ""}).error().code(),
            ErrorCode::unavailable);
  PatrickNode* second = nullptr;
  ASSERT_TRUE(wait([&] { return (second = leader()) != nullptr && second != &first; }));
  const auto given = ask<TakeJob>(*second, s->bob, {30'000});
  ASSERT_TRUE(given && given->job);
  EXPECT_EQ(given->fence, 2u);
  // What the minority knows is answered, and it says that it may be old.
  heal();
  pass(1s);
  for (auto& node : s->nodes) {
    const auto late = ask<FinishJob>(node, s->ann, {job, 1, deployment, ""});
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().code(), ErrorCode::aborted);
  }
  EXPECT_TRUE(ask<FinishJob>(*second, s->bob, {job, 2, {}, "no"}));
  EXPECT_EQ(job_at(first, job)->state, JobState::failed);
}

TEST_F(PatrickNodes, AMinorityTakesNothingAndSaysHowOldItsAnswersMayBe) {
  PatrickNode& host = follower();
  const JobId job = pushed(host);
  ASSERT_TRUE(job_at(host, job));
  network.partition({{host.member.host->id(), s->client.host->id(), s->auth.host->id()}});
  pass(3s);
  const auto refused = push_at(host, "code", 'c');
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::unavailable);
  const auto listed = ask<ListJobs>(host, s->client, {s->book.project, 10});
  ASSERT_TRUE(listed) << listed.error().to_string();
  ASSERT_TRUE(listed->stale);
  ASSERT_TRUE(listed->stale->age_ms);
  EXPECT_GE(*listed->stale->age_ms, 3000u);
  EXPECT_EQ(listed->jobs.size(), 2u);
  EXPECT_EQ(ask<GetJob>(host, s->client, {JobId("none"), {}, 0}).error().code(),
            ErrorCode::unavailable);
  heal();
  Result<Accepted> taken = fail(ErrorCode::unknown, "");
  ASSERT_TRUE(wait([&] { return (taken = push_at(host, "code", 'c')).has_value(); }))
      << taken.error().to_string();
  EXPECT_FALSE(ask<ListJobs>(host, s->client, {s->book.project, 10})->stale);
}

TEST_F(PatrickNodes, OrdersAreTakenByAny) {
  PatrickNode& host = follower();
  const JobId job = pushed(host);
  for (auto& node : s->nodes) {
    const CancelOrder cancel{job, loop.wall_unix_ms()};
    const auto cancelled = ask<CancelJob>(node, s->client, {codec::sign_record(s->owner, cancel)});
    ASSERT_TRUE(cancelled) << cancelled.error().to_string();
    EXPECT_EQ(cancelled->job.state, JobState::cancelled);
  }
  const RetryOrder retry{job, false, loop.wall_unix_ms()};
  std::set<JobId> fresh;
  for (auto& node : s->nodes) {
    const auto retried = ask<RetryJob>(node, s->client, {codec::sign_record(s->owner, retry)});
    ASSERT_TRUE(retried) << retried.error().to_string();
    fresh.insert(retried->job.id);
  }
  EXPECT_EQ(fresh.size(), 1u);
  RollbackOrder rollback;
  rollback.project = s->book.project;
  rollback.branch = "main";
  rollback.made_unix_ms = loop.wall_unix_ms();
  std::set<std::uint64_t> seqs;
  for (auto& node : s->nodes) {
    const auto numbered =
        ask<NumberRollback>(node, s->client, {codec::sign_record(s->owner, rollback)});
    ASSERT_TRUE(numbered) << numbered.error().to_string();
    const auto record = codec::from_cbor<NumberedRollback>(numbered->rollback.record.body);
    ASSERT_TRUE(record);
    seqs.insert(record->seq);
  }
  EXPECT_EQ(seqs, (std::set<std::uint64_t>{4, 5, 6})) << "2 was pushed, 3 retried";
}

TEST_F(PatrickNodes, WhoeverWasAwayFetchesTheLogThatItLacks) {
  PatrickNode& host = *leader();
  const JobId job = pushed(host);
  PatrickNode& away = follower();
  s->down(away);
  ASSERT_TRUE(ask<TakeJob>(host, s->ann, {1000})->job);
  std::string text;
  while (text.size() < 150'000) {
    const std::string line = "line " + std::to_string(text.size()) + "\n";
    const auto kept =
        ask<AppendLog>(host, s->ann, {job, 1, line + std::string(20'000, 'x'), text.size()});
    ASSERT_TRUE(kept) << kept.error().to_string();
    text += line + std::string(20'000, 'x');
    ASSERT_EQ(kept->size, text.size());
  }
  EXPECT_TRUE(ask<FinishJob>(host, s->ann, {job, 1, {}, "no", text.size()}));
  const std::string whole = log_at(host, job);
  EXPECT_NE(whole.find(text), std::string::npos);
  s->up(away);
  ASSERT_TRUE(wait([&] { return job_at(away, job).has_value(); }));
  EXPECT_EQ(log_at(away, job), whole);
  // From now on it has it itself.
  for (auto& node : s->nodes)
    if (&node != &away) network.kill(node.member.host->id());
  const auto read = ask<ReadLog>(away, s->client, {job, 60'000, 0});
  ASSERT_TRUE(read);
  EXPECT_EQ(read->text, whole.substr(60'000, read->text.size()));
}

TEST_F(PatrickNodes, TheRepositoriesOfAProjectAreAtOneOfThem) {
  PatrickNode& host = follower();
  (void)pushed(host);
  for (auto& node : s->nodes)
    node.service->set_git_base("http://" + node.member.identity.id().str() + "/git");
  for (auto& node : s->nodes) {
    const auto base = ask<GitBase>(node, s->client, {s->book.project});
    ASSERT_TRUE(base) << base.error().to_string();
    EXPECT_EQ(base->url, "http://" + host.member.identity.id().str() + "/git");
    if (&node == &host) continue;
    const auto refused = push_at(node, "code", 'c');
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), ErrorCode::failed_precondition);
    EXPECT_FALSE(runtime::block_on(loop, node.service->claim(s->book.project)));
  }
  // It dies for good: after a while another takes its place.
  kill(host);
  ASSERT_TRUE(wait([&] { return leader() != nullptr; }));
  PatrickNode& other = *leader();
  EXPECT_EQ(ask<GitBase>(other, s->client, {s->book.project}).error().code(),
            ErrorCode::unavailable);
  pass(6min);
  EXPECT_TRUE(runtime::block_on(loop, other.service->claim(s->book.project)));
  EXPECT_EQ(push_at(other, "code", 'd')->seq, 3u);
}

TEST_F(PatrickNodes, OneThatWasDownCatchesUpFromASnapshot) {
  PatrickNode& host = *leader();
  PatrickNode& away = follower();
  (void)pushed(host);
  s->down(away);
  for (int i = 0; i < 1300; ++i) ASSERT_TRUE(push_at(host, "code", i % 2 == 0 ? 'c' : 'd'));
  EXPECT_GT(host.service->group().log_first_index(), 1u) << "the log was cut";
  s->up(away);
  EXPECT_TRUE(wait([&] {
    const BranchRecord* branch = away.service->jobs().branch(s->book.project, "main");
    return branch && branch->seq == 1302;
  }));
}

}  // namespace
}  // namespace tau::patrick
