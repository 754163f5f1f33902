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

TEST_F(PatrickService, NumbersTheOwnersRollbacksAmongThePushes) {
  Scenario s(loop_, random_, hosts());
  (void)s.push("config", 'a');
  const auto before = s.push("code", 'b');
  RollbackOrder order;
  order.project = s.book.project;
  order.branch = "main";
  order.from_seq = 2;
  order.to_seq = 1;
  order.made_unix_ms = loop_.wall_unix_ms();
  const auto number = [&](const crypto::KeyPair& key) {
    return s.call<NumberRollback>(s.client, {codec::sign_record(key, order)});
  };
  const auto numbered = number(s.owner);
  ASSERT_TRUE(numbered) << numbered.error().to_string();
  const auto record = codec::from_cbor<NumberedRollback>(numbered->rollback.record.body);
  ASSERT_TRUE(record);
  EXPECT_EQ(record->seq, before->seq + 1);
  EXPECT_EQ(number(crypto::KeyPair::generate(random_)).error().code(),
            ErrorCode::permission_denied);
  s.stop();
  s.kv().crash();
  s.start();
  EXPECT_EQ(s.push("code", 'c')->seq, before->seq + 2) << "no number comes twice";
  order.branch = "never-pushed";
  EXPECT_EQ(number(s.owner).error().code(), ErrorCode::not_found);
  order.branch = "main";
  order.made_unix_ms -= 11 * 60 * 1000;
  EXPECT_EQ(number(s.owner).error().code(), ErrorCode::permission_denied) << "too old";
}

TEST_F(PatrickService, LosesNothingAcknowledgedWhenItsMachineDies) {
  Scenario s(loop_, random_, hosts());
  (void)s.push("config", 'a');
  const JobId job = s.push("code", 'b')->job;
  const auto taken = s.call<TakeJob>(s.ann, {0});
  s.stop();
  s.kv().crash();
  s.start();
  EXPECT_EQ(s.state(job), JobState::building);
  EXPECT_TRUE(s.call<RenewLease>(s.ann, {job, taken->fence}));
  EXPECT_TRUE(s.call<FinishJob>(s.ann, {job, taken->fence, {}, "no"}));
  s.stop();
  s.kv().crash();
  s.start();
  EXPECT_EQ(s.state(job), JobState::failed);
  EXPECT_EQ(s.push("code", 'c')->seq, 3u) << "a seq never comes twice";
}

TEST_F(PatrickService, RefusesAPushThatItCouldNotKeepAndTakesItWhenToldAgain) {
  Scenario s(loop_, random_, hosts());
  (void)s.push("config", 'a');
  s.kv().set_full(true);
  const auto refused = s.push("code", 'b');
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::unavailable);
  EXPECT_FALSE(s.call<TakeJob>(s.ann, {0})->job);
  s.kv().set_full(false);
  pass(10s);  // by then it has begun again from its disk
  EXPECT_EQ(s.push("code", 'b')->seq, 2u);
  EXPECT_TRUE(s.call<TakeJob>(s.ann, {0})->job);
}

