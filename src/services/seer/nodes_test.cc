#include "services/seer/nodes.h"

#include <gtest/gtest.h>

#include <map>

#include "services/seer/made_status.h"

namespace tau::seer {
namespace {

using namespace std::chrono_literals;

p2p::Certificate with_roles(std::vector<std::string> roles) {
  p2p::Certificate certificate;
  certificate.roles = std::move(roles);
  return certificate;
}
const auto kSubstrate = with_roles({"substrate"});
Announcement at(std::string address, std::uint32_t load = 0) {
  return {{"substrate"}, {std::move(address)}, 1480, load, {}, {}};
}
Status hear(Nodes& nodes, std::string peer, Announcement what, TimePoint now) {
  const std::uint32_t load = what.load_percent;
  return nodes.hear(made_status(std::move(peer), std::move(what)), load, now);
}

TEST(Nodes, ASilentNodeIsGoneAndComesBack) {
  Nodes nodes;
  ASSERT_TRUE(hear(nodes, "a", at("127.1.0.1"), {0s}));
  EXPECT_EQ(nodes.live("substrate", {2s}).size(), 1u);
  EXPECT_EQ(nodes.live("substrate", {2s + 1ms}).size(), 0u);
  ASSERT_TRUE(hear(nodes, "a", at("127.1.0.1"), {3s}));
  EXPECT_EQ(nodes.live("", {3s}).size(), 1u);
  EXPECT_EQ(nodes.live("tns", {3s}).size(), 0u);
  nodes.forget(PeerId("a"), {3s});
  EXPECT_EQ(nodes.live("", {3s}).size(), 0u);
}

TEST(Nodes, AnAnnouncementBeyondTheCertificateIsRefused) {
  const PeerId a("a");
  EXPECT_EQ(check_announcement(a, with_roles({"monkey"}), at("127.1.0.1")).error().code(),
            ErrorCode::permission_denied);
  EXPECT_EQ(check_announcement(a, kSubstrate, at("localhost")).error().code(),
            ErrorCode::invalid_argument);
  EXPECT_EQ(check_announcement(a, kSubstrate,
                               {{}, std::vector<std::string>(9, "127.0.0.1"), 1, 0, {}, {}})
                .error()
                .code(),
            ErrorCode::invalid_argument);
}

TEST(Nodes, WhatOthersCannotReachIsRefused) {
  const PeerId a("a");
  for (const char* address :
       {"0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "0.1.2.3"})
    EXPECT_FALSE(check_announcement(a, kSubstrate, at(address))) << address;
  for (const char* multiaddr : {"/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/tcp/1/p2p/b", "x/p2p/a",
                                "/ip4/192.0.2.1 /p2p/a", "/\n/p2p/a"}) {
    Announcement announcement = at("127.1.0.1");
    announcement.multiaddrs = {multiaddr};
    EXPECT_FALSE(check_announcement(a, kSubstrate, announcement)) << multiaddr;
  }
  Announcement announcement = at("127.1.0.1");
  announcement.multiaddrs = {"/ip4/192.0.2.1/tcp/1/p2p/a"};
  EXPECT_TRUE(check_announcement(a, kSubstrate, announcement));
}

std::map<std::string, int> first_of(Nodes& nodes, int questions, TimePoint now = {}) {
  std::map<std::string, int> first;
  for (int i = 0; i < questions; ++i)
    ++first[nodes.addresses("substrate", Nodes::Family::ipv4, 16, now).front()];
  return first;
}

TEST(Nodes, AddressesRotateAndFullNodesAreLeftOut) {
  Nodes nodes;
  for (int i = 1; i <= 3; ++i)
    ASSERT_TRUE(hear(nodes, std::to_string(i), at("127.1.0." + std::to_string(i)), {}));
  ASSERT_TRUE(hear(nodes, "full", at("127.1.0.9", 100), {}));
  EXPECT_EQ(first_of(nodes, 3).size(), 3u);
  EXPECT_EQ(nodes.addresses("substrate", Nodes::Family::ipv4, 16, {}).size(), 3u);
  EXPECT_EQ(nodes.addresses("substrate", Nodes::Family::ipv4, 2, {}).size(), 2u);
  EXPECT_TRUE(nodes.addresses("substrate", Nodes::Family::ipv6, 16, {}).empty());
  EXPECT_TRUE(nodes.addresses("tns", Nodes::Family::ipv4, 16, {}).empty());
}

TEST(Nodes, ComeFirstAsOftenAsTheyHaveCapacity) {
  Nodes nodes;
  ASSERT_TRUE(hear(nodes, "1", at("127.1.0.1", 0), {}));
  ASSERT_TRUE(hear(nodes, "2", at("127.1.0.2", 75), {}));
  ASSERT_TRUE(hear(nodes, "3", at("127.1.0.3", 75), {}));
  EXPECT_EQ(first_of(nodes, 60),
            (std::map<std::string, int>{{"127.1.0.1", 40}, {"127.1.0.2", 10}, {"127.1.0.3", 10}}));
}

TEST(Nodes, TakeTurnsAlsoWhenQuestionsAreRare) {
  Nodes nodes;
  std::map<std::string, int> first;
  for (int i = 0; i < 10; ++i) {
    const TimePoint now{i * 1s};
    ASSERT_TRUE(hear(nodes, "1", at("127.1.0.1"), now));
    ASSERT_TRUE(hear(nodes, "2", at("127.1.0.2"), now));
    for (const auto& [address, times] : first_of(nodes, 1, now)) first[address] += times;
  }
  EXPECT_EQ(first, (std::map<std::string, int>{{"127.1.0.1", 5}, {"127.1.0.2", 5}}));
}

TEST(Nodes, AFullNetworkStillAnswersAndANodeThatFillsUpIsLeftOutAtOnce) {
  Nodes nodes;
  ASSERT_TRUE(hear(nodes, "1", at("127.1.0.1"), {}));
  ASSERT_TRUE(hear(nodes, "2", at("127.1.0.2"), {}));
  EXPECT_EQ(first_of(nodes, 2).size(), 2u);
  ASSERT_TRUE(hear(nodes, "1", at("127.1.0.1", 100), {}));
  EXPECT_EQ(first_of(nodes, 2), (std::map<std::string, int>{{"127.1.0.2", 2}}));
  ASSERT_TRUE(hear(nodes, "2", at("127.1.0.2", 100), {}));
  EXPECT_EQ(first_of(nodes, 2).size(), 2u);
}

// What another seer has in the roster, and that seer's own report.
class SharedNodes : public testing::Test {
 protected:
  void beat(std::string seer, TimePoint now) {
    ASSERT_TRUE(hear(nodes, std::move(seer), {{"seer"}, {}, 0, 0, {}, {}}, now));
  }
  void witness(std::string seer, std::string node, Announcement what, TimePoint now,
               Count count = {1, 1}) {
    ASSERT_TRUE(nodes.witness(PeerId(std::move(seer)),
                              made_status(std::move(node), std::move(what), count), now));
  }
  std::vector<LiveNode> substrates(TimePoint now) { return nodes.live("substrate", now); }
  std::string address(TimePoint now) {
    const auto found = substrates(now);
    return found.size() == 1 ? found[0].announcement.addresses.at(0) : "not one";
  }

  Nodes nodes{PeerId("self")};
};

TEST_F(SharedNodes, ANodeThatAnotherSeerHearsLivesAsLongAsThatSeerIsHeard) {
  witness("s", "a", at("127.1.0.1"), {0s});
  EXPECT_TRUE(substrates({0s}).empty()) << "nobody knows that seer";
  beat("s", {1s});
  EXPECT_EQ(address({3s}), "127.1.0.1");
  EXPECT_TRUE(substrates({3s + 1ms}).empty());
  beat("s", {4s});
  EXPECT_EQ(address({4s}), "127.1.0.1");
  nodes.unwitness(PeerId("s"), PeerId("a"));
  EXPECT_TRUE(substrates({4s}).empty());
}

TEST_F(SharedNodes, TheFreshestByTheNodesOwnCountIsGivenUnlessTheNodeSaysItHere) {
  beat("s", {0s});
  beat("t", {0s});
  witness("s", "a", at("127.1.0.2"), {0s}, {7, 2});
  witness("t", "a", at("127.1.0.1"), {0s}, {7, 1});
  EXPECT_EQ(address({0s}), "127.1.0.2");
  witness("t", "a", at("127.1.0.3"), {0s}, {8, 1});
  EXPECT_EQ(address({0s}), "127.1.0.3") << "a later life";
  ASSERT_TRUE(nodes.hear(made_status("a", at("127.1.0.4"), {6, 1}), 0, {1s}));
  EXPECT_EQ(address({1s}), "127.1.0.4") << "of a clock that went back; but it says so itself";
}

TEST_F(SharedNodes, OneSeerThatFallsSilentTakesNobodyAwayWhomAnotherHears) {
  for (const char* seer : {"s", "t"}) {
    beat(seer, {0s});
    witness(seer, "a", at("127.1.0.1"), {0s});
  }
  beat("t", {2s});
  EXPECT_EQ(address({3s}), "127.1.0.1");
  nodes.forget(PeerId("t"), {3s});
  EXPECT_EQ(address({4s}), "127.1.0.1") << "its nodes have a moment to go to the next";
  EXPECT_TRUE(substrates({4s + 1ms}).empty());
}

TEST_F(SharedNodes, ABrokenConnectionIsBelievedUntilASeerThatLivesOnSaysOtherwise) {
  beat("s", {0s});
  witness("s", "a", at("127.1.0.1"), {0s});
  nodes.forget(PeerId("a"), {1s});
  EXPECT_TRUE(substrates({1s}).empty());
  beat("s", {1s + 300ms});
  EXPECT_EQ(address({1s + 300ms}), "127.1.0.1");
}

TEST_F(SharedNodes, WhatWasKnownBeforeARestartCountsForAMoment) {
  nodes.remember_until({10s});
  for (const char* node : {"a", "b"})
    ASSERT_TRUE(nodes.remember(PeerId("self"), made_status(node, at("127.1.0.1")), {2s}));
  witness("self", "c", at("127.1.0.1"), {3s});
  nodes.forget(PeerId("b"), {4s});
  EXPECT_EQ(address({9s}), "127.1.0.1");
  EXPECT_EQ(substrates({9s})[0].silent_ms, 7000u);
  EXPECT_TRUE(substrates({10s}).empty());
}

TEST_F(SharedNodes, WhatIsNotGoodAnyMoreDoesNotCountUntilItIsAgain) {
  beat("s", {0s});
  witness("s", "a", at("127.1.0.1"), {0s});
  ASSERT_TRUE(hear(nodes, "b", at("127.1.0.2"), {0s}));
  nodes.judge([](const CheckedStatus& status, bool) { return status.peer() != PeerId("b"); });
  EXPECT_EQ(address({0s}), "127.1.0.1");
  EXPECT_FALSE(nodes.heard_here(PeerId("b"), {0s}));
  nodes.judge([](const CheckedStatus&, bool passed_on) { return !passed_on; });
  EXPECT_EQ(address({0s}), "127.1.0.2");
}

TEST_F(SharedNodes, WhoeverIsSilentIsNamedOnceAndIsNotHeardAgainWithoutItsStatus) {
  ASSERT_TRUE(hear(nodes, "a", at("127.1.0.1"), {0s}));
  EXPECT_TRUE(nodes.hear_again(PeerId("a"), {1, 1}, 0, {1s}));
  EXPECT_FALSE(nodes.hear_again(PeerId("a"), {1, 2}, 0, {1s})) << "a status that is not here";
  EXPECT_TRUE(nodes.expire({3s}).empty());
  EXPECT_EQ(nodes.expire({3s + 1ms}), std::vector{PeerId("a")});
  EXPECT_TRUE(nodes.expire({4s}).empty());
  EXPECT_FALSE(nodes.hear_again(PeerId("a"), {1, 1}, 0, {4s}));
}

TEST_F(SharedNodes, SeersThatClaimToHearANodeAreBounded) {
  for (std::size_t i = 0; i < kWitnessesMax; ++i)
    witness("s" + std::to_string(i), "a", at("127.1.0.1"), {0s});
  EXPECT_EQ(
      nodes.witness(PeerId("one more"), made_status("a", at("127.1.0.1")), {0s}).error().code(),
      ErrorCode::resource_exhausted);
}

}  // namespace
}  // namespace tau::seer
