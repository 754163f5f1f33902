#include "consensus/group.h"

#include "consensus/test_cluster.h"

namespace tau::consensus {
namespace {

TEST(SingleVoter, LeadsAtOnceAndAnswersWhatTheMachineSays) {
  Network net;
  Member a(net);
  const auto before = net.loop.now();
  ASSERT_TRUE(a.up({a.host.id()}));
  EXPECT_TRUE(a.group->is_leader());
  EXPECT_EQ(a.group->leader(), a.host.id());
  EXPECT_LT(net.loop.now() - before, 50ms);
  EXPECT_EQ(a.propose("x"), "1");
  EXPECT_EQ(a.propose("y"), "2");
  EXPECT_TRUE(block_on(net.loop, a.group->read_barrier()));
  EXPECT_EQ(a.machine->lines, "x;y;");
}

TEST(SingleVoter, AProposalTakesOneSyncOfTheDisk) {
  Network net;
  Member a(net, 5ms);
  ASSERT_TRUE(a.up({a.host.id()}));
  a.propose("first, after term and vote are on disk");
  const auto before = net.loop.now();
  EXPECT_EQ(a.propose("x"), "2");
  EXPECT_EQ(net.loop.now() - before, 5ms);
}

TEST(SingleVoter, ProposalsThatWaitTogetherShareASync) {
  Network net;
  Member a(net, 5ms);
  ASSERT_TRUE(a.up({a.host.id()}));
  a.propose("warm");
  const auto before = net.loop.now();
  runtime::TaskGroup tasks(net.loop);
  for (int i = 0; i < 100; ++i)
    tasks.spawn(
        [](Group& g) -> Task<void> { EXPECT_TRUE(co_await g.propose(Bytes{'z'})); }(*a.group));
  block_on(net.loop, tasks.join());
  EXPECT_LE(net.loop.now() - before, 15ms);
  EXPECT_EQ(a.machine->count, 101);
}

TEST(SingleVoter, AfterACrashItHasAllThatItAcknowledged) {
  Network net;
  Member a(net);
  ASSERT_TRUE(a.up({a.host.id()}));
  for (int i = 1; i <= 20; ++i) ASSERT_EQ(a.propose(std::to_string(i)), std::to_string(i));
  // The machine dies with a proposal under way: the disk loses what was not synced.
  runtime::TaskGroup tasks(net.loop);
  tasks.spawn([](Group& g) -> Task<void> {
    auto r = co_await g.propose(to_bytes(std::string_view("lost")));
    EXPECT_FALSE(r);
  }(*a.group));
  block_on(net.loop, runtime::sleep_for(1ms));
  a.kv.crash();
  a.down();
  block_on(net.loop, tasks.join());
  ASSERT_TRUE(a.up({a.host.id()}));
  EXPECT_EQ(a.machine->count, 20);
  EXPECT_EQ(a.propose("after"), "21");
}

TEST(SingleVoter, RestartsFromItsSnapshotAndKeepsTheLogShort) {
  Network net;
  Member a(net, 0ms);
  a.snapshot_after = 64;
  ASSERT_TRUE(a.up({a.host.id()}));
  for (int i = 1; i <= 500; ++i) ASSERT_EQ(a.propose("c"), std::to_string(i));
  EXPECT_GT(a.group->log_first_index(), 400u);
  EXPECT_LT(a.kv.size(), 120u);
  a.down();
  ASSERT_TRUE(a.up({a.host.id()}));
  EXPECT_EQ(a.machine->count, 500);
  EXPECT_EQ(a.propose("c"), "501");
  for (int run = 0; run < 5; ++run) {
    a.down();
    ASSERT_TRUE(a.up({a.host.id()}));
    for (int i = 0; i < 50; ++i) a.propose("d");
  }
  EXPECT_EQ(a.machine->count, 751);
}

TEST(SingleVoter, AFailingDiskIsNeverAcknowledged) {
  Network net;
  Member a(net);
  ASSERT_TRUE(a.up({a.host.id()}));
  EXPECT_EQ(a.propose("good"), "1");
  a.kv.fail_writes(Error(ErrorCode::resource_exhausted, "disk full"));
  EXPECT_NE(a.propose("bad"), "2");
  EXPECT_THAT(a.propose("worse"), testing::HasSubstr("disk full"));
  a.down();
  ASSERT_TRUE(a.up({a.host.id()}));
  EXPECT_EQ(a.machine->lines, "good;");
  EXPECT_EQ(a.propose("again"), "2");
}

TEST(SingleVoter, ABrokenLogIsNamedAndNotServed) {
  Network net;
  Member a(net);
  ASSERT_TRUE(a.up({a.host.id()}));
  for (int i = 0; i < 3; ++i) a.propose("c");
  a.down();
  ASSERT_TRUE(a.kv.corrupt("log/0000000000000002"));
  const auto started = a.up({a.host.id()});
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code(), ErrorCode::data_loss);
  EXPECT_THAT(started.error().message(), testing::HasSubstr("entry 2"));
}

TEST(SingleVoter, RefusesWhatIsTooLarge) {
  Network net;
  Member a(net);
  ASSERT_TRUE(a.up({a.host.id()}));
  EXPECT_EQ(block_on(net.loop, a.group->propose(Bytes(kCommandSizeMax + 1))).error().code(),
            ErrorCode::invalid_argument);
}

TEST(SingleVoter, SleepsWhenIdleAndWakesForAProposal) {
  Network net;
  Member a(net);
  ASSERT_TRUE(a.up({a.host.id()}));
  EXPECT_EQ(a.propose("x"), "1");
  block_on(net.loop, runtime::sleep_for(5s));
  EXPECT_TRUE(a.group->asleep());
  EXPECT_EQ(a.propose("y"), "2");
  EXPECT_FALSE(a.group->asleep());
}

struct Trio : Cluster {
  Trio() : Cluster(3) {}
};

TEST(ThreeVoters, AgreeThroughAnyMember) {
  Trio t;
  t.up_all();
  ASSERT_TRUE(t.leader());
  EXPECT_EQ(t.leader()->propose("a"), "1");
  EXPECT_EQ(t.follower()->propose("b"), "2");
  EXPECT_TRUE(block_on(t.net.loop, t.leader()->group->read_barrier()));
  ASSERT_TRUE(t.settle(2));
  for (auto& m : t.members) EXPECT_EQ(m->machine->lines, "a;b;");
}

TEST(ThreeVoters, GoOnWithoutALeaderThatDiedAndTakeItBack) {
  Trio t;
  t.up_all();
  Member* first = t.leader();
  ASSERT_TRUE(first);
  for (int i = 1; i <= 10; ++i) EXPECT_EQ(first->propose("x"), std::to_string(i));
  first->down();
  Member* second = t.leader();
  ASSERT_TRUE(second);
  EXPECT_NE(first, second);
  EXPECT_EQ(second->propose("y"), "11");
  ASSERT_TRUE(first->up(t.voters));
  ASSERT_TRUE(t.settle(11));
  EXPECT_TRUE(first->group->caught_up());
}

TEST(ThreeVoters, AMemberFarBehindGetsTheSnapshot) {
  Trio t;
  for (auto& m : t.members) m->snapshot_after = 32;
  t.up_all();
  Member* late = t.follower();
  ASSERT_TRUE(late);
  late->down();
  for (int i = 1; i <= 200; ++i) ASSERT_EQ(t.leader()->propose("x"), std::to_string(i));
  ASSERT_TRUE(late->up(t.voters));
  ASSERT_TRUE(t.settle(200));
  late->down();
  ASSERT_TRUE(late->up(t.voters));
  EXPECT_EQ(t.leader()->propose("y"), "201");
  ASSERT_TRUE(t.settle(201));
}

TEST(ThreeVoters, AMinorityDecidesNothing) {
  Trio t;
  t.up_all();
  Member* old = t.leader();
  ASSERT_TRUE(old);
  EXPECT_EQ(old->propose("a"), "1");
  t.net.wires.partition({{old->host.id()}});
  const auto alone =
      block_on(t.net.loop, runtime::with_deadline(5s, "alone", old->group->propose(Bytes{'l'})));
  EXPECT_FALSE(alone);
  Member* next = t.leader();
  ASSERT_TRUE(next);
  EXPECT_NE(next, old);
  EXPECT_EQ(next->propose("b"), "2");
  t.net.wires.heal();
  t.connect();
  ASSERT_TRUE(t.settle(2));
  EXPECT_EQ(old->machine->lines, "a;b;");
}

TEST(ThreeVoters, AStrangerToTheGroupIsNotHeard) {
  Trio t;
  t.up_all();
  ASSERT_TRUE(t.leader());
  Member stranger(t.net);  // has the role, and is no member
  ASSERT_TRUE(block_on(t.net.loop, stranger.host.connect(t.leader()->host.addresses()[0])));
  auto stream = block_on(t.net.loop, stranger.host.open(t.leader()->host.id(), "/tau/raft/2/test"));
  ASSERT_TRUE(stream);
  Packet packet;
  packet.items.push_back({"test", {}});
  packet.items[0].frame.ask = Ask{1, Bytes{'!'}};
  (void)block_on(t.net.loop, (*stream)->write(*packet_bytes(packet)));
  t.run_for(5s);
  EXPECT_EQ(t.leader()->machine->count, 0);
}

}  // namespace
}  // namespace tau::consensus
