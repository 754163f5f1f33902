#include "services/tns/service.h"

#include <gmock/gmock.h>

#include "services/tns/test_world.h"

namespace tau::tns {
namespace {

using namespace std::chrono_literals;
using runtime::block_on;

TEST(TnsService, PublishesAndAnswersOnASimulatedNetwork) {
  runtime::VirtualLoop loop;
  SeededRandom random(1);
  p2p::simulated::SimulatedNetwork network(loop, random);
  run_tns_scenario(loop, random, on(network));
}

TEST(TnsService, MovesAPointerOnlyForAWholeChain) {
  World w;
  Town& t = w.town;
  const auto refused = [&](p2p::NodeSigned job, p2p::NodeSigned receipt) {
    const auto result = t.publish(std::move(job), std::move(receipt));
    return result ? ErrorCode::unknown : result.error().code();
  };
  const auto good = t.chain(1, kHello);
  const auto job = t.patrick.identity.sign(good.job);
  const auto receipt = t.monkey.identity.sign(good.receipt);
  EXPECT_EQ(refused(t.monkey.identity.sign(good.job), receipt), ErrorCode::permission_denied);
  EXPECT_EQ(refused(job, t.patrick.identity.sign(good.receipt)), ErrorCode::permission_denied);
  auto forged = job;
  forged.record.body.back() ^= 1;
  EXPECT_EQ(refused(forged, receipt), ErrorCode::permission_denied);
  EXPECT_EQ(refused(receipt, job), ErrorCode::permission_denied);

  const auto with = [&](auto change) {
    auto c = t.chain(1, kHello);
    change(c);
    return refused(t.patrick.identity.sign(c.job), t.monkey.identity.sign(c.receipt));
  };
  EXPECT_EQ(with([](auto& c) { c.receipt.seq = 2; }), ErrorCode::permission_denied);
  EXPECT_EQ(with([](auto& c) { c.receipt.branch = "dev"; }), ErrorCode::permission_denied);
  EXPECT_EQ(with([](auto& c) { c.receipt.job = JobId("other"); }), ErrorCode::permission_denied);
  EXPECT_EQ(with([](auto& c) { c.receipt.project = ProjectId("p"); }),
            ErrorCode::permission_denied);
  EXPECT_EQ(with([](auto& c) { c.job.project = c.receipt.project = ProjectId("p"); }),
            ErrorCode::permission_denied);
  // Signed by somebody who is not the owner that the genesis names.
  const auto thief = crypto::KeyPair::generate(w.random);
  EXPECT_EQ(with([&](auto& c) {
              c.job.registration = codec::sign_record(thief, t.registration(t.owner, "hello"));
            }),
            ErrorCode::permission_denied);
  EXPECT_EQ(with([](auto& c) { c.receipt.deployment = {}; }), ErrorCode::invalid_argument);
  EXPECT_EQ(with([](auto& c) { c.receipt.hosts = {"Not A Host"}; }), ErrorCode::invalid_argument);
  EXPECT_EQ(t.lookup(kHello[0]).error().code(), ErrorCode::not_found);
  EXPECT_TRUE(t.publish(good));
}

TEST(TnsService, OnlyMonkeysAndPatricksPublishAndOnlyAuthClaims) {
  World w;
  Town& t = w.town;
  const auto c = t.chain(1, kHello);
  EXPECT_EQ(block_on(w.loop, t.client.publish(t.patrick.identity.sign(c.job),
                                              t.monkey.identity.sign(c.receipt)))
                .error()
                .code(),
            ErrorCode::permission_denied);
  EXPECT_EQ(block_on(w.loop,
                     t.client.claim(codec::sign_record(t.owner, t.registration(t.owner, "hello"))))
                .error()
                .code(),
            ErrorCode::permission_denied);
  EXPECT_EQ(t.claim(t.owner, "dev--hello").error().code(), ErrorCode::invalid_argument);
}

TEST(TnsService, SaysWhetherANameIsUnknownOrEmpty) {
  World w;
  Town& t = w.town;
  EXPECT_THAT(t.lookup(kHello[0]).error().message(), testing::HasSubstr("nobody has claimed"));
  ASSERT_TRUE(t.claim(t.owner, "hello"));
  t.pass(20ms);  // gossip ends what was remembered, long before its own time is over
  EXPECT_THAT(t.lookup(kHello[0]).error().message(), testing::HasSubstr("nothing is deployed"));
}

TEST(TnsService, APreviewIsServedBesideMain) {
  World w;
  Town& t = w.town;
  ASSERT_TRUE(t.publish(t.chain(1, kHello)));
  const auto preview = t.publish(t.chain(2, kHello, "dev"));
  ASSERT_TRUE(preview) << preview.error().to_string();
  EXPECT_EQ(t.lookup("dev--hello.x.localhost")->pointer->seq, 2u);
  EXPECT_EQ(t.lookup("hello.x.localhost")->pointer->seq, 1u);
  EXPECT_EQ(routed_host(*preview, "dev--hello.x.localhost"), "hello.x.localhost");
}

TEST(TnsService, MovesBackByTheOwnersOrderOnly) {
  World w;
  Town& t = w.town;
  for (int seq = 1; seq <= 2; ++seq) ASSERT_TRUE(t.publish(t.chain(seq, kHello)));
  ASSERT_EQ(t.lookup(kHello[0])->pointer->seq, 2u);
  const auto r = t.registration(t.owner, "hello");
  const auto thief = crypto::KeyPair::generate(w.random);
  const patrick::RollbackOrder order{
      r.project(), "main", 2, 1, t.chain(1, {}).receipt.deployment, w.loop.wall_unix_ms()};
  const auto numbered = [&](const crypto::KeyPair& key, const auth::Registration& of) {
    return patrick::NumberedRollback{codec::sign_record(key, order), codec::sign_record(key, of),
                                     3};
  };
  const auto ask = [&](p2p::NodeSigned item) {
    return block_on(w.loop,
                    t.substrate.caller.call_any<Rollback>(kRole, kProtocol, {std::move(item)}));
  };
  const auto refused = [&](p2p::NodeSigned item) {
    const auto answer = ask(std::move(item));
    return answer ? ErrorCode::unknown : answer.error().code();
  };
  EXPECT_EQ(refused(t.patrick.identity.sign(numbered(thief, r))), ErrorCode::permission_denied)
      << "not the owner's key";
  EXPECT_EQ(refused(t.patrick.identity.sign(numbered(thief, t.registration(thief, "hello")))),
            ErrorCode::permission_denied)
      << "the owner of something else";
  EXPECT_EQ(refused(t.monkey.identity.sign(numbered(t.owner, r))), ErrorCode::permission_denied)
      << "no patrick numbered it";
  EXPECT_EQ(t.lookup(kHello[0])->pointer->seq, 2u);

  const auto before = w.loop.now();
  const auto moved = ask(t.patrick.identity.sign(numbered(t.owner, r)));
  ASSERT_TRUE(moved) << moved.error().to_string();
  EXPECT_TRUE(t.wait([&] { return t.lookup(kHello[0])->pointer->seq == 3; }));
  EXPECT_LT(w.loop.now() - before, 100ms) << "gossip tells who serves";
  EXPECT_EQ(t.lookup(kHello[0])->pointer->deployment, order.deployment);
  EXPECT_EQ(t.lookup(kHello[0])->pointer->pushed_seq(), 1u);
  EXPECT_TRUE(ask(t.patrick.identity.sign(numbered(t.owner, r)))) << "told again";
  const auto history = block_on(
      w.loop, t.substrate.caller.call_any<History>(kRole, kProtocol, {r.project(), "main"}));
  ASSERT_TRUE(history);
  ASSERT_EQ(history->versions.size(), 3u);
  EXPECT_TRUE(history->versions[0].serves);
  EXPECT_EQ(history->versions[0].push, 1u);
  EXPECT_TRUE(t.publish(t.chain(4, kHello))) << "a later push goes on from there";
}

TEST(TnsService, APublishTakesOneSyncAndTheWayThere) {
  World w(5ms);
  Town& t = w.town;
  ASSERT_TRUE(t.publish(t.chain(1, kHello)));
  const auto before = w.loop.now();
  ASSERT_TRUE(t.publish(t.chain(2, kHello)));
  EXPECT_LE(w.loop.now() - before, 5ms + 6ms);  // two or three one-way trips of 1 ms each way
}

TEST(TnsNodes, AnyOfThreeIsAskedAndAnyPublishes) {
  World w({}, 3);
  Town& t = w.town;
  ASSERT_TRUE(t.wait_leader());
  std::uint64_t seq = 0;
  for (auto& node : t.nodes) {
    const auto c = t.chain(++seq, kHello);
    const auto moved =
        block_on(w.loop, t.monkey.caller.call<Publish>(
                             node.member.identity.id(), kProtocol,
                             {t.patrick.identity.sign(c.job), t.monkey.identity.sign(c.receipt)}));
    ASSERT_TRUE(moved) << moved.error().to_string();
  }
  EXPECT_TRUE(t.wait([&] {
    for (auto& node : t.nodes) {
      const auto found = block_on(w.loop, t.substrate.caller.call<Lookup>(node.member.identity.id(),
                                                                          kProtocol, {kHello[0]}));
      if (!found) return false;
      const auto opened = p2p::open_node_signed<Pointer>(t.substrate.admission, kRole,
                                                         found->pointer, w.loop.wall_unix_ms());
      if (!opened || opened->record.seq != 3 || opened->signer.peer != node.member.identity.id())
        return false;
    }
    return true;
  }));
}

TEST(TnsNodes, GoOnPublishingWhenTheLeaderDies) {
  World w({}, 3);
  Town& t = w.town;
  ASSERT_TRUE(t.wait_leader());
  ASSERT_TRUE(t.publish(t.chain(1, kHello)));
  // A replica may learn of it a moment later.
  ASSERT_TRUE(t.wait([&] { return bool(t.lookup(kHello[0])); }));
  TnsNode* first = t.leader();
  ASSERT_TRUE(first);
  w.network.kill(first->member.host->id());
  t.cut_power(*first);
  const auto before = w.loop.now();
  const auto second = t.publish(t.chain(2, kHello));
  ASSERT_TRUE(second) << second.error().to_string();
  EXPECT_LT(w.loop.now() - before, 5s);
  EXPECT_TRUE(t.wait([&] {
    const auto found = t.lookup(kHello[0]);
    return found && found->pointer->seq == 2;
  }));
}

TEST(TnsNodes, AMinorityRefusesToPublishAndGoesOnAnswering) {
  World w({}, 3);
  Town& t = w.town;
  ASSERT_TRUE(t.wait_leader());
  ASSERT_TRUE(t.publish(t.chain(1, kHello)));
  // A replica may learn of it a moment later.
  ASSERT_TRUE(t.wait([&] { return bool(t.lookup(kHello[0])); }));
  TnsNode* leader = t.leader();
  ASSERT_TRUE(leader);
  std::vector<PeerId> rest;
  for (auto& node : t.nodes)
    if (&node != leader) rest.push_back(node.member.identity.id());
  w.network.partition({rest});  // who leads keeps everybody else, and no majority
  const auto refused = t.publish(t.chain(2, kHello));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().code(),
              testing::AnyOf(ErrorCode::unavailable, ErrorCode::deadline_exceeded));
  t.pass(2s);  // by now it knows
  const auto c = t.chain(2, kHello);
  const auto clear =
      block_on(w.loop, t.monkey.caller.call<Publish>(
                           leader->member.identity.id(), kProtocol,
                           {t.patrick.identity.sign(c.job), t.monkey.identity.sign(c.receipt)}));
  ASSERT_FALSE(clear);
  EXPECT_EQ(clear.error().code(), ErrorCode::unavailable);
  EXPECT_THAT(clear.error().message(), testing::HasSubstr("what is deployed stays served"));
  EXPECT_THAT(clear.error().message(), testing::HasSubstr("a majority of its 3 voters"));
  t.pass(3s);
  const auto found = t.lookup(kHello[0]);
  ASSERT_TRUE(found) << found.error().to_string();
  EXPECT_EQ(found->pointer->seq, 1u);
  w.network.heal();
  EXPECT_TRUE(t.wait([&] { return bool(t.publish(t.chain(2, kHello))); }));
}

TEST(TnsNodes, ALinearizableReadSaysSoAndNeedsAMajority) {
  World w({}, 3);
  Town& t = w.town;
  ASSERT_TRUE(t.wait_leader());
  const ProjectId project = t.chain(1, kHello).job.project;
  const auto read = [&](TnsNode& node, bool linearizable) {
    GetPointer::Request request{project, "main"};
    if (linearizable) request.linearizable = true;
    return block_on(w.loop, t.substrate.caller.call<GetPointer>(node.member.identity.id(),
                                                                kProtocol, std::move(request)));
  };
  for (auto& node : t.nodes) EXPECT_EQ(read(node, true).error().code(), ErrorCode::not_found);
  for (std::uint64_t seq = 1; seq <= 5; ++seq) {
    ASSERT_TRUE(t.publish(t.chain(seq, kHello)));
    for (auto& node : t.nodes) {
      const auto found = read(node, true);
      ASSERT_TRUE(found) << found.error().to_string();
      EXPECT_EQ(codec::from_cbor<Pointer>(found->pointer.record.body)->seq, seq);
      EXPECT_EQ(found->linearizable, true);
    }
  }
  EXPECT_FALSE(read(t.nodes.front(), false)->linearizable);
  TnsNode& alone = t.nodes.front();
  std::vector<PeerId> rest;
  for (auto& node : t.nodes)
    if (&node != &alone) rest.push_back(node.member.identity.id());
  w.network.partition({rest});
  t.pass(3s);
  EXPECT_TRUE(read(alone, false)) << "what it has applied";
  const auto refused = read(alone, true);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().code(),
              testing::AnyOf(ErrorCode::unavailable, ErrorCode::deadline_exceeded));
}

