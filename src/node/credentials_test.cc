#include "node/credentials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codec/multibase.h"
#include "command/members.h"
#include "p2p/simulated/network.h"
#include "p2p/test_network.h"
#include "store/memory/memory_kv.h"

namespace tau::node {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

constexpr std::int64_t kHourMs = 3'600'000;

class CredentialsTest : public ::testing::Test {
 protected:
  struct Node {
    command::Member& member;
    std::unique_ptr<store::MemoryKv> kv;
    std::unique_ptr<Credentials> credentials;
    std::vector<Bytes> kept;
  };

  CredentialsTest()
      : members(loop, random, [this](const crypto::KeyPair& key, p2p::Admission admission) {
          return std::make_unique<p2p::simulated::SimulatedHost>(
              wires, codec::peer_id_of(key.public_key()), std::move(admission), Logger());
        }) {}
  ~CredentialsTest() override {
    for (auto& node : nodes) run(node->credentials->stop());
    run(members.stop());
  }
  template <class T>
  T run(Task<T> task) {
    return runtime::block_on(loop, std::move(task));
  }
  Node& add(std::unique_ptr<store::MemoryKv> disk = nullptr) {
    command::Member& member = members.add({"monkey", "hoarder"});
    if (!disk) disk = std::make_unique<store::MemoryKv>(5ms);
    nodes.push_back(std::make_unique<Node>(member, std::move(disk), nullptr));
    Node& node = *nodes.back();
    node.credentials = std::make_unique<Credentials>(
        loop, *member.host, member.router, member.caller, random, *node.kv, member.admission,
        member.identity,
        [&node](const Bytes& fresh) {
          node.kept.push_back(fresh);
          return Status{};
        },
        Logger());
    EXPECT_TRUE(run(node.credentials->load()));
    EXPECT_TRUE(run(member.host->start()));
    node.credentials->start();
    return node;
  }
  void connect(Node& a, Node& b) {
    const auto done = run(a.member.host->connect(b.member.host->addresses().at(0)));
    EXPECT_TRUE(done) << done.error().to_string();
  }
  // Three nodes, each connected to the others.
  void three() {
    for (int i = 0; i < 3; ++i) add();
    for (std::size_t i = 0; i < 3; ++i)
      for (std::size_t k = 0; k < i; ++k) connect(*nodes[i], *nodes[k]);
    pass(100ms);
  }
  void pass(Duration time) { ASSERT_TRUE(run(runtime::sleep_for(time))); }
  const PeerId& id(std::size_t i) const { return nodes[i]->member.host->id(); }
  bool connected(std::size_t i, std::size_t k) const {
    const auto peers = nodes[i]->member.host->peers();
    return std::ranges::find(peers, id(k)) != peers.end();
  }
  Bytes list(std::uint64_t number, std::vector<p2p::Revocation> entries) const {
    return *p2p::sign_revocations(members.root(),
                                  {codec::base32_encode(members.root().public_key().raw()), number,
                                   loop.wall_unix_ms(), std::move(entries)});
  }
  Bytes certificate(std::size_t i, std::int64_t valid_ms, std::vector<std::string> roles) const {
    p2p::Certificate c;
    c.network = codec::base32_encode(members.root().public_key().raw());
    c.peer = id(i);
    c.roles = std::move(roles);
    c.not_before_unix_ms = loop.wall_unix_ms();
    c.not_after_unix_ms = c.not_before_unix_ms + valid_ms;
    return p2p::sign_certificate(members.root(), c);
  }

