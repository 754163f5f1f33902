// What a tns node that lies can do: each row of the table in README.md.
#include <gmock/gmock.h>

#include "services/tns/test_world.h"

namespace tau::tns {
namespace {

using namespace std::chrono_literals;
using runtime::block_on;

// `count` tns nodes, the last of which lies.
struct LyingWorld : World {
  explicit LyingWorld(std::size_t count, Client::Options options = Client::Options())
      : World({}, count),
        asker(loop, *town.substrate.host, town.substrate.caller, town.substrate.admission, Logger(),
              options),
        node(town.nodes.back()) {
    EXPECT_TRUE(town.wait_leader());
    EXPECT_TRUE(town.publish(town.chain(1, kHello)));
    if (count > 1) town.pass(1s);  // every replica has it
    const auto given = *block_on(
        loop, town.substrate.caller.call<GetPointer>(node.member.identity.id(), kProtocol,
                                                     {town.chain(1, {}).job.project, "main"}));
    truth = {given.pointer, given.proof};
    pointer = *codec::from_cbor<Pointer>(truth.pointer.record.body);
    town.down(node);
    if (count > 1) EXPECT_TRUE(town.wait_leader());
    liar.lie = [this](const Lookup::Request&) { return truth; };
    node.member.router.serve(kProtocol, liar, command::List<Lookup>{});
    asker.start();
  }
  ~LyingWorld() {
    block_on(loop, asker.stop());
    block_on(loop, node.member.router.unserve(kProtocol));
  }
  Result<Client::Found> ask(std::string host = kHello[0]) {
    return block_on(loop, asker.lookup(std::move(host)));
  }
  void answers(Pointer lie, std::optional<Bytes> proof) {
    liar.lie = [this, lie = std::move(lie), proof = std::move(proof)](const Lookup::Request&) {
      return Lookup::Response{node.member.identity.sign(lie), proof};
    };
  }
  // The asker has seen the host, and keeps what it saw however often it asks.
  void holds_against(const char* what) {
    liar.asked = 0;
    for (int i = 0; i < 40; ++i) {
      town.pass(2100ms);  // older than what is served unasked
      const auto found = ask();
      ASSERT_TRUE(found) << what << ": " << found.error().to_string();
      EXPECT_EQ(*found->pointer, pointer) << what;
      EXPECT_TRUE(found->proven) << what;
    }
    EXPECT_GT(liar.asked, 0) << what;
  }
  // A chain of somebody else's project, which names the host, too.
  Town::Chain of_thief(std::uint64_t seq) {
    Town::Chain c = town.chain(seq, kHello);
    const auto r = town.registration(thief, "thief");
    c.job.project = c.receipt.project = r.project();
    c.job.registration = codec::sign_record(thief, r);
    return c;
  }
  Pointer pointer_of(const Town::Chain& c) {
    Pointer p = pointer;
    p.project = c.receipt.project;
    p.seq = c.receipt.seq;
    p.deployment = c.receipt.deployment;
    return p;
  }
  Bytes proof_of(const Town::Chain& c) {
    const auto r = town.request(c);
    return codec::to_cbor(Proof{r.job, r.head});
  }