TEST(TnsClient, AnswersFromItsCacheWithinTheLease) {
  World w;
  Town& t = w.town;
  ASSERT_TRUE(t.publish(t.chain(1, kHello)));
  EXPECT_EQ(t.lookup(kHello[0])->source, Client::Source::network);
  const auto before = w.loop.now();
  EXPECT_EQ(t.lookup(kHello[0])->source, Client::Source::cache);
  EXPECT_EQ(w.loop.now(), before);
  EXPECT_TRUE(t.client.cached(kHello[0]));
  EXPECT_FALSE(t.client.cached("other.x.localhost"));
  t.pass(1500ms);  // soft: served at once, looked up beside
  EXPECT_EQ(t.lookup(kHello[0])->source, Client::Source::cache);
  t.pass(900ms);
  EXPECT_EQ(t.lookup(kHello[0])->source, Client::Source::cache);
  t.pass(10s);
  EXPECT_FALSE(t.client.cached(kHello[0]));
  EXPECT_EQ(t.lookup(kHello[0])->source, Client::Source::network);
}

TEST(TnsClient, WhatIsDeployedStaysServedWithoutTns) {
  World w;
  Town& t = w.town;
  ASSERT_TRUE(t.publish(t.chain(1, kHello)));
  ASSERT_TRUE(t.lookup(kHello[0]));
  w.cut();
  for (int i = 0; i < 20; ++i) {
    t.pass(3s);
    const auto before = w.loop.now();
    const auto found = t.lookup(kHello[0]);
    ASSERT_TRUE(found) << found.error().to_string();
    EXPECT_EQ(found->source, Client::Source::stale);
    EXPECT_LE(w.loop.now() - before, 300ms);
    const auto next = w.loop.now();
    EXPECT_TRUE(t.lookup(kHello[0]));
    EXPECT_EQ(w.loop.now(), next) << "one wait for a silent tns, not one for each request";
  }
  EXPECT_EQ(t.lookup("never.x.localhost").error().code(), ErrorCode::unavailable);
  ASSERT_TRUE(t.publish(t.chain(2, kHello)));
  w.heal();
  t.pass(3s);
  EXPECT_EQ(t.lookup(kHello[0])->pointer->seq, 2u);
}

