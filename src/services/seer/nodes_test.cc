#include "services/seer/nodes.h"

#include <gtest/gtest.h>

#include <set>

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
  return {{"substrate"}, {std::move(address)}, 1480, load, {}};
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
                          {{}, std::vector<std::string>(9, "127.0.0.1"), 1, 0, {}}, {})
                .error()
                .code(),
            ErrorCode::invalid_argument);
}

TEST(Nodes, AddressesRotateAndFullNodesAreLeftOut) {
  Nodes nodes;
  for (int i = 1; i <= 3; ++i)
    ASSERT_TRUE(nodes.announce(PeerId(std::to_string(i)), kSubstrate,
                               at("127.1.0." + std::to_string(i)), {}));
  ASSERT_TRUE(nodes.announce(PeerId("full"), kSubstrate, at("127.1.0.9", 100), {}));
  std::set<std::string> first;
  for (int i = 0; i < 3; ++i) {
    const auto found = nodes.addresses("substrate", Nodes::Family::ipv4, {});
    EXPECT_EQ(found.size(), 3u);
    first.insert(found.front());
  }
  EXPECT_EQ(first.size(), 3u);
  EXPECT_TRUE(nodes.addresses("substrate", Nodes::Family::ipv6, {}).empty());
}

}  // namespace
}  // namespace tau::seer