  Client asker;
  TnsNode& node;
  Liar liar;
  Lookup::Response truth;
  Pointer pointer;
  crypto::KeyPair thief = crypto::KeyPair::generate(random);
};

TEST(LyingTns, AsOneOfThreeTakesNothingAwayAndIsToldOn) {
  LyingWorld w(3);
  ASSERT_TRUE(w.ask());
  w.liar.lie = [](const auto&) { return fail(ErrorCode::not_found, "gone"); };
  w.holds_against("gone");
  Pointer lie = w.pointer;
  lie.seq = 0;
  w.answers(lie, {});
  w.holds_against("an old one");
  const auto refused = w.asker.counters().refused;
  lie = w.pointer_of(w.of_thief(99));
  w.answers(lie, w.proof_of(w.of_thief(99)));
  w.holds_against("another project's, which was built and names the host");
  EXPECT_GT(w.asker.counters().refused, refused);
  EXPECT_LT(w.liar.asked, 10) << "asked last once it was caught";
  lie = w.pointer;
  lie.seq = 99;
  lie.hosts = {"other.x.localhost"};
  w.answers(lie, {});
  w.holds_against("for another host");
  w.liar.lie = [&](const auto&) {
    return Lookup::Response{w.town.monkey.identity.sign(w.pointer), w.truth.proof};
  };
  w.holds_against("signed by no tns node");
}

TEST(LyingTns, CannotMakeANewerVersionAlsoWhereItIsTheOnlyOne) {
  for (const std::size_t count : {1, 3}) {
    LyingWorld w(count);
    ASSERT_TRUE(w.ask());
    Pointer lie = w.pointer;
    lie.seq = 2;
    w.answers(lie, {});
    w.holds_against("without a proof");
    w.answers(lie, w.truth.proof);
    w.holds_against("with the proof of the version before");
    // Its own key signs everything that it can't have from others.
    auto c = w.town.chain(2, kHello);
    const auto forged = [&](const p2p::NodeIdentity& patrick, const p2p::NodeIdentity& monkey) {
      const auto r = w.town.request(c);
      const auto head = *codec::from_cbor<monkey::ReceiptHead>(r.head->record.body);
      return codec::to_cbor(Proof{patrick.sign(c.job), monkey.sign(head)});
    };
    const auto& own = w.node.member.identity;
    w.answers(w.pointer_of(c), forged(own, own));
    w.holds_against("signed by itself");
    w.answers(w.pointer_of(c), forged(w.town.patrick.identity, own));
    w.holds_against("a push that was never built");
    w.answers(w.pointer_of(c), forged(own, w.town.monkey.identity));
    w.holds_against("a build that nobody asked for");
    EXPECT_GT(w.asker.counters().refused, 0u);
    // And what was pushed is believed from the same node.
    w.answers(w.pointer_of(c), w.proof_of(c));
    ASSERT_TRUE(w.town.wait([&] {
      w.town.pass(2s);
      const auto found = w.ask();
      return found && found->pointer->seq == 2 && found->proven;
    }) || count == 3);
  }
}

TEST(LyingTns, CannotAnswerAnUnseenHostWithADeploymentOfItsChoice) {
  for (const std::size_t count : {1, 3}) {
    LyingWorld w(count);
    Pointer lie = w.pointer;
    lie.deployment = codec::Cid::of(codec::ContentType::dag_cbor, as_bytes("mine"));
    w.answers(lie, w.truth.proof);
    for (int i = 0; i < 10; ++i) {
      const auto found = w.ask();
      if (count == 1) {
        ASSERT_FALSE(found);
        EXPECT_EQ(found.error().code(), ErrorCode::unavailable);
        EXPECT_THAT(found.error().message(), testing::HasSubstr("another deployment"));
      } else {
        ASSERT_TRUE(found) << found.error().to_string();
        EXPECT_EQ(*found->pointer, w.pointer);
      }
      w.town.pass(3s);
    }
    if (count == 3) continue;
    // A real build of another branch, put in its place.
    auto c = w.town.chain(9, kHello, "dev");
    lie = w.pointer_of(c);
    w.answers(lie, w.proof_of(c));
    EXPECT_FALSE(w.ask());
  }
}

TEST(LyingTns, AloneDoesNotDecideWhoseAnUnseenHostIs) {
  for (int i = 0; i < 3; ++i) {  // whoever of the three is asked first
    LyingWorld w(3);
    const auto c = w.of_thief(7);
    w.answers(w.pointer_of(c), w.proof_of(c));
    for (int turn = 0; turn < i; ++turn)
      (void)w.ask("nobody" + std::to_string(turn) + ".x.localhost");
    const auto found = w.ask();
    ASSERT_TRUE(found) << found.error().to_string();
    EXPECT_EQ(*found->pointer, w.pointer);
  }
  // One of two: they contradict each other, and who asks gets neither.
  LyingWorld w(2);
  const auto c = w.of_thief(7);
  w.answers(w.pointer_of(c), w.proof_of(c));
  const auto found = w.ask();
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code(), ErrorCode::unavailable);
  EXPECT_THAT(found.error().message(), testing::HasSubstr("contradict each other"));
}

TEST(LyingTns, HidingProofsGainsNothingWhereThereWereSome) {
  LyingWorld w(1);
  ASSERT_TRUE(w.ask());
  EXPECT_EQ(w.asker.counters().unproven, 0u);
  Pointer lie = w.pointer;
  lie.seq = 5;
  lie.deployment = codec::Cid::of(codec::ContentType::dag_cbor, as_bytes("mine"));
  w.answers(lie, {});
  w.holds_against("without a proof");
  // For a host that the asker never saw, the only tns node is taken by its word, unless it is told
  // not to.
  for (const bool accept : {true, false}) {
    Client::Options options;
    options.accept_unproven = accept;
    LyingWorld fresh(1, options);
    fresh.answers(lie, {});
    const auto found = fresh.ask();
    EXPECT_EQ(bool(found), accept);
    if (found) EXPECT_FALSE(found->proven);
    EXPECT_EQ(fresh.asker.counters().unproven, accept ? 1u : 0u);
  }
}

TEST(LyingTns, PointersWithoutAProofNeedTwoWhoSayTheSame) {
  for (int i = 0; i < 3; ++i) {
    LyingWorld w(3);
    Pointer lie = w.pointer;
    lie.seq = 5;
    w.answers(lie, {});
    for (int turn = 0; turn < i; ++turn)
      (void)w.ask("nobody" + std::to_string(turn) + ".x.localhost");
    const auto found = w.ask();
    ASSERT_TRUE(found) << found.error().to_string();
    EXPECT_EQ(*found->pointer, w.pointer);
  }
}

TEST(LyingTns, IsSilentForASecondAtMost) {
  LyingWorld w(3);
  w.network.kill(w.node.member.host->id());
  const auto before = w.loop.now();
  const auto found = w.ask();
  ASSERT_TRUE(found) << found.error().to_string();
  EXPECT_LE(w.loop.now() - before, 2s);
}

TEST(Proven, AProofIsCheckedOnceForAllHostsOfAVersion) {
  World w;
  Town& t = w.town;
  const std::vector<std::string> two = {"hello.x.localhost", "www.example.com"};
  ASSERT_TRUE(t.publish(t.chain(1, two)));
  for (int i = 0; i < 5; ++i) {
    for (const auto& host : two) {
      const auto found = t.lookup(host);
      ASSERT_TRUE(found) << found.error().to_string();
      EXPECT_TRUE(found->proven);
    }
    t.pass(3s);
  }
  EXPECT_EQ(t.client.counters().proofs, 1u);
  ASSERT_TRUE(t.publish(t.chain(2, two)));
  t.pass(3s);
  EXPECT_TRUE(t.lookup(two[1])->proven);
  EXPECT_EQ(t.client.counters().proofs, 2u);
  EXPECT_EQ(t.client.counters().unproven, 0u);
}

TEST(Proven, WhatEarlierMonkeysPublishHasNoneAndNeverFollowsWhatHas) {
  World w;
  Town& t = w.town;
  const auto plain = [&](std::uint64_t seq) {
    const auto r = t.request(t.chain(seq, kHello));
    return t.publish(r.job, r.receipt);
  };
  ASSERT_TRUE(plain(1));
  EXPECT_FALSE(t.lookup(kHello[0])->proven);
  ASSERT_TRUE(plain(2));
  ASSERT_TRUE(t.publish(t.chain(3, kHello)));
  t.pass(100ms);
  EXPECT_EQ(t.lookup(kHello[0])->pointer->seq, 3u);
  EXPECT_TRUE(t.lookup(kHello[0])->proven);
  const auto refused = plain(4);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::failed_precondition);
  EXPECT_THAT(refused.error().message(), testing::HasSubstr("monkey"));
}

