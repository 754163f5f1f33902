// What tns must do, on whatever hosts the test brings.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "command/members.h"
#include "services/monkey/api.h"
#include "services/patrick/api.h"
#include "services/tns/client.h"
#include "services/tns/service.h"
#include "store/memory/memory_kv.h"

namespace tau::tns {

// One tns node of several.
struct TnsNode {
  TnsNode(command::Member& m, Duration sync) : member(m), kv(sync) {}
  command::Member& member;
  store::MemoryKv kv;
  std::unique_ptr<Service> service;
};

// A small network with a tns node or several, and what it takes to publish: an owner, patrick, a
// monkey, and a substrate that asks.
class Town {
 public:
  Town(runtime::Loop& l, Random& r, command::Members::HostFactory factory, Duration sync = {},
       std::size_t tns_count = 1)
      : loop(l),
        random(r),
        members(l, r, std::move(factory)),
        patrick(members.add({"patrick"})),
        monkey(members.add({"monkey"})),
        auth(members.add({"auth"})),
        substrate(members.add({"substrate"})),
        tns(members.add({"tns"})),
        owner(crypto::KeyPair::generate(r)),
        client(l, *substrate.host, substrate.caller, substrate.admission, Logger()) {
    nodes.emplace_back(tns, sync);
    while (nodes.size() < tns_count) nodes.emplace_back(members.add({"tns"}), sync);
    for (const auto& node : nodes) founders.push_back(node.member.identity.id());
    EXPECT_TRUE(runtime::block_on(loop, members.start()));
    // The far end of a connection learns of it a little later.
    const auto all_connected = [&] {
      for (std::size_t i = 0; i < members.size(); ++i)
        if (members[i].host->peers().size() + 1 < members.size()) return false;
      return true;
    };
    for (const auto until = loop.now() + std::chrono::seconds(10);
         !all_connected() && loop.now() < until;)
      pass(std::chrono::milliseconds(1));
    EXPECT_TRUE(all_connected());
    client.start();
    for (auto& node : nodes) up(node);
  }
  ~Town() {
    runtime::block_on(loop, client.stop());
    for (auto& node : nodes) down(node);
    runtime::block_on(loop, members.stop());
  }
  void up(TnsNode& node) {
    Service::Options options{"x.localhost", founders};
    options.keeper_pace = std::chrono::milliseconds(500);
    options.keeper_grace = std::chrono::seconds(20);
    command::Member& m = node.member;
    node.service = std::make_unique<Service>(loop, *m.host, m.router, m.caller, node.kv, random,
                                             m.admission, m.identity, Logger(), std::move(options));
    const auto started = runtime::block_on(loop, node.service->start());
    EXPECT_TRUE(started) << started.error().to_string();
  }
  // A further one, of whom the others learn by its certificate alone.
  TnsNode& join() {
    TnsNode& node = nodes.emplace_back(members.add({"tns"}), Duration());
    EXPECT_TRUE(runtime::block_on(loop, node.member.host->start()));
    for (std::size_t i = 0; i + 1 < members.size(); ++i)
      for (const auto& address : members[i].host->addresses())  // none: it is gone
        (void)runtime::block_on(loop, node.member.host->connect(address));
    up(node);
    return node;
  }
  void down(TnsNode& node) {
    if (node.service) runtime::block_on(loop, node.service->stop());
    node.service.reset();
  }
  // A power cut: what was not synced is gone, and nobody is told.
  void cut_power(TnsNode& node) {
    node.kv.crash();
    down(node);
  }
  // Of the shard of the project "hello"; null: nobody leads.
  TnsNode* leader() {
    for (auto& node : nodes)
      if (const Shard* shard = shard_at(node); shard && shard->group().is_leader()) return &node;
    return nullptr;
  }
  // Of the project "hello", as this node holds it.
  const Shard* shard_at(const TnsNode& node) const {
    if (!node.service || node.service->shards().count() == 0) return nullptr;
    const Shards& shards = node.service->shards();
    return shards.held(shards.of_project(registration(owner, "hello").project()));
  }
  // Of every shard.
  bool wait_leader() {
    return wait([&] {
      return leader() != nullptr && std::ranges::all_of(nodes, [](const TnsNode& node) {
               return !node.service || node.service->shards().decides();
             });
    });
  }
  bool wait(const std::function<bool()>& met) {
    const auto until = loop.now() + std::chrono::seconds(20);
    while (!met() && loop.now() < until) pass(std::chrono::milliseconds(5));
    return met();
  }