TEST(TnsClient, GossipMakesItLookAgainAtOnce) {
  World w;
  Town& t = w.town;
  ASSERT_TRUE(t.publish(t.chain(1, kHello)));
  ASSERT_TRUE(t.lookup(kHello[0]));
  std::vector<std::uint64_t> heard;
  t.client.on_moved([&](const Moved& moved) { heard.push_back(moved.seq); });
  ASSERT_TRUE(t.publish(t.chain(2, kHello)));
  t.pass(50ms);
  EXPECT_EQ(heard, (std::vector<std::uint64_t>{2}));
  EXPECT_EQ(t.lookup(kHello[0])->pointer->seq, 2u);
}

TEST(TnsClient, FalseGossipTakesNothingAway) {
  World w;
  Town& t = w.town;
  ASSERT_TRUE(t.publish(t.chain(1, kHello)));
  ASSERT_TRUE(t.lookup(kHello[0]));
  const Moved lie{ProjectId("p"), "main", 99, kHello};
  ASSERT_TRUE(t.monkey.host->publish(std::string(kMovedTopic), codec::to_cbor(lie)));
  ASSERT_TRUE(t.monkey.host->publish(std::string(kMovedTopic), Bytes{0xff, 0x00}));
  t.pass(50ms);
  EXPECT_EQ(t.lookup(kHello[0])->pointer->seq, 1u);
  w.cut();
  ASSERT_TRUE(t.monkey.host->publish(std::string(kMovedTopic), codec::to_cbor(lie)));
  t.pass(50ms);
  EXPECT_EQ(t.lookup(kHello[0])->pointer->seq, 1u);
}

