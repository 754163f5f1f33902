// What patrick must do, on whatever hosts the test brings.
#pragma once

#include <gtest/gtest.h>

#include <list>
#include <set>

#include "command/members.h"
#include "content/unixfs.h"
#include "services/patrick/service.h"
#include "store/memory/memory_kv.h"

namespace tau::patrick {

// Stands in for auth behind its wire interface.
class ProjectBook {
 public:
  Task<Result<auth::GetProject::Response>> handle(command::Peer, auth::GetProject::Request r) {
    if (r.project != project) co_return fail(ErrorCode::not_found, "nobody registered it");
    co_return auth::GetProject::Response{registration};
  }
  ProjectId project;
  codec::Signed registration;
};

// A git host whose pushes are calls of the test.
class ScriptedProvider final : public Provider {
 public:
  std::string_view name() const override { return "local"; }
  Task<Status> start(PushListener&) override { co_return Status{}; }
  Task<void> stop() override { co_return; }
  Task<Result<Bytes>> archive(ProjectId, std::string repository, std::string commit) override {
    co_return to_bytes("tar of " + repository + " at " + commit);
  }
};

// A patrick of one or several. Its disks outlive it.
struct PatrickNode {
  PatrickNode(runtime::Loop& loop, command::Member& m)
      : member(m), exchange(loop, *m.host, blocks, Logger()) {}
  command::Member& member;
  store::MemoryKv kv, block_kv;
  store::BlockStore blocks{block_kv};
  content::Exchange exchange;
  ScriptedProvider provider;
  std::unique_ptr<Service> service;
};

// A network with a patrick or several, auth, two monkeys and a client.
class Scenario {
 public:
  Scenario(runtime::Loop& l, Random& r, command::Members::HostFactory hosts,
           std::size_t patricks = 1)
      : loop(l),
        random(r),
        members(l, r, std::move(hosts)),
        patrick(members.add({"patrick"})),
        auth(members.add({"auth"})),
        ann(members.add({"monkey"})),
        bob(members.add({"monkey"})),
        client(members.add({"client"})),
        owner(crypto::KeyPair::generate(r)) {
    nodes.emplace_back(loop, patrick);
    while (nodes.size() < patricks) nodes.emplace_back(loop, members.add({"patrick"}));
    EXPECT_TRUE(runtime::block_on(loop, members.start()));
    auth::Registration r2;
    r2.genesis = {"hello", owner.public_key().raw(), {}};
    r2.label = "hello";
    r2.repositories = {{"config", auth::RepositoryKind::config, "local"},
                       {"code", auth::RepositoryKind::code, "local"}};
    book.project = r2.project();
    book.registration = codec::sign_record(owner, r2);
    auth.router.serve(auth::kProtocol, book, command::List<auth::GetProject>{});
    for (auto& node : nodes) node.exchange.start();
    for (auto& node : nodes) up(node);
  }
  ~Scenario() {
    for (auto& node : nodes) down(node);
    for (auto& node : nodes) runtime::block_on(loop, node.exchange.stop());
    runtime::block_on(loop, auth.router.unserve(auth::kProtocol));
    runtime::block_on(loop, members.stop());
  }
  void up(PatrickNode& node) {
    command::Member& m = node.member;
    Options mine = options;
    if (nodes.size() > 1)
      for (const auto& other : nodes) mine.founders.push_back(other.member.identity.id());
    node.service =
        std::make_unique<Service>(loop, *m.host, m.router, m.caller, node.kv, node.exchange,
                                  node.provider, random, m.identity, Logger(), std::move(mine));
    const auto started = runtime::block_on(loop, node.service->start());
    EXPECT_TRUE(started) << started.error().to_string();
  }
  void down(PatrickNode& node) {
    if (!node.service) return;
    runtime::block_on(loop, node.service->stop());
    runtime::block_on(loop, node.service->stop());
    node.service.reset();
  }
  void start() { up(nodes.front()); }
  void stop() { down(nodes.front()); }
  Service& service() { return *nodes.front().service; }
  store::MemoryKv& kv() { return nodes.front().kv; }

  static std::string commit(char c) { return std::string(40, c); }
  Result<Accepted> push(const std::string& repository, char c) {
    return runtime::block_on(
        loop, nodes.front().service->accept({book.project, repository, "main", commit(c)}));
  }
  template <class C>
  Result<typename C::Response> call(command::Member& who, typename C::Request request) {
    return runtime::block_on(loop, who.caller.call_any<C>(kRole, kProtocol, std::move(request)));
  }
  Result<JobStatus> cancel(const JobId& job, const crypto::KeyPair& key, std::int64_t late_ms = 0) {
    const CancelOrder order{job, loop.wall_unix_ms() - late_ms};
    auto done = call<CancelJob>(client, {codec::sign_record(key, order)});
    if (!done) return fail(done.error());
    return std::move(done->job);
  }
  Result<JobStatus> retry(const JobId& job, const crypto::KeyPair& key) {
    const RetryOrder order{job, false, loop.wall_unix_ms()};
    auto done = call<RetryJob>(client, {codec::sign_record(key, order)});
    if (!done) return fail(done.error());
    return std::move(done->job);
  }
  JobState state(const JobId& job) { return call<GetJob>(client, {job, {}, 0})->job.state; }
  std::string log(const JobId& job, bool& ended) {
    std::string text;
    for (;;) {
      const auto read = call<ReadLog>(client, {job, text.size(), 0});
      EXPECT_TRUE(read);
      ended = read && read->ended;
      if (!read || read->text.empty()) return text;
      text += read->text;
    }
  }

