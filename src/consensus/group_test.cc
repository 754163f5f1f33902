#include "consensus/group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <memory>

#include "codec/peer_id.h"
#include "p2p/simulated/network.h"
#include "store/memory/memory_kv.h"

namespace tau::consensus {
namespace {

using namespace std::chrono_literals;
using runtime::block_on;
using runtime::VirtualLoop;

// Keeps what it was told, in order.
class Journal final : public StateMachine {
 public:
  Bytes apply(BytesView command) override {
    lines += std::string(as_text(command)) + ";";
    ++count;
    return to_bytes(std::string_view(std::to_string(count)));
  }
  Bytes snapshot() const override {
    return to_bytes(std::string_view(std::to_string(count) + "|" + lines));
  }
  Status restore(BytesView snapshot) override {
    const std::string text = to_text(snapshot);
    const auto bar = text.find('|');
    if (bar == std::string::npos) return fail(ErrorCode::data_loss, "no journal");
    count = std::stoi(text);
    lines = text.substr(bar + 1);
    return {};
  }
  int count = 0;
  std::string lines;
};

constexpr std::int64_t kYear = 31'536'000'000;

struct Network {
  Network() : root(crypto::KeyPair::generate(random)) {}
  p2p::Admission admit(const crypto::KeyPair& key, std::vector<std::string> roles) {
    p2p::Certificate c;
    c.network = p2p::Admission(root.public_key(), {}).network();
    c.peer = codec::peer_id_of(key.public_key());
    c.roles = std::move(roles);
    c.not_after_unix_ms = loop.wall_unix_ms() + kYear;
    return p2p::Admission(root.public_key(), p2p::sign_certificate(root, c));
  }
  VirtualLoop loop;
  SeededRandom random{7};
  p2p::simulated::SimulatedNetwork wires{loop, random};
  crypto::KeyPair root;
};

// One machine: its disk outlives its groups.
struct Member {
  Member(Network& n, Duration sync = 2ms, std::string role = "tns")
      : net(n),
        key(crypto::KeyPair::generate(n.random)),
        kv(sync),
        host(n.wires, codec::peer_id_of(key.public_key()), n.admit(key, {std::move(role)}),
             Logger()) {
    EXPECT_TRUE(block_on(net.loop, host.start()));
  }
  ~Member() {
    down();
    block_on(net.loop, host.stop());
  }
  Status up(std::vector<PeerId> voters) {
    machine = std::make_unique<Journal>();
    Group::Options options;
    options.name = "test";
    options.role = "tns";
    options.voters = std::move(voters);
    options.snapshot_after = snapshot_after;
    options.keep = 16;
    group = std::make_unique<Group>(net.loop, host, kv, net.random, Logger(), options, *machine);
    return block_on(net.loop, group->start());
  }
  void down() {
    if (group) block_on(net.loop, group->stop());
    group.reset();
  }
  std::string propose(std::string text) {
    auto r = block_on(net.loop, group->propose(to_bytes(std::string_view(text))));
    return r ? to_text(*r) : r.error().to_string();
  }
  Network& net;
  crypto::KeyPair key;
  store::MemoryKv kv;
  p2p::simulated::SimulatedHost host;
  std::uint32_t snapshot_after = 1024;
  std::unique_ptr<Journal> machine;
  std::unique_ptr<Group> group;
};

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

TEST(SingleVoter, RefusesWhatIsTooLargeAndWhoIsNotAVoter) {
  Network net;
  Member a(net), b(net);
  EXPECT_EQ(a.up({b.host.id()}).error().code(), ErrorCode::invalid_argument);
  ASSERT_TRUE(a.up({a.host.id()}));
  EXPECT_EQ(block_on(net.loop, a.group->propose(Bytes(kCommandSizeMax + 1))).error().code(),
            ErrorCode::invalid_argument);
}

struct Trio {
  Trio() {
    for (auto& m : members) m = std::make_unique<Member>(net);
    for (auto& m : members) voters.push_back(m->host.id());
    connect();
  }
  void connect() {
    for (auto& m : members)
      for (auto& other : members)
        if (m != other) (void)block_on(net.loop, m->host.connect(other->host.addresses()[0]));
  }
  void up_all() {
    for (auto& m : members) ASSERT_TRUE(m->up(voters));
  }
  // Waits until a majority agrees on a leader that is up.
  Member* leader(Duration limit = 20s) {
    for (const auto until = net.loop.now() + limit; net.loop.now() < until;) {
      for (auto& m : members) {
        if (!m->group || !m->group->is_leader()) continue;
        int agree = 0;
        for (auto& other : members) agree += other->group && other->group->leader() == m->host.id();
        if (agree >= 2) return m.get();
      }
      block_on(net.loop, runtime::sleep_for(10ms));
    }
    return nullptr;
  }
  Member* follower() {
    Member* l = leader();
    for (auto& m : members)
      if (m.get() != l && m->group) return m.get();
    return nullptr;
  }
  bool settle(int count, Duration limit = 10s) {
    for (const auto until = net.loop.now() + limit; net.loop.now() < until;) {
      bool all = true;
      for (auto& m : members) all = all && (!m->group || m->machine->count == count);
      if (all) return true;
      block_on(net.loop, runtime::sleep_for(10ms));
    }
    return false;
  }
  Network net;
  std::array<std::unique_ptr<Member>, 3> members;
  std::vector<PeerId> voters;
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
  EXPECT_EQ(block_on(t.net.loop, t.follower()->group->read_barrier()).error().code(),
            ErrorCode::unavailable);
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
  Member stranger(t.net);  // has the role, and is no voter
  ASSERT_TRUE(block_on(t.net.loop, stranger.host.connect(t.leader()->host.addresses()[0])));
  auto stream = block_on(t.net.loop, stranger.host.open(t.leader()->host.id(), "/tau/raft/1/test"));
  ASSERT_TRUE(stream);
  Frame frame;
  frame.propose = Propose{Bytes{'!'}};
  (void)block_on(t.net.loop, (*stream)->write(*frame_bytes(frame)));
  EXPECT_FALSE(block_on(t.net.loop, read_frame(**stream)));
  EXPECT_EQ(t.leader()->machine->count, 0);
}

}  // namespace
}  // namespace tau::consensus