TEST(Proven, ReceiptHeadsMustBeThoseOfTheReceipt) {
  World w;
  Town& t = w.town;
  const auto c = t.chain(1, kHello);
  const auto with = [&](auto change) {
    auto r = t.request(c);
    auto head = *codec::from_cbor<monkey::ReceiptHead>(r.head->record.body);
    change(head);
    const auto published = t.publish(r.job, r.receipt, t.monkey.identity.sign(head));
    return published ? ErrorCode::unknown : published.error().code();
  };
  EXPECT_EQ(with([](auto& h) { h.hosts.fill(1); }), ErrorCode::permission_denied);
  EXPECT_EQ(with([](auto& h) { h.receipt.fill(1); }), ErrorCode::permission_denied);
  EXPECT_EQ(with([](auto& h) { h.seq = 2; }), ErrorCode::permission_denied);
  EXPECT_EQ(with([](auto& h) {
              h.deployment = codec::Cid::of(codec::ContentType::dag_cbor, as_bytes("mine"));
            }),
            ErrorCode::permission_denied);
  EXPECT_EQ(with([](auto&) {}), ErrorCode::unknown) << "as it is";
}

TEST(Proven, SurvivesSnapshotsAndStepsBack) {
  World w;
  Town& t = w.town;
  for (int seq = 1; seq <= 2; ++seq) ASSERT_TRUE(t.publish(t.chain(seq, kHello)));
  const auto first = t.chain(1, kHello);
  const auto r = t.registration(t.owner, "hello");
  const patrick::RollbackOrder order{r.project(),          "main", 2, 1, first.receipt.deployment,
                                     w.loop.wall_unix_ms()};
  const auto numbered = t.patrick.identity.sign(patrick::NumberedRollback{
      codec::sign_record(t.owner, order), codec::sign_record(t.owner, r), 3});
  ASSERT_TRUE(
      block_on(w.loop, t.substrate.caller.call_any<Rollback>(kRole, kProtocol, {numbered})));
  t.pass(100ms);
  const auto found = t.lookup(kHello[0]);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->pointer->seq, 3u);
  EXPECT_TRUE(found->proven);
  const Names& names = t.shard_at(t.nodes.front())->names();
  Names again;
  ASSERT_TRUE(again.restore(names.snapshot()));
  ASSERT_TRUE(again.proof_of(r.project(), "main"));
  EXPECT_EQ(*again.proof_of(r.project(), "main"), *names.proof_of(r.project(), "main"));
  EXPECT_EQ(again.snapshot(), names.snapshot());
}

