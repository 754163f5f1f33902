#include "services/seer/nodes.h"

#include <gtest/gtest.h>

#include <map>

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

TEST(Nodes, ASilentNodeIsGoneAndComesBack) {
  Nodes nodes;
  ASSERT_TRUE(nodes.announce(PeerId("a"), kSubstrate, at("127.1.0.1"), {0s}));
  EXPECT_EQ(nodes.live("substrate", {2s}).size(), 1u);
  EXPECT_EQ(nodes.live("substrate", {2s + 1ms}).size(), 0u);
  ASSERT_TRUE(nodes.announce(PeerId("a"), kSubstrate, at("127.1.0.1"), {3s}));
  EXPECT_EQ(nodes.live("", {3s}).size(), 1u);
  EXPECT_EQ(nodes.live("tns", {3s}).size(), 0u);
  nodes.forget(PeerId("a"));
  EXPECT_EQ(nodes.live("", {3s}).size(), 0u);
}

TEST(Nodes, AnAnnouncementBeyondTheCertificateIsRefused) {
  Nodes nodes;
  EXPECT_EQ(nodes.announce(PeerId("a"), with_roles({"monkey"}), at("127.1.0.1"), {}).error().code(),
            ErrorCode::permission_denied);
  EXPECT_EQ(nodes.announce(PeerId("a"), kSubstrate, at("localhost"), {}).error().code(),
            ErrorCode::invalid_argument);
  EXPECT_EQ(nodes
                .announce(PeerId("a"), kSubstrate,
                          {{}, std::vector<std::string>(9, "127.0.0.1"), 1, 0, {}, {}}, {})
                .error()
                .code(),
            ErrorCode::invalid_argument);
}

TEST(Nodes, WhatOthersCannotReachIsRefused) {
  Nodes nodes;
  for (const char* address :
       {"0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "0.1.2.3"})
    EXPECT_FALSE(nodes.announce(PeerId("a"), kSubstrate, at(address), {})) << address;
  for (const char* multiaddr : {"/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/tcp/1/p2p/b", "x/p2p/a",
                                "/ip4/192.0.2.1 /p2p/a", "/\n/p2p/a"}) {
    Announcement announcement = at("127.1.0.1");
    announcement.multiaddrs = {multiaddr};
    EXPECT_FALSE(nodes.announce(PeerId("a"), kSubstrate, announcement, {})) << multiaddr;
  }
  Announcement announcement = at("127.1.0.1");
  announcement.multiaddrs = {"/ip4/192.0.2.1/tcp/1/p2p/a"};
  EXPECT_TRUE(nodes.announce(PeerId("a"), kSubstrate, announcement, {}));
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
    ASSERT_TRUE(nodes.announce(PeerId(std::to_string(i)), kSubstrate,
                               at("127.1.0." + std::to_string(i)), {}));
  ASSERT_TRUE(nodes.announce(PeerId("full"), kSubstrate, at("127.1.0.9", 100), {}));
  EXPECT_EQ(first_of(nodes, 3).size(), 3u);
  EXPECT_EQ(nodes.addresses("substrate", Nodes::Family::ipv4, 16, {}).size(), 3u);
  EXPECT_EQ(nodes.addresses("substrate", Nodes::Family::ipv4, 2, {}).size(), 2u);
  EXPECT_TRUE(nodes.addresses("substrate", Nodes::Family::ipv6, 16, {}).empty());
  EXPECT_TRUE(nodes.addresses("tns", Nodes::Family::ipv4, 16, {}).empty());
}

TEST(Nodes, ComeFirstAsOftenAsTheyHaveCapacity) {
  Nodes nodes;
  ASSERT_TRUE(nodes.announce(PeerId("1"), kSubstrate, at("127.1.0.1", 0), {}));
  ASSERT_TRUE(nodes.announce(PeerId("2"), kSubstrate, at("127.1.0.2", 75), {}));
  ASSERT_TRUE(nodes.announce(PeerId("3"), kSubstrate, at("127.1.0.3", 75), {}));
  EXPECT_EQ(first_of(nodes, 60),
            (std::map<std::string, int>{{"127.1.0.1", 40}, {"127.1.0.2", 10}, {"127.1.0.3", 10}}));
}

TEST(Nodes, TakeTurnsAlsoWhenQuestionsAreRare) {
  Nodes nodes;
  std::map<std::string, int> first;
  for (int i = 0; i < 10; ++i) {
    const TimePoint now{i * 1s};
    ASSERT_TRUE(nodes.announce(PeerId("1"), kSubstrate, at("127.1.0.1"), now));
    ASSERT_TRUE(nodes.announce(PeerId("2"), kSubstrate, at("127.1.0.2"), now));
    for (const auto& [address, times] : first_of(nodes, 1, now)) first[address] += times;
  }
  EXPECT_EQ(first, (std::map<std::string, int>{{"127.1.0.1", 5}, {"127.1.0.2", 5}}));
}

TEST(Nodes, AFullNetworkStillAnswersAndANodeThatFillsUpIsLeftOutAtOnce) {
  Nodes nodes;
  ASSERT_TRUE(nodes.announce(PeerId("1"), kSubstrate, at("127.1.0.1"), {}));
  ASSERT_TRUE(nodes.announce(PeerId("2"), kSubstrate, at("127.1.0.2"), {}));
  EXPECT_EQ(first_of(nodes, 2).size(), 2u);
  ASSERT_TRUE(nodes.announce(PeerId("1"), kSubstrate, at("127.1.0.1", 100), {}));
  EXPECT_EQ(first_of(nodes, 2), (std::map<std::string, int>{{"127.1.0.2", 2}}));
  ASSERT_TRUE(nodes.announce(PeerId("2"), kSubstrate, at("127.1.0.2", 100), {}));
  EXPECT_EQ(first_of(nodes, 2).size(), 2u);
}

}  // namespace
}  // namespace tau::seer