  runtime::Loop& loop;
  Random& random;
  command::Members members;
  command::Member &patrick, &auth, &ann, &bob, &client;
  crypto::KeyPair owner;
  ProjectBook book;
  Options options;
  std::list<PatrickNode> nodes;
};

inline void run_patrick_scenario(runtime::Loop& loop, Random& random,
                                 command::Members::HostFactory hosts) {
  Scenario s(loop, random, std::move(hosts));
  const auto first = s.push("config", 'a');
  ASSERT_TRUE(first) << first.error().to_string();
  EXPECT_EQ(s.state(first->job), JobState::waiting);
  EXPECT_FALSE(s.call<TakeJob>(s.ann, {0})->job) << "code is not there yet";
  const auto second = s.push("code", 'b');
  ASSERT_TRUE(second);
  EXPECT_EQ(s.state(first->job), JobState::superseded);
  EXPECT_EQ(s.call<TakeJob>(s.client, {0}).error().code(), ErrorCode::permission_denied);

  const auto taken = s.call<TakeJob>(s.ann, {1000});
  ASSERT_TRUE(taken);
  ASSERT_TRUE(taken->job);
  const auto opened =
      p2p::open_node_signed<Job>(s.ann.admission, kRole, *taken->job, loop.wall_unix_ms());
  ASSERT_TRUE(opened) << opened.error().to_string();
  const Job& job = opened->record;
  EXPECT_EQ(job.id, second->job);
  EXPECT_EQ(job.seq, 2u);
  EXPECT_EQ(job.registration, s.book.registration);
  ASSERT_EQ(job.sources.size(), 2u);
  EXPECT_EQ(job.sources.at("config").commit, Scenario::commit('a'));
  content::LocalSource source(s.nodes.front().blocks);
  const auto tar =
      runtime::block_on(loop, content::read_file(source, job.sources.at("code").archive, 1u << 20));
  ASSERT_TRUE(tar) << tar.error().to_string();
  EXPECT_EQ(as_text(*tar), "tar of code at " + Scenario::commit('b'));

  EXPECT_TRUE(s.call<RenewLease>(s.ann, {job.id, taken->fence}));
  EXPECT_EQ(s.call<RenewLease>(s.bob, {job.id, taken->fence}).error().code(), ErrorCode::aborted);
  EXPECT_TRUE(s.call<AppendLog>(s.ann, {job.id, taken->fence, "compiling ping\n"}));
  EXPECT_EQ(s.call<AppendLog>(s.bob, {job.id, taken->fence, "x"}).error().code(),
            ErrorCode::aborted);
  EXPECT_EQ(
      s.call<AppendLog>(s.ann, {job.id, taken->fence, std::string(65'537, 'x')}).error().code(),
      ErrorCode::invalid_argument);

  // A restart loses nothing that was acknowledged, nor the lease.
  s.stop();
  s.start();
  EXPECT_EQ(s.state(job.id), JobState::building);
  EXPECT_TRUE(s.call<AppendLog>(s.ann, {job.id, taken->fence, "linking\n"}));
  const auto deployment = codec::Cid::of(codec::ContentType::dag_cbor, as_bytes("d"));
  EXPECT_TRUE(s.call<FinishJob>(s.ann, {job.id, taken->fence, deployment, ""}));
  EXPECT_TRUE(s.call<FinishJob>(s.ann, {job.id, taken->fence, deployment, ""})) << "told again";
  const auto status = s.call<GetJob>(s.client, {job.id, JobState::building, 30'000});
  ASSERT_TRUE(status);
  EXPECT_EQ(status->job.state, JobState::succeeded);
  EXPECT_EQ(status->job.deployment, deployment);
  bool ended = false;
  const std::string log = s.log(job.id, ended);
  EXPECT_TRUE(ended);
  EXPECT_NE(log.find("compiling ping\nlinking\n"), std::string::npos) << log;

  const auto list = s.call<ListJobs>(s.client, {s.book.project, 20});
  ASSERT_EQ(list->jobs.size(), 2u);
  EXPECT_EQ(list->jobs[0].id, job.id);
  EXPECT_EQ(s.call<GetJob>(s.client, {JobId("none"), {}, 0}).error().code(), ErrorCode::not_found);
  EXPECT_EQ(s.call<ReadLog>(s.client, {JobId("none"), 0, 0}).error().code(), ErrorCode::not_found);
  EXPECT_EQ(s.call<GitBase>(s.client, {}).error().code(), ErrorCode::unavailable);
  s.service().set_git_base("http://127.0.0.1:1/git");
  EXPECT_EQ(s.call<GitBase>(s.client, {})->url, "http://127.0.0.1:1/git");
}

}  // namespace tau::patrick