TEST(Proven, WhatARevokedMonkeyBuiltStaysAndIsBelievedAnewFromTwo) {
  LyingWorld w(3);
  ASSERT_TRUE(w.ask()->proven);
  p2p::RevocationList list;
  list.network = w.town.substrate.admission.network();
  list.number = 1;
  list.entries.push_back({w.town.monkey.identity.id(), {}, {"monkey"}, "test"});
  const auto raw = p2p::sign_revocations(w.town.members.root(), list);
  ASSERT_TRUE(raw);
  ASSERT_TRUE(w.town.substrate.admission.adopt(
      *p2p::Revocations::open(w.town.substrate.admission.root(), *raw)));
  w.holds_against("what was accepted stays");
  // Nobody new is turned away, and one liar with the stolen key decides nothing.
  const auto c = w.town.chain(9, kHello);
  w.answers(w.pointer_of(c), w.proof_of(c));
  Client fresh(w.loop, *w.town.substrate.host, w.town.substrate.caller, w.town.substrate.admission,
               Logger());
  fresh.start();
  const auto found = block_on(w.loop, fresh.lookup(kHello[0]));
  ASSERT_TRUE(found) << found.error().to_string();
  EXPECT_EQ(*found->pointer, w.pointer);
  EXPECT_FALSE(found->proven);
  w.holds_against("a newer one by the stolen key");
  block_on(w.loop, fresh.stop());
}

}  // namespace
}  // namespace tau::tns