TEST(TnsClient, ManyWhoAskForOneNameAreOneQuestion) {
  World w;
  Town& t = w.town;
  ASSERT_TRUE(t.publish(t.chain(1, kHello)));
  runtime::TaskGroup tasks(w.loop);
  int found = 0;
  for (int i = 0; i < 2000; ++i)  // more than the router takes at once
    tasks.spawn([](Client& c, int& n) -> Task<void> {
      if (co_await c.lookup("hello.x.localhost")) ++n;
    }(t.client, found));
  block_on(w.loop, tasks.join());
  EXPECT_EQ(found, 2000);
}

TEST(TnsClient, MadeUpNamesAreBoundedAndPushOutNoRealOne) {
  World w;
  Town& t = w.town;
  ASSERT_TRUE(t.publish(t.chain(1, kHello)));
  ASSERT_TRUE(t.lookup(kHello[0]));
  for (int i = 0; i < 2500; ++i)
    EXPECT_FALSE(t.lookup("made-up-" + std::to_string(i) + ".x.localhost"));
  EXPECT_LE(t.client.cached_hosts(), 2001u);
  w.cut();
  EXPECT_TRUE(t.lookup(kHello[0]));
  EXPECT_EQ(t.lookup("bad host").error().code(), ErrorCode::invalid_argument);
}

