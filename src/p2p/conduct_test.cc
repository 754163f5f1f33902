#include "p2p/conduct.h"

#include <gtest/gtest.h>

#include <vector>

#include "p2p/test_network.h"

namespace tau::p2p {
namespace {

using namespace std::chrono_literals;

class ConductTest : public testing::Test {
 protected:
  int admitted(int calls, const PeerId& of) {
    int count = 0;
    for (int i = 0; i < calls; ++i) count += conduct.admit_call(of);
    return count;
  }
  void pass(Duration time) { (void)runtime::block_on(loop, runtime::sleep_for(time)); }
  void blame(const PeerId& of, Misdeed misdeed, int times = 1) {
    for (int i = 0; i < times; ++i) conduct.blame(of, misdeed, "a test says so");
  }
  std::optional<Admission::Refusal> refusal() {
    return admission.refusal(peer, certificate, loop.wall_unix_ms());
  }

  runtime::VirtualLoop loop;
  TestNetwork network;
  const PeerId peer = codec::peer_id_of(network.make_key().public_key()),
               other = codec::peer_id_of(network.make_key().public_key());
  const Bytes certificate =
      sign_certificate(network.root, network.certificate(peer, loop.wall_unix_ms()));
  Admission admission = network.admission(other, loop.wall_unix_ms());
  std::vector<PeerId> closed;
  Conduct conduct{loop,
                  admission,
                  [this](const PeerId& gone) { closed.push_back(gone); },
                  Logger(),
                  {100, 50, 10, 5}};
};

TEST_F(ConductTest, CallsAndGossipAreBoundByARateAndABurst) {
  EXPECT_EQ(admitted(1000, peer), 50);
  EXPECT_TRUE(conduct.admit_call(other)) << "each peer has its own";
  EXPECT_TRUE(conduct.admit_message(peer)) << "and gossip another than calls";
  pass(100ms);
  EXPECT_EQ(admitted(1000, peer), 10);
  int messages = 0;
  for (int i = 0; i < 100; ++i) messages += conduct.admit_message(other);
  EXPECT_EQ(messages, 5);
  EXPECT_TRUE(closed.empty());
}

TEST_F(ConductTest, WhoSendsWhatIsMalformedIsSlowedThenOutAndToldWhy) {
  blame(peer, Misdeed::malformed, 4);
  EXPECT_EQ(admitted(100, peer), 5) << "a tenth of the burst";
  pass(200ms);
  EXPECT_EQ(admitted(100, peer), 2) << "a tenth of the rate";
  EXPECT_FALSE(refusal());
  blame(peer, Misdeed::malformed, 7);
  EXPECT_EQ(closed, std::vector{peer});
  ASSERT_TRUE(refusal());
  EXPECT_NE(refusal()->why.find("malformed"), std::string::npos) << refusal()->why;
  EXPECT_TRUE(refusal()->was_member) << "so that it may hear it";
  EXPECT_EQ(conduct.score(other), 0);

  pass(61s);
  EXPECT_FALSE(refusal()) << "after a minute it may try again";
}

TEST_F(ConductTest, WhoComesBackAndGoesOnIsOutForLongerEachTime) {
  std::vector<std::int64_t> out;
  for (int i = 0; i < 8; ++i) {
    const std::int64_t now = loop.wall_unix_ms();
    blame(peer, Misdeed::forgery, 2);
    const auto entries = conduct.entries();
    ASSERT_EQ(entries.size(), 1u);
    out.push_back((entries[0].out_until_unix_ms - now) / 60'000);
    pass(std::chrono::milliseconds(entries[0].out_until_unix_ms - now + 1));
  }
  EXPECT_EQ(out, (std::vector<std::int64_t>{1, 2, 4, 8, 16, 32, 60, 60}));
}

TEST_F(ConductTest, AFloodThatGoesOnHasToLeave) {
  (void)admitted(20'000, peer);
  EXPECT_FALSE(closed.empty());
  EXPECT_TRUE(refusal());
}

TEST_F(ConductTest, IsForgivenWithTime) {
  blame(peer, Misdeed::malformed, 5);
  EXPECT_NEAR(conduct.score(peer), 50, 0.01);
  pass(30s);
  EXPECT_NEAR(conduct.score(peer), 25, 0.01);
  EXPECT_FALSE(conduct.entries().empty());
  pass(5min);
  EXPECT_LT(conduct.score(peer), 0.1);
  EXPECT_TRUE(conduct.entries().empty());
}

TEST_F(ConductTest, AMistakeNowAndThenIsNoReason) {
  for (int i = 0; i < 1000; ++i) {
    blame(peer, Misdeed::malformed);
    pass(20s);
  }
  EXPECT_LT(conduct.score(peer), Conduct::kSlowAt);
  EXPECT_TRUE(closed.empty());
}

TEST_F(ConductTest, RemembersABoundedNumberOfPeersAndTheWorstLongest) {
  blame(peer, Misdeed::malformed);
  for (std::size_t i = 0; i < 2 * Conduct::kPeersMax; ++i)
    (void)conduct.admit_call(PeerId("peer " + std::to_string(i)));
  EXPECT_EQ(conduct.known(), Conduct::kPeersMax);
  EXPECT_GT(conduct.score(peer), 0);
}

}  // namespace
}  // namespace tau::p2p