  runtime::VirtualLoop loop;
  SeededRandom random{11};
  p2p::simulated::SimulatedNetwork wires{loop, random};
  command::Members members;
  std::vector<std::unique_ptr<Node>> nodes;
};

TEST_F(CredentialsTest, ARevocationGivenToAnyNodeCountsEverywhereWithinASecond) {
  three();
  ASSERT_TRUE(run(nodes[0]->credentials->adopt(list(1, {{.peer = id(2), .reason = "stolen"}}))));
  EXPECT_FALSE(connected(0, 2)) << "the node that was given it acts at once";
  pass(1s);
  EXPECT_FALSE(connected(1, 2));
  EXPECT_TRUE(connected(0, 1));
  EXPECT_EQ(nodes[1]->credentials->number(), 1u);
  EXPECT_TRUE(nodes[2]->member.host->peers().empty());
  const auto again = run(nodes[2]->member.host->connect(nodes[1]->member.host->addresses().at(0)));
  ASSERT_FALSE(again);
  EXPECT_THAT(again.error().message(), HasSubstr("was revoked: stolen"));
}

TEST_F(CredentialsTest, ANodeThatWasAwayLearnsOfItFromTheFirstThatItMeets) {
  three();
  add();  // knows nobody yet
  ASSERT_TRUE(run(nodes[0]->credentials->adopt(list(1, {{.peer = id(2)}}))));
  pass(1s);
  // The revoked one gets there first: nobody has told the newcomer.
  connect(*nodes[2], *nodes[3]);
  pass(100ms);
  EXPECT_TRUE(connected(3, 2));
  connect(*nodes[3], *nodes[1]);
  pass(1s);
  EXPECT_EQ(nodes[3]->credentials->number(), 1u);
  EXPECT_FALSE(connected(3, 2));
}

TEST_F(CredentialsTest, WhoeverOfTwoKnowsLessLearnsWhenTheyConnect) {
  for (int round = 0; round < 2; ++round) {
    Node &knows = add(), &learns = add();
    ASSERT_TRUE(run(knows.credentials->adopt(list(static_cast<std::uint64_t>(round + 1), {}))));
    connect(round == 0 ? knows : learns, round == 0 ? learns : knows);
    pass(1s);
    EXPECT_EQ(learns.credentials->number(), static_cast<std::uint64_t>(round + 1));
  }
}

TEST_F(CredentialsTest, AnOlderListChangesNothing) {
  three();
  ASSERT_TRUE(run(nodes[0]->credentials->adopt(list(2, {{.peer = id(2)}}))));
  ASSERT_TRUE(run(nodes[0]->credentials->adopt(list(1, {})))) << "known already";
  pass(1s);
  EXPECT_EQ(nodes[0]->credentials->number(), 2u);
  EXPECT_EQ(nodes[1]->credentials->number(), 2u);
  EXPECT_FALSE(connected(1, 2));
}

TEST_F(CredentialsTest, WhatTheRootDidNotSignIsRefusedWhoeverBringsIt) {
  three();
  p2p::TestNetwork other;
  const auto forged = other.revocations(9, {{.peer = id(2)}});
  EXPECT_EQ(run(nodes[0]->credentials->adopt(forged->raw())).error().code(),
            ErrorCode::permission_denied);
  const auto given = run(nodes[1]->member.caller.call<GiveRevocations>(
      id(0), kCredentialsProtocol, GiveRevocations::Request{forged->raw()}));
  EXPECT_EQ(given.error().code(), ErrorCode::permission_denied);
  EXPECT_TRUE(connected(0, 2));
}

TEST_F(CredentialsTest, RevocationsAreOnTheDiskBeforeTheyCountAndAreThereAfterAPowerCut) {
  Node& node = add();
  ASSERT_TRUE(run(node.credentials->adopt(list(3, {{.peer = PeerId("12D3KooWSomebody")}}))));
  node.kv->crash();
  auto disk = std::move(node.kv);
  node.kv = std::make_unique<store::MemoryKv>(5ms);  // of the node that has ended
  Node& again = add(std::move(disk));
  EXPECT_EQ(again.credentials->number(), 3u);
  EXPECT_TRUE(again.member.admission.revoked(PeerId("12D3KooWSomebody")));
}

TEST_F(CredentialsTest, ListsThatBecomeLateAreNeverWrittenOverLaterOnes) {
  Node& node = add();
  runtime::TaskGroup at_once(loop);
  for (const std::uint64_t number : {4u, 2u, 5u, 1u, 3u})
    at_once.spawn([](Credentials& credentials, Bytes raw) -> Task<void> {
      EXPECT_TRUE(co_await credentials.adopt(std::move(raw)));
    }(*node.credentials, list(number, {})));
  run(at_once.join());
  EXPECT_EQ(node.credentials->number(), 5u);
  const auto kept = run(node.kv->get("revocations"));
  ASSERT_TRUE(kept && *kept);
  EXPECT_EQ((*p2p::Revocations::open(members.root().public_key(), **kept))->number(), 5u);
}

TEST_F(CredentialsTest, ANodeOutlivesItsFirstCertificateWithoutLosingAConnection) {
  three();
  const auto changes = std::make_shared<int>(0);  // handlers live as long as the host
  nodes[1]->member.host->on_peer([changes](const PeerId&, bool) { ++*changes; });
  pass(20 * 60min);  // the certificates of this network are valid for a day
  ASSERT_TRUE(run(nodes[0]->credentials->renew(certificate(0, 72 * kHourMs, {"monkey"}))));
  ASSERT_EQ(nodes[0]->kept.size(), 1u) << "the next start has to find it";
  pass(1s);
  EXPECT_EQ(nodes[1]->member.host->certificate_of(id(0))->roles,
            std::vector<std::string>{"monkey"});
  ASSERT_TRUE(run(nodes[1]->credentials->renew(certificate(1, 72 * kHourMs, {"hoarder"}))));
  EXPECT_EQ(*changes, 0);
  pass(10 * 60min);
  EXPECT_TRUE(connected(0, 1));
  EXPECT_TRUE(connected(1, 0));
  EXPECT_FALSE(connected(0, 2)) << "the third has expired";
  // What it signs now opens for the others.
  EXPECT_TRUE(nodes[1]->member.admission.check_any(nodes[0]->member.identity.certificate(),
                                                   loop.wall_unix_ms()));
}

TEST_F(CredentialsTest, AnExpiredNodeIsToldWhyAndComesBackWithARenewedCertificate) {
  three();
  for (std::size_t i : {0u, 1u})
    ASSERT_TRUE(run(nodes[i]->credentials->renew(certificate(i, 72 * kHourMs, {"monkey"}))));
  pass(25 * 60min);
  ASSERT_TRUE(nodes[2]->member.host->peers().empty());
  const std::string there = nodes[0]->member.host->addresses().at(0);
  const auto refused = run(nodes[2]->member.host->connect(there));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("has expired: renew it"));
  ASSERT_TRUE(run(nodes[2]->credentials->renew(certificate(2, 72 * kHourMs, {"monkey"}))));
  EXPECT_TRUE(run(nodes[2]->member.host->connect(there)));
}