TEST(TnsClient, AReplicaThatIsBehindGossipIsPassedOver) {
  World w({}, 3);
  Town& t = w.town;
  ASSERT_TRUE(t.wait_leader());
  ASSERT_TRUE(t.publish(t.chain(1, kHello)));
  ASSERT_TRUE(t.wait([&] { return bool(t.lookup(kHello[0])); }));
  for (std::uint64_t seq = 2; seq < 12; ++seq) {
    ASSERT_TRUE(t.publish(t.chain(seq, kHello)));
    t.pass(3ms);  // gossip is here, the next heartbeat to the followers is not
    EXPECT_EQ(t.lookup(kHello[0])->pointer->seq, seq);
  }
  // Gossip of a move that never was delays, and no more.
  const Moved lie{t.registration(t.owner, "hello").project(), "main", 1'000'000, kHello};
  ASSERT_TRUE(t.monkey.host->publish(std::string(kMovedTopic), codec::to_cbor(lie)));
  t.pass(50ms);
  EXPECT_EQ(t.lookup(kHello[0])->pointer->seq, 11u);
  ASSERT_TRUE(t.publish(t.chain(12, kHello)));
  EXPECT_TRUE(t.wait([&] { return t.lookup(kHello[0])->pointer->seq == 12; }));
}

TEST(TnsClient, CountsWhatItServes) {
  World w;
  Town& t = w.town;
  ASSERT_TRUE(t.publish(t.chain(1, kHello)));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(t.lookup(kHello[0]));
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(t.lookup("never.x.localhost"));
  EXPECT_EQ(t.client.counters().hits, 2u);
  EXPECT_EQ(t.client.counters().hits_negative, 2u);
  EXPECT_EQ(t.client.counters().asked, 2u);
  w.cut();
  t.pass(3s);
  ASSERT_TRUE(t.lookup(kHello[0]));
  EXPECT_EQ(t.client.counters().stale, 1u);
}

TEST(TnsClient, BelievesOnlyNodesThatMaySpeakForTns) {
  // A member without the role answers as if it were tns.
  struct Impostor {
    p2p::NodeSigned item;
    Task<Result<Lookup::Response>> handle(command::Peer, Lookup::Request) {
      co_return Lookup::Response{item};
    }
  };
  World w;
  Town& t = w.town;
  block_on(w.loop, t.nodes.front().service->stop());
  Pointer lie;
  lie.hosts = kHello;
  Impostor impostor{t.monkey.identity.sign(lie)};
  t.tns.router.serve(kProtocol, impostor, command::List<Lookup>{});
  EXPECT_EQ(t.lookup(kHello[0]).error().code(), ErrorCode::unavailable);
  block_on(w.loop, t.tns.router.unserve(kProtocol));
}

}  // namespace
}  // namespace tau::tns
