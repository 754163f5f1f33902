// Members that come and go while the group runs; reads by type; sleep; many groups in one node.
#include "consensus/test_cluster.h"

namespace tau::consensus {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Five : Cluster {
  Five() : Cluster(5) {}
  void forget(Member* m) {  // its machine burnt
    m->down();
    block_on(net.loop, m->host.stop());
    std::erase_if(members, [m](const auto& x) { return x.get() == m; });
  }
  Status at_leader(Task<Status> (Group::*change)(PeerId), PeerId peer) {
    Status done = fail(ErrorCode::unavailable, "no leader");
    for (int attempt = 0; attempt < 20 && !done; ++attempt) {
      Member* l = leader();
      if (!l) break;
      done = block_on(net.loop, (l->group.get()->*change)(peer));
      if (!done) run_for(300ms);
    }
    return done;
  }
  int proposed = 0;
  void propose_some(int count) {
    for (int i = 0; i < count; ++i) {
      Member* l = leader();
      ASSERT_TRUE(l);
      ASSERT_EQ(l->propose("x"), std::to_string(++proposed));
    }
  }
};

TEST(Members, TwoOfFiveVotersAreLostForGoodAndTwoNewNodesTakeTheirPlaces) {
  Five t;
  for (auto& m : t.members) m->snapshot_after = 32;
  t.up_all();
  t.propose_some(100);
  // Two burn, one of them the leader.
  std::vector<PeerId> lost = {t.leader()->host.id(), t.follower()->host.id()};
  t.forget(t.leader());
  for (auto& m : t.members)
    if (m->host.id() == lost[1]) {
      t.forget(m.get());
      break;
    }
  t.propose_some(20);

  for (int i = 0; i < 2; ++i) {
    Member& fresh = t.add();
    fresh.snapshot_after = 32;
    ASSERT_TRUE(fresh.up({}));  // waits to be added
    const PeerId id = fresh.host.id();
    const auto added = t.at_leader(&Group::add_replica, id);
    ASSERT_TRUE(added) << added.error().to_string();
    ASSERT_TRUE(t.wait_until([&] { return t.leader()->group->is_ready(id); }));
    const auto promoted = t.at_leader(&Group::promote, id);
    ASSERT_TRUE(promoted) << promoted.error().to_string();
    const auto removed = t.at_leader(&Group::remove, lost[static_cast<std::size_t>(i)]);
    ASSERT_TRUE(removed) << removed.error().to_string();
    t.propose_some(20);
  }
  EXPECT_EQ(t.leader()->group->members().voters.size(), 5u);
  ASSERT_TRUE(t.settle(t.proposed));

  // The new ones count: two of the old may go now.
  for (int i = 0; i < 2; ++i) t.members[static_cast<std::size_t>(i)]->down();
  t.propose_some(20);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(t.members[static_cast<std::size_t>(i)]->up({}));
  ASSERT_TRUE(t.settle(t.proposed));
  for (auto& m : t.members) EXPECT_EQ(m->machine->lines, t.members[0]->machine->lines);
}

TEST(Members, AreRememberedAcrossRestartsWhateverTheOptionsSay) {
  Five t;
  t.up_all();
  t.propose_some(5);
  const PeerId gone = t.follower()->host.id();
  ASSERT_TRUE(t.at_leader(&Group::remove, gone));
  t.propose_some(1);
  for (auto& m : t.members) m->down();
  for (auto& m : t.members) {
    if (m->host.id() != gone) ASSERT_TRUE(m->up(t.voters));
  }
  ASSERT_TRUE(t.leader());
  EXPECT_EQ(t.leader()->group->members().voters.size(), 4u);
  t.propose_some(5);
}

TEST(Members, ANodeThatWasRemovedLearnsItAndStops) {
  Five t;
  t.up_all();
  t.propose_some(3);
  Member* out = t.follower();
  bool told = false;
  out->group->on_removed([&] { told = true; });
  ASSERT_TRUE(t.at_leader(&Group::remove, out->host.id()));
  ASSERT_TRUE(t.wait_until([&] { return told; }));
  EXPECT_TRUE(out->group->removed());
  EXPECT_THAT(out->propose("x"), HasSubstr("was removed from group test"));
  t.propose_some(3);
}

TEST(Members, ANodeThatWasRemovedHasForgottenTheGroupAndCanBeAddedAgain) {
  Five t;
  for (auto& m : t.members) m->snapshot_after = 32;
  t.up_all();
  t.propose_some(100);
  Member* out = t.follower();
  const PeerId id = out->host.id();
  ASSERT_TRUE(t.at_leader(&Group::remove, id));
  ASSERT_TRUE(t.wait_until([&] { return out->group->removed(); }));
  t.run_for(100ms);
  // Alone with its disk and the list of founders, it founds nothing.
  std::vector<PeerId> rest;
  for (auto& m : t.members)
    if (m.get() != out) rest.push_back(m->host.id());
  out->down();
  t.net.wires.partition({{id}});
  ASSERT_TRUE(out->up({id}));
  t.run_for(10s);
  EXPECT_FALSE(out->group->is_leader());
  EXPECT_FALSE(out->group->removed());
  EXPECT_EQ(out->group->members().index, 0u);
  EXPECT_EQ(out->machine->count, 0);
  t.net.wires.heal();
  t.connect();
  ASSERT_TRUE(t.at_leader(&Group::add_replica, id));
  t.propose_some(5);
  ASSERT_TRUE(t.settle(t.proposed));
  EXPECT_EQ(out->machine->lines, t.leader()->machine->lines);
}

TEST(Members, ANodeWhoseDiskWasFullGoesOnOnceItsGroupIsStartedAgain) {
  Five t;
  t.up_all();
  t.propose_some(3);
  Member* hurt = t.leader();
  bool told = false;
  hurt->group->on_broken([&] { told = true; });
  hurt->kv.fail_writes(Error(ErrorCode::resource_exhausted, "no space left"));
  EXPECT_THAT(hurt->propose("lost"), HasSubstr("no space left"));
  ASSERT_TRUE(t.wait_until([&] { return told; }));
  EXPECT_FALSE(hurt->group->health());
  block_on(t.net.loop, hurt->group->stop());
  *hurt->machine = Journal();
  ASSERT_TRUE(block_on(t.net.loop, hurt->group->start()));
  ASSERT_TRUE(t.wait_until([&] { return hurt->group->leader().has_value(); }));
  EXPECT_TRUE(hurt->group->health());
  Member* l = t.leader();
  ASSERT_TRUE(l);
  EXPECT_THAT(l->propose("x"), testing::Not(HasSubstr("log")));
  ASSERT_TRUE(t.wait_until([&] { return hurt->machine->lines == l->machine->lines; }));
}

TEST(Members, ANodeThatSleptThroughItsRemovalLearnsItWhenItIsBack) {
  Five t;
  t.up_all();
  t.propose_some(3);
  Member* out = t.follower();
  out->down();
  t.run_for(3s);
  ASSERT_TRUE(t.at_leader(&Group::remove, out->host.id()));
  ASSERT_TRUE(out->up(t.voters));
  EXPECT_TRUE(t.wait_until([&] { return out->group->removed(); }));
  t.propose_some(3);
}

TEST(Members, AReplicaThatWasRemovedWhileItWasAwayLearnsIt) {
  Five t;
  t.up_all();
  t.propose_some(3);
  Member* out = t.follower();
  ASSERT_TRUE(t.at_leader(&Group::demote, out->host.id()));
  t.propose_some(1);
  ASSERT_TRUE(t.settle(t.proposed));
  out->down();
  ASSERT_TRUE(t.at_leader(&Group::remove, out->host.id()));
  ASSERT_TRUE(out->up({}));
  EXPECT_TRUE(t.wait_until([&] { return out->group->removed(); }, 30s));
}

TEST(Members, ADemotedVoterFollowsAndDoesNotCount) {
  Five t;
  t.up_all();
  t.propose_some(3);
  std::vector<Member*> followers;
  for (auto& m : t.members)
    if (m.get() != t.leader()) followers.push_back(m.get());
  ASSERT_TRUE(t.at_leader(&Group::demote, followers[0]->host.id()));
  ASSERT_TRUE(t.at_leader(&Group::demote, followers[1]->host.id()));
  EXPECT_EQ(t.leader()->group->members().replicas.size(), 2u);
  followers[0]->down();
  followers[1]->down();
  followers[2]->down();  // two of three voters are left
  t.propose_some(3);
  ASSERT_TRUE(followers[0]->up({}));
  EXPECT_TRUE(t.wait_until([&] { return followers[0]->machine->count == t.proposed; }));
}

TEST(Members, TheLeaderHandsOverBeforeItGoes) {
  Five t;
  t.up_all();
  t.propose_some(3);
  Member* first = t.leader();
  const auto asked = block_on(t.net.loop, first->group->remove(first->host.id()));
  ASSERT_FALSE(asked);
  EXPECT_THAT(asked.error().message(), HasSubstr("handed over"));
  EXPECT_NE(t.leader(), first);
  ASSERT_TRUE(t.at_leader(&Group::remove, first->host.id()));
  EXPECT_TRUE(t.wait_until([&] { return first->group->removed(); }));
  t.propose_some(3);
}

TEST(Members, NothingIsDoneThatWouldLeaveNoMajorityAlive) {
  Cluster t(3);
  t.up_all();
  Member* l = t.leader();
  ASSERT_TRUE(l);
  ASSERT_EQ(l->propose("a"), "1");
  std::vector<Member*> others;
  for (auto& m : t.members)
    if (m.get() != l) others.push_back(m.get());
  others[0]->down();
  t.run_for(3s);
  const auto removed = block_on(t.net.loop, l->group->remove(others[1]->host.id()));
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().code(), ErrorCode::failed_precondition);
  EXPECT_THAT(removed.error().message(), HasSubstr("no majority"));
  EXPECT_EQ(l->propose("b"), "2");
}