TEST_F(CredentialsTest, AnyNodeBringsAnotherOnesCertificate) {
  three();
  const Bytes fresh = certificate(2, 72 * kHourMs, {"hoarder"});
  const auto taken = run(nodes[0]->credentials->deliver(fresh));
  ASSERT_TRUE(taken) << taken.error().to_string();
  EXPECT_EQ(*taken, id(2));
  EXPECT_EQ(nodes[2]->member.identity.certificate(), fresh);
  EXPECT_EQ(nodes[2]->kept, std::vector<Bytes>{fresh});
  // For somebody else it is refused there.
  const auto wrong = run(nodes[0]->member.caller.call<GiveCertificate>(
      id(1), kCredentialsProtocol, GiveCertificate::Request{fresh}));
  EXPECT_EQ(wrong.error().code(), ErrorCode::permission_denied);
}

TEST_F(CredentialsTest, AnOlderCertificateIsNotTakenBack) {
  three();
  const Bytes older = certificate(0, 72 * kHourMs, {"monkey", "hoarder", "tns"});
  pass(1s);
  const Bytes newer = certificate(0, 72 * kHourMs, {"monkey"});
  ASSERT_TRUE(run(nodes[0]->credentials->renew(newer)));
  ASSERT_TRUE(run(nodes[0]->credentials->renew(older)));
  EXPECT_EQ(nodes[0]->member.identity.certificate(), newer);
}

}  // namespace
}  // namespace tau::node
