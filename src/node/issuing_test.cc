#include "node/issuing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

namespace tau::node {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr std::int64_t kNow = 1'700'000'000'000;
constexpr std::int64_t kDayMs = 24ll * 3600 * 1000;

class IssuingTest : public ::testing::Test {
 protected:
  IssuingTest() {
    char name[] = "/tmp/tau-issuing-XXXXXX";
    folder = ::mkdtemp(name);
    network = folder / "net";
    EXPECT_TRUE(create_network({network, "home", ""}, random));
    NewNode node{network, "one", {}};
    node.options.services = {"monkey", "hoarder"};
    const auto made = create_node(node, random, kNow);
    EXPECT_TRUE(made) << made.error().to_string();
  }
  ~IssuingTest() override { fs::remove_all(folder); }

  Options options() const { return *read_config(network / "one" / "config.yaml"); }

  SystemRandom random;
  fs::path folder, network;
};

TEST_F(IssuingTest, ARenewedCertificateIsTheNodesAndEndsLater) {
  const std::int64_t later = kNow + 300 * kDayMs;
  const auto renewed = renew_certificate({network, "one", {}}, later);
  ASSERT_TRUE(renewed) << renewed.error().to_string();
  EXPECT_EQ(renewed->certificate.roles, (std::vector<std::string>{"monkey", "hoarder"}));
  EXPECT_EQ(renewed->certificate.host, "one");
  // The node starts with it when the one before has ended.
  const auto identity = read_identity(options(), kNow + 400 * kDayMs);
  ASSERT_TRUE(identity) << identity.error().to_string();
  EXPECT_EQ(identity->certificate(), renewed->raw);
  EXPECT_EQ(identity->id(), renewed->certificate.peer);
}

TEST_F(IssuingTest, OneThatIsRenewedByAClockThatIsBehindStillFollows) {
  const auto first = renew_certificate({network, "one", {}}, kNow);
  const auto second = renew_certificate({network, "one", {}}, kNow - 3600'000);
  ASSERT_TRUE(first && second);
  EXPECT_GT(second->certificate.not_before_unix_ms, first->certificate.not_before_unix_ms);
}

TEST_F(IssuingTest, RolesMayChangeWithARenewal) {
  const auto renewed = renew_certificate({network, "one", {"hoarder"}}, kNow);
  ASSERT_TRUE(renewed);
  EXPECT_FALSE(read_identity(options(), kNow)) << "its config still lists monkey";
  EXPECT_THAT(renew_certificate({network, "one", {"donkey"}}, kNow).error().message(),
              HasSubstr("no service \"donkey\""));
}

TEST_F(IssuingTest, SaysWhatIsWrongWithTheTimeOrTheName) {
  EXPECT_EQ(
      renew_certificate({network, "one", {}, std::chrono::hours(24) * 1000}, kNow).error().code(),
      ErrorCode::invalid_argument);
  EXPECT_THAT(renew_certificate({network, "two", {}}, kNow).error().message(),
              HasSubstr("named by its folder"));
}

TEST_F(IssuingTest, RevocationsAddUpAndNumbersGrow) {
  EXPECT_FALSE(*read_revocations(network)) << "nothing was revoked yet";
  const auto first = revoke({network, "one", "sold", {"monkey"}}, kNow);
  ASSERT_TRUE(first) << first.error().to_string();
  const PeerId other = read_identity(options(), kNow)->id();
  const auto second = revoke({network, other.str(), "stolen", {}}, kNow);
  ASSERT_TRUE(second) << second.error().to_string();
  EXPECT_TRUE((*second)->replaces(**first));
  EXPECT_EQ((*second)->list().entries.size(), 2u);
  EXPECT_TRUE((*second)->whole(other));
  EXPECT_EQ((*read_revocations(network))->raw(), (*second)->raw());
  // The same once more stays one entry.
  EXPECT_EQ((*revoke({network, "one", "stolen", {}}, kNow))->list().entries.size(), 2u);
}

TEST_F(IssuingTest, ARevokedNodeIsNotRenewedUntilItIsRestored) {
  ASSERT_TRUE(revoke({network, "one", "sold", {}}, kNow));
  EXPECT_THAT(renew_certificate({network, "one", {}}, kNow).error().message(),
              HasSubstr("odo network restore"));
  const auto back = restore(network, "one", kNow);
  ASSERT_TRUE(back) << back.error().to_string();
  EXPECT_TRUE((*back)->list().entries.empty());
  EXPECT_TRUE(renew_certificate({network, "one", {}}, kNow));
  EXPECT_EQ(restore(network, "one", kNow).error().code(), ErrorCode::not_found);
}

TEST_F(IssuingTest, OneCertificateMayBeRevokedAndTheNextCounts) {
  ASSERT_TRUE(renew_certificate({network, "one", {"hoarder", "monkey"}}, kNow));
  const Bytes old = to_bytes(*read_small_file(network / "one" / "node.certificate"));
  const auto list = revoke({network, "one", "too many roles", {}, true}, kNow);
  ASSERT_TRUE(list) << list.error().to_string();
  const auto renewed = renew_certificate({network, "one", {"hoarder"}}, kNow + 1);
  ASSERT_TRUE(renewed) << renewed.error().to_string();
  p2p::Admission admission(*parse_root_key(options().network_root_key), {});
  ASSERT_TRUE(admission.adopt(*list));
  EXPECT_FALSE(admission.check_any(old, kNow + 2));
  EXPECT_TRUE(admission.check_any(renewed->raw, kNow + 2));
}

TEST_F(IssuingTest, EntriesGoWhenWhatTheyAreAboutHasEnded) {
  ASSERT_TRUE(revoke({network, "one", "sold", {}}, kNow));
  NewNode node{network, "two", {}};
  node.options.services = {"seer"};
  ASSERT_TRUE(create_node(node, random, kNow));
  const auto later = revoke({network, "two", "sold, too", {}}, kNow + 800 * kDayMs);
  ASSERT_TRUE(later);
  EXPECT_EQ((*later)->list().entries.size(), 1u);
  EXPECT_EQ((*later)->list().entries[0].reason, "sold, too");
}

}  // namespace
}  // namespace tau::node