TEST(Members, AChangeThatWasNeverCommittedIsForgotten) {
  Cluster t(3);
  for (auto& m : t.members) m->snapshot_after = 32;
  t.up_all();
  Member* l = t.leader();
  ASSERT_TRUE(l);
  // So that the entry which named the founders is in no log any more.
  for (int i = 1; i <= 100; ++i) ASSERT_EQ(l->propose("x"), std::to_string(i));
  ASSERT_TRUE(t.settle(100));
  const PeerId victim = t.follower()->host.id();
  t.net.wires.partition({{l->host.id()}});
  runtime::TaskGroup tasks(t.net.loop);
  tasks.spawn([](Group& g, PeerId peer) -> Task<void> {
    EXPECT_FALSE(co_await g.remove(std::move(peer)));
  }(*l->group, victim));
  t.run_for(20ms);
  EXPECT_EQ(l->group->members().voters.size(), 2u);  // it believes so, alone
  Member* next = nullptr;
  ASSERT_TRUE(t.wait_until([&] {
    next = t.leader();
    return next && next != l;
  }));
  EXPECT_EQ(next->propose("y"), "101");
  t.net.wires.heal();
  t.connect();
  ASSERT_TRUE(t.settle(101, 40s));
  block_on(t.net.loop, tasks.join());
  EXPECT_EQ(l->group->members().voters.size(), 3u);
  EXPECT_EQ(l->machine->lines, next->machine->lines);
  EXPECT_EQ(l->propose("z"), "102");
}

