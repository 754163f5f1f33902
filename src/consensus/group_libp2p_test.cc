#include <gtest/gtest.h>

#include "consensus/libp2p_member.h"
#include "store/memory/memory_kv.h"

namespace tau::consensus {
namespace {

using namespace std::chrono_literals;
using runtime::block_on;

TEST(GroupOnRealConnections, ReplacesAVoterAndGoesOnWithoutLoss) {
  runtime::RealLoop loop;
  p2p::libp2p::Runtime runtime;
  p2p::TestNetwork network;
  std::vector<std::unique_ptr<store::MemoryKv>> disks;
  std::vector<std::unique_ptr<LibP2pMember>> members;
  std::vector<PeerId> founders;
  for (int i = 0; i < 4; ++i) {
    disks.push_back(std::make_unique<store::MemoryKv>());
    members.push_back(std::make_unique<LibP2pMember>(loop, runtime, network, *disks.back()));
    ASSERT_TRUE(members.back()->listen());
    if (i < 3) founders.push_back(members.back()->host.id());
  }
  for (auto& a : members)
    for (auto& b : members)
      if (a < b) ASSERT_TRUE(block_on(loop, a->host.connect(b->host.addresses()[0])));
  for (auto& m : members) ASSERT_TRUE(m->up(m == members[3] ? std::vector<PeerId>{} : founders));

  const auto leader = [&]() -> LibP2pMember* {
    for (const auto until = loop.now() + 30s; loop.now() < until;) {
      for (auto& m : members)
        if (m->group->is_leader()) return m.get();
      (void)block_on(loop, runtime::sleep_for(10ms));
    }
    return nullptr;
  };
  const auto change = [&](Task<Status> (Group::*what)(PeerId), PeerId peer) {
    Status done = fail(ErrorCode::unavailable, "");
    for (const auto until = loop.now() + 30s; !done && loop.now() < until;) {
      LibP2pMember* l = leader();
      if (!l) break;
      done = block_on(loop, (l->group.get()->*what)(peer));
      if (!done) (void)block_on(loop, runtime::sleep_for(50ms));
    }
    return done;
  };
  ASSERT_TRUE(leader());
  for (int i = 1; i <= 20; ++i)
    ASSERT_EQ(to_text(*block_on(loop, leader()->group->propose(Bytes{1}))), std::to_string(i));
  ASSERT_TRUE(change(&Group::add_replica, members[3]->host.id()));
  ASSERT_TRUE(change(&Group::promote, members[3]->host.id()));
  LibP2pMember* out = nullptr;
  for (auto& m : members)
    if (m.get() != leader() && m != members[3]) out = m.get();
  const auto removed = change(&Group::remove, out->host.id());
  ASSERT_TRUE(removed) << removed.error().to_string();
  ASSERT_EQ(to_text(*block_on(loop, leader()->group->propose(Bytes{1}))), "21");
  const auto seen =
      block_on(loop, members[3]->group->read([&] { return members[3]->machine.count; }));
  ASSERT_TRUE(seen) << seen.error().to_string();
  EXPECT_EQ(**seen, 21);
  for (auto& m : members) m->down();
}

}  // namespace
}  // namespace tau::consensus