TEST_F(PatrickService, AWriteThatFailedOnceIsWaitedOut) {
  Scenario s(loop_, random_, hosts());
  (void)s.push("config", 'a');
  s.kv().fail_writes(Error(ErrorCode::resource_exhausted, "the disk is full"));
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
  EXPECT_LE(log.size(), kLogBytesMax + 300) << "with patrick's own lines";
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

// A call of a member that goes on while the test does something else.
template <class C>
class Call {
 public:
  Call(Scenario& s, command::Member& who, typename C::Request request) : group_(s.loop) {
    group_.spawn(run(who, std::move(request)));
  }
  ~Call() { end(); }
  void end() { runtime::block_on(group_.loop(), group_.stop()); }
  std::optional<Result<typename C::Response>> answer;

 private:
  Task<void> run(command::Member& who, typename C::Request request) {
    answer = co_await who.caller.call_any<C>(kRole, kProtocol, std::move(request));
  }
  runtime::TaskGroup group_;
};

TEST_F(PatrickService, TheBestOfTheBidsThatWaitGetsTheJobAtOnce) {
  Scenario s(loop_, random_, hosts());
  (void)s.push("config", 'a');
  Bid cold, warm;
  cold.slots = 4;
  warm.warm = {s.book.project};
  Call<TakeJob> ann(s, s.ann, {20'000, cold});
  pass(1s);
  Call<TakeJob> bob(s, s.bob, {20'000, warm});
  pass(1s);
  const JobId job = s.push("code", 'b')->job;
  pass(100ms);
  ASSERT_TRUE(bob.answer && *bob.answer && (*bob.answer)->job);
  EXPECT_FALSE(ann.answer) << "ann waits on";
  EXPECT_EQ(s.call<GetJob>(s.client, {job, {}, 0})->job.monkey, s.bob.host->id());
  // The winner never begins: the other gets it, without asking again.
  pass(kLease - 1s);
  EXPECT_FALSE(ann.answer);
  pass(2s);
  ASSERT_TRUE(ann.answer && *ann.answer && (*ann.answer)->job);
  EXPECT_EQ((*ann.answer)->fence, 2u);
  EXPECT_EQ(s.call<RenewLease>(s.bob, {job, 1}).error().code(), ErrorCode::aborted);
}

TEST_F(PatrickService, ANewBidOfAMonkeyReplacesItsOlderOne) {
  Scenario s(loop_, random_, hosts());
  (void)s.push("config", 'a');
  Call<TakeJob> before(s, s.ann, {20'000, Bid{}});
  pass(1s);
  Call<TakeJob> after(s, s.ann, {20'000, Bid{}});
  pass(1s);
  ASSERT_TRUE(before.answer && *before.answer);
  EXPECT_FALSE((*before.answer)->job);
  (void)s.push("code", 'b');
  pass(1s);
  ASSERT_TRUE(after.answer && *after.answer);
  EXPECT_TRUE((*after.answer)->job);
}

TEST_F(PatrickService, RefusesABidBeyondItsBounds) {
  Scenario s(loop_, random_, hosts());
  Bid bid;
  bid.warm.assign(kWarmMax + 1, ProjectId("p"));
  EXPECT_EQ(s.call<TakeJob>(s.ann, {0, bid}).error().code(), ErrorCode::invalid_argument);
}

Task<void> poll_into(Service& service, command::Peer monkey,
                     std::optional<Result<TakeJob::Response>>& answer) {
  answer = co_await service.handle(std::move(monkey), TakeJob::Request{20'000, Bid{}});
}

// A monkey of the same node calls without a stream: it is cancelled, and must not ask again.
TEST_F(PatrickService, APollThatIsCancelledIsNoOrdinarySilence) {
  Scenario s(loop_, random_, hosts());
  const PeerId ann = s.ann.identity.id();
  std::optional<Result<TakeJob::Response>> answer;
  runtime::TaskGroup group(loop_);
  group.spawn(poll_into(s.service(), {ann, *s.patrick.host->certificate_of(ann)}, answer));
  pass(1s);
  ASSERT_FALSE(answer);
  runtime::block_on(loop_, group.stop());
  ASSERT_TRUE(answer);
  ASSERT_FALSE(*answer);
  EXPECT_EQ(answer->error().code(), ErrorCode::cancelled);
}

TEST_F(PatrickService, AMonkeyWhoseConnectionEndsWaitsForNothingAnyMore) {
  Scenario s(loop_, random_, hosts());
  (void)s.push("config", 'a');
  Call<TakeJob> ann(s, s.ann, {20'000});
  pass(1s);
  s.ann.host->disconnect(s.patrick.host->id());
  pass(1s);
  const JobId job = s.push("code", 'b')->job;
  pass(100ms);
  EXPECT_EQ(s.state(job), JobState::waiting);
  EXPECT_TRUE(s.call<TakeJob>(s.bob, {0})->job);
}

TEST_F(PatrickService, ACutOffMonkeyLosesTheJobAndItsLateResultIsRefused) {
  Scenario s(loop_, random_, hosts());
  (void)s.push("config", 'a');
  const JobId job = s.push("code", 'b')->job;
  ASSERT_TRUE(s.call<TakeJob>(s.ann, {0})->job);
  network_.partition({{s.ann.host->id()}});
  EXPECT_FALSE(s.call<RenewLease>(s.ann, {job, 1}));
  const auto second = s.call<TakeJob>(s.bob, {30'000});
  ASSERT_TRUE(second->job);
  EXPECT_EQ(second->fence, 2u);
  network_.heal();
  const auto deployment = codec::Cid::of(codec::ContentType::dag_cbor, as_bytes("ann's"));
  EXPECT_EQ(s.call<RenewLease>(s.ann, {job, 1, {}, true}).error().code(), ErrorCode::aborted);
  EXPECT_EQ(s.call<AppendLog>(s.ann, {job, 1, "late"}).error().code(), ErrorCode::aborted);
  EXPECT_EQ(s.call<FinishJob>(s.ann, {job, 1, deployment, ""}).error().code(), ErrorCode::aborted);
  EXPECT_TRUE(s.call<RenewLease>(s.bob, {job, 2, {}, true}));
}

TEST_F(PatrickService, OnlyTheOwnerCancelsAndTheMonkeyLearnsOfItAtOnce) {
  Scenario s(loop_, random_, hosts());
  (void)s.push("config", 'a');
  const JobId job = s.push("code", 'b')->job;
  ASSERT_TRUE(s.call<TakeJob>(s.ann, {0})->job);
  const auto stranger = crypto::KeyPair::generate(random_);
  EXPECT_EQ(s.cancel(job, stranger).error().code(), ErrorCode::permission_denied);
  EXPECT_EQ(s.cancel(job, s.owner, 11 * 60 * 1000).error().code(), ErrorCode::permission_denied);
  EXPECT_EQ(s.cancel(job, s.owner, -11 * 60 * 1000).error().code(), ErrorCode::permission_denied);
  EXPECT_EQ(s.cancel(JobId("none"), s.owner).error().code(), ErrorCode::not_found);
  EXPECT_EQ(s.state(job), JobState::building);

  Call<RenewLease> renewal(s, s.ann, {job, 1, 3'000});
  pass(500ms);
  EXPECT_FALSE(renewal.answer) << "it stays open";
  const auto cancelled = s.cancel(job, s.owner);
  ASSERT_TRUE(cancelled) << cancelled.error().to_string();
  EXPECT_EQ(cancelled->state, JobState::cancelled);
  pass(100ms);
  ASSERT_TRUE(renewal.answer);
  EXPECT_EQ(renewal.answer->error().code(), ErrorCode::aborted);
  EXPECT_EQ(s.cancel(job, s.owner)->state, JobState::cancelled) << "told again";
  bool ended = false;
  EXPECT_NE(s.log(job, ended).find("[cancelled by the project's owner]"), std::string::npos);
  EXPECT_TRUE(ended);

  EXPECT_EQ(s.retry(job, stranger).error().code(), ErrorCode::permission_denied);
  const auto fresh = s.retry(job, s.owner);
  ASSERT_TRUE(fresh) << fresh.error().to_string();
  EXPECT_EQ(fresh->state, JobState::waiting);
  EXPECT_EQ(fresh->retry_of, job);
  EXPECT_EQ(s.retry(job, s.owner)->id, fresh->id) << "told again";
  // An order for one thing is none for another.
  const codec::Signed other =
      codec::sign_record(s.owner, RetryOrder{fresh->id, false, loop_.wall_unix_ms()});
  EXPECT_FALSE(s.call<CancelJob>(s.client, {other}));
  // All of it is on the disk.
  s.stop();
  s.kv().crash();
  s.start();
  EXPECT_EQ(s.state(job), JobState::cancelled);
  EXPECT_EQ(s.call<TakeJob>(s.bob, {0})->fence, 1u);
  EXPECT_EQ(s.state(fresh->id), JobState::building);
}

TEST_F(PatrickService, ItsLeasesLastAsLongAsItIsTold) {
  Scenario s(loop_, random_, hosts());
  s.stop();
  s.options.lease = 2s;
  s.start();
  (void)s.push("config", 'a');
  const JobId job = s.push("code", 'b')->job;
  EXPECT_EQ(s.call<TakeJob>(s.ann, {0})->lease_ms, 2000u);
  pass(1900ms);
  EXPECT_EQ(s.state(job), JobState::building);
  pass(200ms);
  EXPECT_EQ(s.state(job), JobState::waiting);
}

// What a patrick of an earlier version kept: records below their keys, and one log of each job.
void write_older(runtime::Loop& loop, store::Kv& kv, const Scenario& s) {
  const auto source = [](char c) {
    return Source{Scenario::commit(c), codec::Cid::of(codec::ContentType::raw, as_bytes("tar"))};
  };
  BranchRecord branch{s.book.project, "main", 7, {{"config", source('a')}, {"code", source('b')}}};
  JobRecord ended, waiting;
  ended.job.id = JobId("ended");
  ended.job.project = s.book.project;
  ended.job.branch = "main";
  ended.job.seq = 6;
  ended.job.registration = s.book.registration;
  ended.job.sources = branch.sources;
  ended.order = 1;
  ended.fence = 1;
  ended.state = JobState::succeeded;
  waiting = ended;
  waiting.job.id = JobId("waiting");
  waiting.job.seq = 7;
  waiting.order = 2;
  waiting.fence = 0;
  waiting.state = JobState::waiting;
  store::Batch batch;
  batch.put("branch/" + s.book.project.str() + "/main", codec::to_cbor(branch));
  batch.put("job/ended", codec::to_cbor(ended));
  batch.put("job/waiting", codec::to_cbor(waiting));
  batch.put("log/ended/0000", to_bytes(std::string_view("built long ago\n")));
  EXPECT_TRUE(runtime::block_on(loop, kv.write(std::move(batch), store::Durability::synced)));
}

TEST_F(PatrickService, TakesOverWhatAnEarlierVersionKept) {
  Scenario s(loop_, random_, hosts());
  s.stop();
  PatrickNode& node = s.nodes.front();
  const auto kept = runtime::block_on(loop_, node.kv.scan("", "", 1000));
  ASSERT_TRUE(kept);
  store::Batch none;
  for (const auto& entry : *kept) none.erase(entry.key);
  ASSERT_TRUE(runtime::block_on(loop_, node.kv.write(std::move(none), store::Durability::synced)));
  write_older(loop_, node.kv, s);
  s.start();
  EXPECT_EQ(s.state(JobId("ended")), JobState::succeeded);
  bool ended = false;
  EXPECT_EQ(s.log(JobId("ended"), ended), "built long ago\n");
  EXPECT_TRUE(ended);
  const auto taken = s.call<TakeJob>(s.ann, {0});
  ASSERT_TRUE(taken->job);
  EXPECT_TRUE(s.call<AppendLog>(s.ann, {JobId("waiting"), 1, "now\n"}));
  s.stop();
  s.kv().crash();
  s.start();
  EXPECT_EQ(s.state(JobId("waiting")), JobState::building) << "not what it was before";
  EXPECT_EQ(s.push("code", 'c')->seq, 8u) << "no seq comes twice";
}

TEST_F(PatrickService, WithOthersBesideItItRefusesToTakeOverWhatItKeptAlone) {
  Scenario s(loop_, random_, hosts());
  s.stop();
  store::MemoryKv kv;
  write_older(loop_, kv, s);
  Options options;
  options.founders = {s.patrick.identity.id(), PeerId("another")};
  Service service(loop_, *s.patrick.host, s.patrick.router, s.patrick.caller, kv,
                  s.nodes.front().exchange, s.nodes.front().provider, random_, s.patrick.identity,
                  Logger(), options);
  const auto refused = runtime::block_on(loop_, service.start());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::failed_precondition);
  EXPECT_NE(refused.error().message().find("start it once without"), std::string::npos);
}

TEST(LeaseBook, ALeaseIsOverWhenItsMonkeyWasSilentAndNotBefore) {
  const auto at = [](int seconds) { return TimePoint{std::chrono::seconds(seconds)}; };
  LeaseBook book(10s);
  book.begin(JobId("a"), 1, at(0));
  book.begin(JobId("b"), 4, at(3));
  EXPECT_EQ(book.next_expiry(), at(10));
  EXPECT_TRUE(book.renew(JobId("a"), 1, at(9)));
  EXPECT_FALSE(book.renew(JobId("a"), 2, at(9)));
  EXPECT_TRUE(book.over(at(12)).empty());
  const auto over = book.over(at(13));
  ASSERT_EQ(over.size(), 1u);
  EXPECT_EQ(over[0].job, JobId("b"));
  EXPECT_EQ(over[0].fence, 4u);
  book.end(JobId("b"));
  EXPECT_FALSE(book.renew(JobId("b"), 4, at(13))) << "it is being ended";
}

}  // namespace
}  // namespace tau::patrick