TEST(Reads, AreLinearizableFromAnyMemberAndCostNoWrite) {
  Five t;
  t.up_all();
  t.propose_some(10);
  const auto entries = t.leader()->group->last_applied();
  for (auto& m : t.members) {
    auto lines = block_on(t.net.loop, m->group->read([&] { return m->machine->count; }));
    ASSERT_TRUE(lines) << lines.error().to_string();
    EXPECT_EQ(**lines, 10);
  }
  EXPECT_EQ(t.leader()->group->last_applied(), entries);
  static_assert(!std::is_convertible_v<Stale<int>, Linearizable<int>>);
  static_assert(!std::is_convertible_v<Linearizable<int>, Stale<int>>);
  static_assert(!std::is_constructible_v<Linearizable<int>, int>);
}

TEST(Reads, SeeWhatWasAcknowledgedElsewhereJustBefore) {
  Five t;
  t.up_all();
  for (int i = 1; i <= 50; ++i) {
    Member* writer = t.members[static_cast<std::size_t>(i % 5)].get();
    Member* reader = t.members[static_cast<std::size_t>((i + 2) % 5)].get();
    ASSERT_EQ(writer->propose("x"), std::to_string(i));
    auto seen = block_on(t.net.loop, reader->group->read([&] { return reader->machine->count; }));
    ASSERT_TRUE(seen);
    ASSERT_EQ(**seen, i);
  }
}

TEST(Reads, AMinorityGetsAClearErrorAndGoesOnServingWhatItHas) {
  Five t;
  t.up_all();
  t.propose_some(10);
  ASSERT_TRUE(t.settle(10));
  Member* l = t.leader();
  Member* f = t.follower();
  t.net.wires.partition({{l->host.id(), f->host.id()}});
  for (Member* m : {l, f}) {
    auto read = block_on(t.net.loop, m->group->read([&] { return m->machine->count; }));
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code(), ErrorCode::unavailable);
    EXPECT_THAT(read.error().message(),
                HasSubstr("a majority of its 5 voters (3) must reach each other"));
    const auto stale = m->group->read_stale([&] { return m->machine->count; });
    EXPECT_EQ(*stale, 10);
  }
  t.run_for(5s);
  ASSERT_TRUE(f->group->age());
  EXPECT_GE(*f->group->age(), 5s);
}

