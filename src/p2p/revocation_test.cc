#include "p2p/revocation.h"

#include <gtest/gtest.h>

#include "codec/signed.h"
#include "p2p/node_signed.h"
#include "p2p/test_network.h"

namespace tau::p2p {
namespace {

constexpr std::int64_t kNow = 1'700'000'000'000;

struct Note {
  static constexpr std::string_view kPurpose = "tau test note v1";
  std::string text;
  static constexpr auto fields() { return std::tuple{codec::field("text", &Note::text)}; }
};

class RevocationTest : public ::testing::Test {
 protected:
  TestNetwork network_;
  crypto::KeyPair key_ = network_.make_key();
  PeerId node_ = codec::peer_id_of(key_.public_key());
  Admission admission_{network_.root.public_key(), {}};

  Bytes certificate(std::optional<std::uint64_t> serial = std::nullopt) const {
    Certificate c = network_.certificate(node_, kNow);
    c.serial = serial;
    return sign_certificate(network_.root, c);
  }
  std::string why(BytesView certificate) const {
    const auto r = admission_.check(node_, certificate, kNow);
    return r ? "" : r.error().message();
  }
};

TEST_F(RevocationTest, OfAPeerCountsForAllItShows) {
  EXPECT_EQ(why(certificate(1)), "");
  ASSERT_TRUE(admission_.adopt(network_.revocations(1, {{.peer = node_, .reason = "sold"}})));
  EXPECT_NE(why(certificate(1)).find("was revoked: sold"), std::string::npos);
  EXPECT_NE(why(certificate()), "");
  EXPECT_TRUE(admission_.revoked(node_));
}

TEST_F(RevocationTest, OfASerialCountsForThatCertificateOnly) {
  ASSERT_TRUE(admission_.adopt(network_.revocations(1, {{.peer = node_, .serial = 7}})));
  EXPECT_NE(why(certificate(7)), "");
  EXPECT_EQ(why(certificate(8)), "");
  EXPECT_EQ(why(certificate()), "");
  EXPECT_FALSE(admission_.revoked(node_));
}

TEST_F(RevocationTest, OfARoleLeavesTheOthers) {
  ASSERT_TRUE(admission_.adopt(network_.revocations(1, {{.peer = node_, .roles = {"tns"}}})));
  const auto left = admission_.check(node_, certificate(), kNow);
  ASSERT_TRUE(left);
  EXPECT_EQ(left->roles, std::vector<std::string>{"substrate"});
}

TEST_F(RevocationTest, AnOlderListNeverReplacesANewerOne) {
  const auto second = network_.revocations(2, {});
  ASSERT_TRUE(admission_.adopt(second));
  EXPECT_FALSE(admission_.adopt(network_.revocations(1, {{.peer = node_}})));
  EXPECT_FALSE(admission_.adopt(second)) << "the same is no news";
  EXPECT_EQ(why(certificate()), "");
  EXPECT_TRUE(admission_.adopt(network_.revocations(3, {{.peer = node_}})));
}

TEST_F(RevocationTest, TwoListsOfOneNumberAreSettledAlikeEverywhere) {
  const auto one = network_.revocations(5, {{.peer = node_, .reason = "one"}});
  const auto other = network_.revocations(5, {{.peer = node_, .reason = "other"}});
  EXPECT_NE(one->replaces(*other), other->replaces(*one));
}

TEST_F(RevocationTest, IsTakenFromTheRootOnlyAndWhole) {
  const auto list = network_.revocations(1, {{.peer = node_}});
  const crypto::PublicKey root = network_.root.public_key();
  const Bytes& good = list->raw();
  for (std::size_t i = 0; i < good.size(); ++i) {
    Bytes bad = good;
    bad[i] ^= 0x01;
    EXPECT_FALSE(Revocations::open(root, bad)) << "byte " << i;
  }
  for (std::size_t n = 0; n < good.size(); ++n)
    EXPECT_FALSE(Revocations::open(root, BytesView(good).first(n))) << n << " bytes";
  TestNetwork other;
  EXPECT_EQ(Revocations::open(other.root.public_key(), good).error().code(),
            ErrorCode::permission_denied);
}

TEST_F(RevocationTest, IsBoundInEntriesAndReasons) {
  RevocationList list{codec::base32_encode(network_.root.public_key().raw()), 1, 0, {}};
  list.entries.assign(kRevocationsMax + 1, Revocation{.peer = node_});
  EXPECT_FALSE(sign_revocations(network_.root, list));
  list.entries.assign(1, Revocation{.peer = node_, .reason = std::string(300, 'x')});
  EXPECT_FALSE(sign_revocations(network_.root, list));
  list.entries[0].reason = "fine";
  EXPECT_TRUE(sign_revocations(network_.root, list));
}

TEST_F(RevocationTest, WhatARevokedNodeSignedCountsNoLongerWheneverItSignedIt) {
  const NodeIdentity identity(key_, certificate());
  const NodeSigned note = identity.sign(Note{"built"});
  ASSERT_TRUE(open_node_signed<Note>(admission_, "tns", note, kNow));
  ASSERT_TRUE(admission_.adopt(network_.revocations(1, {{.peer = node_, .roles = {"monkey"}}})));
  EXPECT_TRUE(open_node_signed<Note>(admission_, "tns", note, kNow));
  ASSERT_TRUE(admission_.adopt(network_.revocations(2, {{.peer = node_, .roles = {"tns"}}})));
  EXPECT_FALSE(open_node_signed<Note>(admission_, "tns", note, kNow));
  ASSERT_TRUE(admission_.adopt(network_.revocations(3, {{.peer = node_}})));
  EXPECT_FALSE(open_node_signed<Note>(admission_, "tns", note, kNow));
}

TEST_F(RevocationTest, CopiesOfAnAdmissionKnowAtOnce) {
  const Admission copy = admission_;
  ASSERT_TRUE(admission_.adopt(network_.revocations(1, {{.peer = node_}})));
  EXPECT_TRUE(copy.revoked(node_));
}

TEST_F(RevocationTest, OnlyWhoOnceWasAMemberHearsTheReason) {
  ASSERT_TRUE(admission_.adopt(network_.revocations(1, {{.peer = node_, .reason = "sold"}})));
  const auto known = admission_.refusal(node_, certificate(), kNow);
  ASSERT_TRUE(known);
  EXPECT_TRUE(known->was_member);
  const PeerId thief = codec::peer_id_of(network_.make_key().public_key());
  const auto stranger = admission_.refusal(thief, certificate(), kNow);
  ASSERT_TRUE(stranger);
  EXPECT_FALSE(stranger->was_member);
}

TEST_F(RevocationTest, WhoIsShutOutIsLetInAgainLater) {
  admission_.shut_out(node_, kNow + 1000, "it floods");
  const auto now = admission_.refusal(node_, certificate(), kNow);
  ASSERT_TRUE(now);
  EXPECT_NE(now->why.find("it floods; try again in"), std::string::npos);
  EXPECT_FALSE(admission_.refusal(node_, certificate(), kNow + 1000));
}

}  // namespace
}  // namespace tau::p2p
