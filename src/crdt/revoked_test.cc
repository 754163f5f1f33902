// An author is revoked in the middle: what it wrote before stays, nothing of it comes in after, and
// replicas agree on which is which, whenever each of them hears of it.
#include "crdt/fleet.h"
#include "p2p/revocation.h"

namespace tau::crdt {
namespace {

class RevokedAuthor : public ::testing::Test {
 protected:
  RevokedAuthor() {
    fleet_.grow(4);
    EXPECT_TRUE(fleet_.put(kAuthor, "before", "v"));
    EXPECT_TRUE(fleet_.converge());
  }
  // `at` hears that the author is no member any more, or has lost the role.
  void revoke(std::size_t at, std::vector<std::string> roles = {}) {
    p2p::RevocationList list;
    list.network = codec::base32_encode(fleet_.root().public_key().raw());
    list.number = 1;
    list.entries.push_back({.peer = fleet_.id(kAuthor), .roles = std::move(roles)});
    const auto raw = p2p::sign_revocations(fleet_.root(), list);
    ASSERT_TRUE(raw);
    const auto opened = p2p::Revocations::open(fleet_.root().public_key(), *raw);
    ASSERT_TRUE(opened);
    EXPECT_TRUE(fleet_.site(at).admission.adopt(*opened));
    if (fleet_.site(at).life) fleet_.site(at).life->host->recheck();
  }
  bool same(std::vector<std::size_t> sites, Duration limit = 120s) {
    return fleet_.wait_for(
        [&] {
          fleet_.reconnect();
          for (const std::size_t i : sites)
            if (fleet_[i].state().context() != fleet_[sites.front()].state().context())
              return false;
          return true;
        },
        limit);
  }
  Census census(std::size_t i) {
    const auto found = block_on(fleet_.loop(), fleet_[i].census());
    EXPECT_TRUE(found);
    return found.value_or(Census{});
  }

  static constexpr std::size_t kAuthor = 3;
  Fleet fleet_{11};
};

TEST_F(RevokedAuthor, ReplicasThatHearOfItAtDifferentMomentsStillConverge) {
  // Node 0 is with the author; 1 and 2 are apart from both, and hear of the revocation first.
  fleet_.network().partition({{fleet_.id(0), fleet_.id(kAuthor)}, {fleet_.id(1), fleet_.id(2)}});
  ASSERT_TRUE(fleet_.put(kAuthor, "while apart", "v"));
  ASSERT_TRUE(fleet_.erase(kAuthor, "before"));
  ASSERT_TRUE(fleet_.wait_for([&] { return fleet_.get(0, "while apart").has_value(); }));
  revoke(1);
  revoke(2);
  fleet_.network().heal();
  ASSERT_TRUE(fleet_.put(1, "of another", "v"));
  // Node 0 does not know yet: what it takes, all take from it.
  ASSERT_TRUE(fleet_.put(kAuthor, "nearly too late", "v"));
  ASSERT_TRUE(fleet_.wait_for([&] { return fleet_.get(0, "nearly too late").has_value(); }));
  revoke(0);
  ASSERT_TRUE(fleet_.put(kAuthor, "too late", "v"));
  ASSERT_TRUE(same({0, 1, 2}));
  fleet_.wait(60s);  // announcements and pulls of everybody, the author's too
  ASSERT_TRUE(same({0, 1, 2}));
  for (const std::size_t i : {0, 1, 2}) {
    EXPECT_EQ(fleet_.all(i),
              (std::map<std::string, std::string>{
                  {"while apart", "v"}, {"nearly too late", "v"}, {"of another", "v"}}))
        << "node " << i;
    EXPECT_EQ(census(i), census(0));
  }
  EXPECT_EQ(fleet_.get(kAuthor, "too late"), "v") << "of its own, which nobody asks for";
}

TEST_F(RevokedAuthor, AReplicaThatComesLaterReadsItsHistory) {
  for (const std::size_t i : {0, 1, 2}) revoke(i);
  fleet_.stop(kAuthor);
  const std::size_t late = fleet_.add();
  revoke(late);
  fleet_.start(late);
  ASSERT_TRUE(same({0, 1, 2, late}));
  EXPECT_EQ(fleet_.get(late, "before"), "v");
  EXPECT_EQ(fleet_[late].counters().sync.snapshots_merged, 0u) << "delta by delta";
}

TEST_F(RevokedAuthor, ANodeThatHasLostOnlyTheRoleIsNotHeardEither) {
  for (const std::size_t i : {0, 1, 2}) revoke(i, {"seer"});
  ASSERT_TRUE(fleet_.put(kAuthor, "too late", "v"));
  fleet_.wait(60s);
  for (const std::size_t i : {0, 1, 2}) EXPECT_FALSE(fleet_.get(i, "too late"));
  revoke(kAuthor, {"seer"});
  EXPECT_EQ(fleet_.put(kAuthor, "and knows it", "v").error().code(), ErrorCode::permission_denied);
}

}  // namespace
}  // namespace tau::crdt