TEST(Reads, SayHowOldTheyMayBe) {
  Cluster t(3);
  t.up_all();
  ASSERT_TRUE(t.leader());
  EXPECT_EQ(t.leader()->propose("x"), "1");
  t.run_for(500ms);
  EXPECT_LE(t.leader()->group->age().value(), 300ms);
  const Duration age = t.follower()->group->age().value();
  EXPECT_LE(age, 2 * 600ms + 300ms);
  EXPECT_GE(age, 2 * 600ms);
}

TEST(Sleep, AnIdleGroupSaysNothingAndWakesForAProposalAtAnyMember) {
  Cluster t(3);
  t.up_all();
  ASSERT_TRUE(t.leader());
  EXPECT_EQ(t.leader()->propose("x"), "1");
  const auto all_sleep = [&] {
    return std::ranges::all_of(t.members, [](const auto& m) { return m->group->asleep(); });
  };
  ASSERT_TRUE(t.wait_until(all_sleep));
  t.run_for(60s);
  EXPECT_TRUE(all_sleep());
  EXPECT_EQ(t.follower()->propose("y"), "2");
  ASSERT_TRUE(t.settle(2));
}

TEST(Sleep, ALeaderThatDiesInItsSleepIsReplaced) {
  Cluster t(3);
  t.up_all();
  Member* l = t.leader();
  ASSERT_TRUE(l);
  EXPECT_EQ(l->propose("x"), "1");
  t.run_for(10s);
  ASSERT_TRUE(l->group->asleep());
  l->down();
  const auto since = t.net.loop.now();
  Member* next = t.leader();
  ASSERT_TRUE(next);
  EXPECT_NE(next, l);
  EXPECT_LT(t.net.loop.now() - since, 5s);
  EXPECT_EQ(next->propose("y"), "2");
  ASSERT_TRUE(l->up(t.voters));
  ASSERT_TRUE(t.settle(2));
}

// 64 groups on 5 nodes: the idle cost is one small packet for each pair of nodes now and then.
TEST(Groups, ThatAreIdleCostTheirNodesAlmostNothing) {
  constexpr int kGroups = 64;
  Five t;
  struct Shards {
    std::vector<std::unique_ptr<store::Kv>> stores;
    std::vector<std::unique_ptr<Journal>> machines;
    std::vector<std::unique_ptr<Group>> groups;
  };
  std::vector<Shards> nodes(5);
  for (std::size_t n = 0; n < 5; ++n) {
    Member& m = *t.members[n];
    m.groups = std::make_unique<Groups>(t.net.loop, m.host, t.net.random, Logger(),
                                        Groups::Options{.name = "test", .role = "tns"});
    ASSERT_TRUE(m.groups->start());
    for (int g = 0; g < kGroups; ++g) {
      auto& s = nodes[n];
      s.stores.push_back(store::with_prefix(m.kv, std::to_string(g) + "/"));
      s.machines.push_back(std::make_unique<Journal>());
      s.groups.push_back(std::make_unique<Group>(
          *m.groups, *s.stores.back(),
          Group::Options{.name = "shard-" + std::to_string(g), .voters = t.voters},
          *s.machines.back()));
      ASSERT_TRUE(block_on(t.net.loop, s.groups.back()->start()));
    }
  }
  for (int g = 0; g < kGroups; ++g) {
    auto& group = *nodes[static_cast<std::size_t>(g % 5)].groups[static_cast<std::size_t>(g)];
    Result<Bytes> done = fail(ErrorCode::unavailable, "");
    for (int attempt = 0; attempt < 10 && !done; ++attempt)
      done = block_on(t.net.loop, group.propose(Bytes{'x'}));
    ASSERT_TRUE(done) << done.error().to_string();
  }
  ASSERT_TRUE(t.wait_until(
      [&] {
        return std::ranges::all_of(t.members,
                                   [](const auto& m) { return m->groups->awake() == 0; });
      },
      60s));
  const auto packets = [&] {
    std::uint64_t n = 0;
    for (auto& m : t.members) n += m->groups->links().packets_sent();
    return n;
  };
  const auto bytes = [&] {
    std::uint64_t n = 0;
    for (auto& m : t.members) n += m->groups->links().bytes_sent();
    return n;
  };
  const auto packets_before = packets(), bytes_before = bytes();
  t.run_for(60s);
  // 20 directed pairs, twice a second: 2,400 a minute, of a dozen bytes.
  EXPECT_LE(packets() - packets_before, 2500u);
  EXPECT_LE(bytes() - bytes_before, 40'000u);
  for (auto& s : nodes)
    for (auto& g : s.groups) block_on(t.net.loop, g->stop());
}

}  // namespace
}  // namespace tau::consensus
