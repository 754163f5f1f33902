// tns nodes that come and go while a network lives.
#include <gmock/gmock.h>

#include "services/tns/several_world.h"

namespace tau::tns {
namespace {

using namespace std::chrono_literals;
using runtime::block_on;

struct SettledWorld : SeveralWorld {
  explicit SettledWorld(std::size_t tns_count) : SeveralWorld(tns_count, 5, 50ms) {}
  // As the leader knows them.
  consensus::Members members() {
    TnsNode* leader = town.leader();
    return leader ? town.shard_at(*leader)->group().members() : consensus::Members();
  }
  bool all_have(std::uint64_t seq) {
    return std::ranges::all_of(town.nodes, [&](const TnsNode& node) {
      if (!node.service) return true;
      const Shard* shard = town.shard_at(node);
      const Pointer* pointer = shard ? shard->names().find("hello.x.localhost") : nullptr;
      return pointer && pointer->seq == seq;
    });
  }
  void publish(std::uint64_t seq) {
    const auto moved = town.publish(town.chain(seq, {"hello.x.localhost"}));
    ASSERT_TRUE(moved) << moved.error().to_string();
  }
  // Its machine burns.
  void lose(TnsNode& node) {
    network.kill(node.member.host->id());
    town.down(node);
  }
};

TEST(TnsMembers, ANodeThatIsAddedLaterFollowsAnswersAndVotes) {
  SettledWorld w(1);
  ASSERT_NO_FATAL_FAILURE(w.publish(1));
  TnsNode& second = w.town.join();
  EXPECT_TRUE(w.wait([&] { return w.all_have(1); }, 20s));
  EXPECT_FALSE(w.town.shard_at(second)->group().is_leader());
  TnsNode& third = w.town.join();
  EXPECT_TRUE(w.wait([&] { return second.service->shards().voters() == 3; }, 30s));
  ASSERT_NO_FATAL_FAILURE(w.publish(2));
  EXPECT_TRUE(w.wait([&] { return w.all_have(2); }, 5s));
  // The one that founded the registry is lost, and the two go on.
  w.lose(w.town.nodes.front());
  ASSERT_NO_FATAL_FAILURE(w.publish(3));
  // They know from their disks who they are.
  for (TnsNode* node : {&second, &third}) {
    w.town.cut_power(*node);
    w.town.up(*node);
  }
  ASSERT_NO_FATAL_FAILURE(w.publish(4));
}

TEST(TnsMembers, TwoOfFiveAreLostForGoodAndTwoNewNodesTakeTheirPlaces) {
  SettledWorld w(5);
  ASSERT_TRUE(w.town.wait_leader());
  std::uint64_t seq = 0;
  ASSERT_NO_FATAL_FAILURE(w.publish(++seq));
  EXPECT_EQ(w.members().voters.size(), 5u);
  for (int i = 0; i < 2; ++i) {  // whoever leads
    ASSERT_TRUE(w.town.wait_leader());
    w.lose(*w.town.leader());
    ASSERT_NO_FATAL_FAILURE(w.publish(++seq));
  }
  std::vector<PeerId> fresh;
  for (int i = 0; i < 2; ++i) fresh.push_back(w.town.join().member.identity.id());
  EXPECT_TRUE(w.wait(
      [&] {
        // Of every shard.
        return std::ranges::all_of(w.town.nodes, [&](const TnsNode& node) {
          if (!node.service) return true;
          const auto shards = node.service->shards().held();
          return shards.held.size() == kShardsUsual &&
                 std::ranges::all_of(shards.held, [&](const GetShards::Held& held) {
                   return held.voters.size() == 5 && held.replicas.empty() &&
                          std::ranges::binary_search(held.voters, fresh[0]) &&
                          std::ranges::binary_search(held.voters, fresh[1]);
                 });
        });
      },
      120s));
  // They count: two of the others may go now.
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(w.town.wait_leader());
    w.lose(*w.town.leader());
    ASSERT_NO_FATAL_FAILURE(w.publish(++seq));
  }
  EXPECT_TRUE(w.wait([&] { return w.all_have(seq); }, 5s));
}

TEST(TnsMembers, ANewNodeThatReachesNobodyFoundsNothing) {
  SettledWorld w(3);
  ASSERT_TRUE(w.town.wait_leader());
  ASSERT_NO_FATAL_FAILURE(w.publish(1));
  const auto c = w.town.chain(9, {"hello.x.localhost"});
  TnsNode& late = w.town.nodes.emplace_back(w.town.members.add({"tns"}), Duration());
  ASSERT_TRUE(block_on(w.loop, late.member.host->start()));
  w.town.up(late);
  w.town.pass(30s);
  EXPECT_EQ(late.service->shards().count(), 0u);
  const auto own = block_on(
      w.loop, late.service->handle({}, Publish::Request{w.town.patrick.identity.sign(c.job),
                                                        w.town.monkey.identity.sign(c.receipt)}));
  ASSERT_FALSE(own);
  EXPECT_EQ(own.error().code(), ErrorCode::unavailable);
  const auto found =
      block_on(w.loop, late.service->handle({}, Lookup::Request{"hello.x.localhost"}));
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code(), ErrorCode::unavailable) << "it knows nothing, and says so";
}

TEST(TnsMembers, ANodeWhoseDiskFailedGoesOnByItself) {
  SettledWorld w(3);
  ASSERT_TRUE(w.town.wait_leader());
  ASSERT_NO_FATAL_FAILURE(w.publish(1));
  TnsNode* hurt = w.town.leader();
  hurt->kv.set_full(true);
  ASSERT_NO_FATAL_FAILURE(w.publish(2));  // by the next leader; nobody sees more than a delay
  w.town.pass(10s);
  hurt->kv.set_full(false);
  EXPECT_TRUE(w.wait([&] { return w.all_have(2); }, 20s));
  ASSERT_NO_FATAL_FAILURE(w.publish(3));
  EXPECT_TRUE(w.wait([&] { return w.all_have(3); }, 5s));
  EXPECT_TRUE(w.town.shard_at(*hurt)->group().health());
}

}  // namespace
}  // namespace tau::tns
