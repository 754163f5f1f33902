#include "consensus/voters.h"

#include "consensus/keeper.h"
#include "consensus/test_cluster.h"

namespace tau::consensus {
namespace {

using testing::ElementsAre;
using Kind = MemberStep::Kind;

Candidate node(std::string name, std::string host, std::string by = "", std::string region = "") {
  return {PeerId(std::move(name)),
          std::move(host),
          std::move(by),
          std::move(region),
          true,
          false,
          true};
}
std::vector<PeerId> ids(std::initializer_list<const char*> names) {
  std::vector<PeerId> out;
  for (const char* name : names) out.emplace_back(name);
  return out;
}

TEST(Voters, AreOddAndNoMoreThanAskedFor) {
  std::vector<Candidate> all;
  for (const std::size_t expected : {1u, 1u, 3u, 3u, 5u, 5u, 5u}) {
    all.push_back(node(std::string(1, static_cast<char>('a' + all.size())), ""));
    EXPECT_EQ(choose_voters(all, {}, {.voters = 5}).size(), expected) << all.size();
  }
}

TEST(Voters, ShareNoHostNoOperatorAndNoRegionWhereThatCanBe) {
  const std::vector<Candidate> all = {node("a", "h1", "x", "eu"), node("b", "h1", "x", "eu"),
                                      node("c", "h2", "x", "eu"), node("d", "h3", "y", "eu"),
                                      node("e", "h4", "z", "us")};
  EXPECT_EQ(choose_voters(all, {}, {}), ids({"a", "d", "e"}));
  // Two on one host fall together: one of them makes room for a third host.
  EXPECT_EQ(choose_voters(all, ids({"a", "b", "e"}), {}).size(), 3u);
  EXPECT_THAT(choose_voters(all, ids({"a", "b", "e"}), {}), testing::Contains(PeerId("d")));
}

TEST(Voters, StayWhereNothingIsBetter) {
  std::vector<Candidate> all;
  for (const char* name : {"a", "b", "c", "d", "e", "f"}) all.push_back(node(name, name));
  EXPECT_EQ(choose_voters(all, ids({"d", "e", "f"}), {}), ids({"d", "e", "f"}));
  all[5].live = false;  // for a while
  EXPECT_EQ(choose_voters(all, ids({"d", "e", "f"}), {}), ids({"d", "e", "f"}));
  all[5].given_up = true;
  EXPECT_EQ(choose_voters(all, ids({"d", "e", "f"}), {}), ids({"a", "d", "e"}));
}

TEST(Voters, ADeadOneIsReplacedStepByStepAndAMajorityIsAlwaysAlive) {
  std::vector<Candidate> all;
  for (const char* name : {"a", "b", "c", "d"}) all.push_back(node(name, name));
  all[2].live = all[2].ready = false;
  all[2].given_up = true;
  all[3].ready = false;
  Members members{7, true, ids({"a", "b", "c"}), {}};
  EXPECT_EQ(next_step(members, all, {}), (MemberStep{Kind::add_replica, PeerId("d")}));
  members.replicas = ids({"d"});
  EXPECT_EQ(next_step(members, all, {}), std::nullopt);  // it is catching up
  all[3].ready = true;
  EXPECT_EQ(next_step(members, all, {}), (MemberStep{Kind::promote, PeerId("d")}));
  members = {9, true, ids({"a", "b", "c", "d"}), {}};
  EXPECT_EQ(next_step(members, all, {}), (MemberStep{Kind::remove, PeerId("c")}));
  members = {10, false, ids({"a", "b", "d"}), {}};
  EXPECT_EQ(next_step(members, all, {}), std::nullopt);  // not committed yet
  // Without a majority nothing is changed.
  all[1].live = all[3].live = false;
  EXPECT_EQ(next_step({11, true, ids({"a", "b", "c"}), {}}, all, {}), std::nullopt);
}

TEST(Voters, ALostOneKeepsItsVoteUntilAnotherCanTakeIt) {
  std::vector<Candidate> all;
  for (const char* name : {"a", "b", "c"}) all.push_back(node(name, name));
  all[2].live = all[2].ready = false;
  all[2].given_up = true;
  EXPECT_EQ(choose_voters(all, ids({"a", "b", "c"}), {}), ids({"a", "b", "c"}));
  all.push_back(node("d", "d"));
  EXPECT_EQ(choose_voters(all, ids({"a", "b", "c"}), {}), ids({"a", "b", "d"}));
  // One of two would be the only copy of what was acknowledged.
  all.resize(2);
  EXPECT_EQ(choose_voters(all, ids({"a", "b"}), {}), ids({"a", "b"}));
}

TEST(Voters, OthersFollowWithoutAVote) {
  std::vector<Candidate> all;
  for (const char* name : {"a", "b", "c", "d", "e"}) all.push_back(node(name, name));
  const Members members{7, true, ids({"a", "b", "c"}), {}};
  EXPECT_EQ(next_step(members, all, {}), (MemberStep{Kind::add_replica, PeerId("d")}));
  EXPECT_EQ(next_step(members, all, {.replicas = 0}), std::nullopt);
}

// What the steps lead to, when each is carried out at once.
Members settle(Members members, const std::vector<Candidate>& all, const VoterPolicy& policy) {
  for (int i = 0; i < 100; ++i) {
    const auto step = next_step(members, all, policy);
    if (!step) return members;
    std::erase(members.voters, step->peer);
    std::erase(members.replicas, step->peer);
    if (step->kind == Kind::promote) members.voters.push_back(step->peer);
    if (step->kind == Kind::add_replica || step->kind == Kind::demote)
      members.replicas.push_back(step->peer);
    std::ranges::sort(members.voters);
    std::ranges::sort(members.replicas);
  }
  ADD_FAILURE() << "it never ends";
  return members;
}

TEST(Voters, ThatAreRankedMoveToWhoRanksLowestAndNoFurther) {
  std::vector<Candidate> all;
  for (const char* name : {"a", "b", "c", "d", "e", "f", "g"}) {
    all.push_back(node(name, name));
    all.back().rank = 200 - static_cast<std::uint64_t>(name[0]);  // g first
  }
  const VoterPolicy policy{.voters = 3, .replicas = 2};
  const Members begun{7, true, ids({"a", "b", "c"}), {}};
  const Members moved = settle(begun, all, policy);
  EXPECT_EQ(moved.voters, ids({"e", "f", "g"}));
  EXPECT_EQ(moved.replicas, ids({"c", "d"}));
  // One that is away keeps its place for a while, and is then replaced by the next in the row.
  all[6].live = all[6].ready = false;
  EXPECT_EQ(settle(moved, all, policy).voters, ids({"e", "f", "g"}));
  all[6].given_up = true;
  const Members without = settle(moved, all, policy);
  EXPECT_EQ(without.voters, ids({"d", "e", "f"}));
  EXPECT_EQ(without.replicas, ids({"b", "c"}));
  // Failure domains come first.
  for (const std::size_t i : {4u, 5u}) all[i].host = "one machine";
  EXPECT_THAT(settle(without, all, policy).voters, testing::Not(ids({"d", "e", "f"})));
}

TEST(Keeper, ReplacesAVoterThatIsGoneForGoodAndNotOneThatRestarts) {
  Cluster t(3);
  t.up_all();
  Member& fourth = t.add();
  ASSERT_TRUE(fourth.up({}));
  std::vector<std::unique_ptr<Keeper>> keepers;
  for (auto& m : t.members) {
    keepers.push_back(std::make_unique<Keeper>(
        *m->groups, *m->group,
        Keeper::Options{
            .policy = {}, .pace = std::chrono::seconds(1), .grace = std::chrono::seconds(30)}));
    keepers.back()->start();
  }
  const auto members = [&] {
    Member* l = t.leader();
    return l ? l->group->members() : Members{};
  };
  ASSERT_TRUE(t.wait_until([&] { return members().replicas.size() == 1; }, 30s));
  ASSERT_TRUE(t.leader());
  EXPECT_EQ(t.leader()->propose("a"), "1");

  std::size_t gone = 0;
  while (t.members[gone].get() == t.leader()) ++gone;
  const PeerId id = t.members[gone]->host.id();
  block_on(t.net.loop, keepers[gone]->stop());
  t.members[gone]->down();
  t.run_for(10s);
  EXPECT_TRUE(members().is_voter(id));
  ASSERT_TRUE(t.wait_until([&] { return !members().has(id); }, 120s));
  EXPECT_TRUE(members().is_voter(fourth.host.id()));
  EXPECT_EQ(members().voters.size(), 3u);
  EXPECT_EQ(t.leader()->propose("b"), "2");
  for (auto& keeper : keepers) block_on(t.net.loop, keeper->stop());
}

}  // namespace
}  // namespace tau::consensus