  auth::Registration registration(const crypto::KeyPair& key, std::string label) const {
    auth::Registration r;
    r.genesis = {"hello", key.public_key().raw(), {}};
    r.label = std::move(label);
    r.repositories = {{"code", auth::RepositoryKind::code, "local"}};
    r.made_unix_ms = 1;
    return r;
  }
  struct Chain {
    patrick::Job job;
    monkey::Receipt receipt;
  };
  Chain chain(std::uint64_t seq, std::vector<std::string> hosts, std::string branch = "main") {
    const auto r = registration(owner, "hello");
    Chain c;
    c.job.id = JobId("job-" + std::to_string(seq));
    c.job.project = r.project();
    c.job.branch = branch;
    c.job.seq = seq;
    c.job.registration = codec::sign_record(owner, r);
    c.receipt.job = c.job.id;
    c.receipt.project = c.job.project;
    c.receipt.branch = branch;
    c.receipt.seq = seq;
    c.receipt.deployment =
        codec::Cid::of(codec::ContentType::dag_cbor, as_bytes(std::to_string(seq)));
    c.receipt.hosts = std::move(hosts);
    c.receipt.built_unix_ms = loop.wall_unix_ms();
    return c;
  }
  // As a monkey publishes it.
  Publish::Request request(const Chain& c) const {
    Publish::Request r{patrick.identity.sign(c.job), monkey.identity.sign(c.receipt)};
    const auto answered = answered_hosts("x.localhost", c.job.branch, c.receipt.hosts);
    r.head = monkey.identity.sign(
        monkey::head_of(c.receipt, r.receipt.record.body,
                        digest_of_hosts(answered ? *answered : std::vector<std::string>())));
    return r;
  }
  Result<Pointer> publish(const Chain& c) {
    Publish::Request r = request(c);
    return publish(std::move(r.job), std::move(r.receipt), std::move(r.head));
  }
  Result<Pointer> publish(p2p::NodeSigned job, p2p::NodeSigned receipt,
                          std::optional<p2p::NodeSigned> head = std::nullopt) {
    Client speaker(loop, *monkey.host, monkey.caller, monkey.admission, Logger());
    return runtime::block_on(loop,
                             speaker.publish(std::move(job), std::move(receipt), std::move(head)));
  }
  Status claim(const crypto::KeyPair& key, std::string label) {
    Client speaker(loop, *auth.host, auth.caller, auth.admission, Logger());
    return runtime::block_on(
        loop, speaker.claim(codec::sign_record(key, registration(key, std::move(label)))));
  }
  Result<Client::Found> lookup(std::string host) {
    return runtime::block_on(loop, client.lookup(std::move(host)));
  }
  void pass(Duration time) { (void)runtime::block_on(loop, runtime::sleep_for(time)); }

  runtime::Loop& loop;
  Random& random;
  command::Members members;
  command::Member &patrick, &monkey, &auth, &substrate, &tns;
  crypto::KeyPair owner;
  Client client;
  std::list<TnsNode> nodes;
  std::vector<PeerId> founders;
};

inline void run_tns_scenario(runtime::Loop& loop, Random& random,
                             command::Members::HostFactory hosts) {
  using namespace std::chrono_literals;
  Town t(loop, random, std::move(hosts));
  EXPECT_EQ(t.lookup("hello.x.localhost").error().code(), ErrorCode::not_found);

  ASSERT_TRUE(t.claim(t.owner, "hello"));
  EXPECT_TRUE(t.claim(t.owner, "hello"));
  const auto thief = crypto::KeyPair::generate(random);
  EXPECT_EQ(t.claim(thief, "hello").error().code(), ErrorCode::already_exists);
  const auto resolved = runtime::block_on(loop, t.client.resolve("hello.x.localhost"));
  ASSERT_TRUE(resolved);
  EXPECT_EQ(resolved->project, t.registration(t.owner, "hello").project());

  const auto first = t.publish(t.chain(1, {"hello.x.localhost"}));
  ASSERT_TRUE(first) << first.error().to_string();
  EXPECT_EQ(first->seq, 1u);
  // The name was asked for before: gossip ends what was remembered, or else its short life does.
  Result<Client::Found> found = fail(ErrorCode::unknown, "");
  for (const auto until = loop.now() + 10s; !found && loop.now() < until; t.pass(10ms))
    found = t.lookup("hello.x.localhost");
  ASSERT_TRUE(found) << found.error().to_string();
  EXPECT_EQ(*found->pointer, *first);

  // A move reaches who serves from its cache.
  const auto second = t.publish(t.chain(2, {"hello.x.localhost"}));
  ASSERT_TRUE(second);
  for (const auto until = loop.now() + 10s; found->pointer->seq != 2 && loop.now() < until;
       t.pass(10ms))
    found = t.lookup("hello.x.localhost");
  EXPECT_EQ(found->pointer->seq, 2u);
  EXPECT_EQ(t.publish(t.chain(1, {"hello.x.localhost"})).error().code(),
            ErrorCode::failed_precondition);

  // The node dies; what it answered survives.
  t.cut_power(t.nodes.front());
  t.up(t.nodes.front());
  const auto pointer = runtime::block_on(loop, t.client.pointer_of(second->project, "main"));
  ASSERT_TRUE(pointer) << pointer.error().to_string();
  EXPECT_EQ(*pointer, *second);
}

}  // namespace tau::tns
