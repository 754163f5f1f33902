#include "services/tns/chain.h"

#include <gmock/gmock.h>

#include "services/tns/test_world.h"

namespace tau::tns {
namespace {

using namespace std::chrono_literals;

// Who signs, and what they sign.
class Proofs : public testing::Test {
 protected:
  Pointer pointer_of(const Town::Chain& c) {
    Pointer p;
    p.project = c.receipt.project;
    p.branch = c.receipt.branch;
    p.seq = c.receipt.seq;
    p.fence = c.job.fence;
    p.deployment = c.receipt.deployment;
    p.hosts = c.receipt.hosts;
    return p;
  }
  Proof proof_of(const Town::Chain& c) {
    const Publish::Request r = t.request(c);
    return {r.job, r.head};
  }
  patrick::NumberedRollback order(const Town::Chain& to, std::uint64_t seq) {
    const auto r = t.registration(t.owner, "hello");
    const patrick::RollbackOrder order{
        r.project(), "main", seq - 1, to.receipt.seq, to.receipt.deployment, w.loop.wall_unix_ms()};
    return {codec::sign_record(t.owner, order), codec::sign_record(t.owner, r), seq};
  }
  Result<Facts> read(const Proof& proof) {
    return ProofReader(t.substrate.admission).read(codec::to_cbor(proof));
  }
  std::string refused(const Proof& proof) {
    const auto facts = read(proof);
    return facts ? "proven" : facts.error().message();
  }
  // Taken back by the network's root, in the eyes of the substrate.
  void revoke(const PeerId& peer, std::vector<std::string> roles) {
    p2p::RevocationList list;
    list.network = t.substrate.admission.network();
    list.number = 1;
    list.entries.push_back({peer, {}, std::move(roles), "test"});
    const auto raw = p2p::sign_revocations(t.members.root(), list);
    ASSERT_TRUE(raw);
    const auto opened = p2p::Revocations::open(t.substrate.admission.root(), *raw);
    ASSERT_TRUE(opened);
    ASSERT_TRUE(t.substrate.admission.adopt(*opened));
  }

  World w;
  Town& t = w.town;
};

TEST_F(Proofs, OfAPushShowThePointerAndNoOther) {
  auto c = t.chain(7, kHello);
  c.job.fence = 3;
  c.receipt.compiled = codec::Cid::of(codec::ContentType::dag_cbor, as_bytes("machine code"));
  const auto facts = read(proof_of(c));
  ASSERT_TRUE(facts) << facts.error().to_string();
  Pointer p = pointer_of(c);
  p.compiled = c.receipt.compiled;
  p.moved_unix_ms = 5;  // tns's word
  EXPECT_TRUE(agrees(*facts, p));
  const auto other = [&](auto change) {
    Pointer changed = p;
    change(changed);
    return !agrees(*facts, changed);
  };
  EXPECT_TRUE(other([](Pointer& q) { q.project = ProjectId("p"); }));
  EXPECT_TRUE(other([](Pointer& q) { q.branch = "dev"; }));
  EXPECT_TRUE(other([](Pointer& q) { q.seq = 8; }));
  EXPECT_TRUE(other([](Pointer& q) { q.fence = 4; }));
  EXPECT_TRUE(other([](Pointer& q) { q.push = 2; }));
  EXPECT_TRUE(other([](Pointer& q) { q.hosts.emplace_back("www.example.com"); }));
  EXPECT_TRUE(other([](Pointer& q) { q.hosts.clear(); }));
  EXPECT_TRUE(other([](Pointer& q) { q.compiled.reset(); }));
  EXPECT_TRUE(other([](Pointer& q) {
    q.deployment = codec::Cid::of(codec::ContentType::dag_cbor, as_bytes("mine"));
  }));
}

TEST_F(Proofs, NeedTheRightKeysRolesAndWords) {
  const auto good = t.chain(1, kHello);
  const Proof proof = proof_of(good);
  ASSERT_EQ(refused(proof), "proven");
  const auto with = [&](auto change) {
    auto c = good;
    change(c);
    return refused({t.patrick.identity.sign(c.job), t.request(c).head});
  };
  using testing::HasSubstr;
  EXPECT_THAT(refused({t.monkey.identity.sign(good.job), proof.head}), HasSubstr("role patrick"));
  EXPECT_THAT(refused({proof.job, t.tns.identity.sign(monkey::ReceiptHead{})}),
              HasSubstr("role monkey"));
  EXPECT_THAT(refused({proof.job}), HasSubstr("missing"));
  EXPECT_THAT(refused({std::nullopt, proof.head}), HasSubstr("missing"));
  EXPECT_THAT(refused({}), HasSubstr("missing"));
  EXPECT_NE(refused({proof.head, proof.job}), "proven");
  EXPECT_THAT(with([](auto& c) { c.receipt.seq = 2; }), HasSubstr("not what the job asks for"));
  EXPECT_THAT(with([](auto& c) { c.receipt.branch = "dev"; }), HasSubstr("not what the job"));
  EXPECT_THAT(with([](auto& c) { c.receipt.job = JobId("x"); }), HasSubstr("not what the job"));
  EXPECT_THAT(with([](auto& c) { c.receipt.project = ProjectId("p"); }), HasSubstr("not what"));
  EXPECT_THAT(with([](auto& c) { c.job.project = c.receipt.project = ProjectId("p"); }),
              HasSubstr("another project than its registration"));
  const auto thief = crypto::KeyPair::generate(w.random);
  const auto r = t.registration(t.owner, "hello");
  EXPECT_NE(with([&](auto& c) { c.job.registration = codec::sign_record(thief, r); }), "proven")
      << "not the owner's key";
  EXPECT_NE(with([&](auto& c) {
              c.job.registration = codec::sign_record(thief, t.registration(thief, "hello"));
            }),
            "proven")
      << "another project's owner";
  // A whole network of the thief's own.
  World elsewhere;
  EXPECT_NE(refused({elsewhere.town.patrick.identity.sign(good.job),
                     elsewhere.town.monkey.identity.sign(monkey::ReceiptHead{})}),
            "proven");
}

TEST_F(Proofs, AnyChangedByteIsNoticed) {
  const auto c = t.chain(1, kHello);
  Proof proof = proof_of(c);
  proof.rollback = t.patrick.identity.sign(order(c, 2));
  const Bytes good = codec::to_cbor(proof);
  ASSERT_LT(good.size(), 4096u);
  ProofReader reader(t.substrate.admission);
  ASSERT_TRUE(reader.read(good));
  const Facts push = *read(proof_of(c));
  for (std::size_t i = 0; i < good.size(); ++i) {
    Bytes bad = good;
    bad[i] ^= static_cast<std::uint8_t>(1 + w.random.below(255));
    const auto facts = reader.read(bad);
    // The word "rollback" itself: what is left proves the push, which was signed, too.
    if (facts) EXPECT_TRUE(facts->version() == push.version() && !facts->push) << "byte " << i;
    if (i % 16 == 0) EXPECT_FALSE(reader.read(BytesView(good).first(i))) << i;
  }
  EXPECT_FALSE(ProofReader(t.substrate.admission).read(Bytes(kProofBytesMax + 1)));
}

TEST_F(Proofs, OutliveTheCertificatesButAreFromTheirTime) {
  auto c = t.chain(1, kHello);
  const Proof proof = proof_of(c);
  t.down(t.nodes.front());              // it would do something every second of the month
  t.pass(std::chrono::hours(24 * 30));  // certificates of members are for a day
  EXPECT_FALSE(t.substrate.admission.check_any(proof.job->certificate, w.loop.wall_unix_ms()));
  EXPECT_EQ(refused(proof), "proven");
  c.receipt.built_unix_ms = w.loop.wall_unix_ms();  // signed with a key that is none any more
  EXPECT_THAT(refused(proof_of(c)), testing::HasSubstr("not valid when it signed"));
}

TEST_F(Proofs, SayWhenWhoSignedIsNoMemberAnyMore) {
  const auto c = t.chain(1, kHello);
  ProofReader reader(t.substrate.admission);
  const Bytes proof = codec::to_cbor(proof_of(c));
  ASSERT_FALSE(reader.read(proof)->revoked);
  revoke(t.monkey.identity.id(), {"monkey"});
  ASSERT_TRUE(reader.read(proof));
  EXPECT_TRUE(reader.read(proof)->revoked) << "the certificate was known by then";
}

TEST_F(Proofs, OfAStepBackAreTheOwnersOrderAndThePushBefore) {
  const auto c = t.chain(1, kHello);
  Proof proof = proof_of(c);
  proof.rollback = t.patrick.identity.sign(order(c, 5));
  const auto facts = read(proof);
  ASSERT_TRUE(facts) << facts.error().to_string();
  Pointer p = pointer_of(c);
  EXPECT_FALSE(agrees(*facts, p)) << "it stands elsewhere now";
  p.seq = 5;
  p.push = 1;
  EXPECT_TRUE(agrees(*facts, p));
  p.hosts.emplace_back("www.example.com");
  EXPECT_FALSE(agrees(*facts, p));

  proof.rollback = t.patrick.identity.sign(order(t.chain(2, kHello), 5));
  EXPECT_THAT(refused(proof), testing::HasSubstr("another deployment"));
  proof.rollback = t.monkey.identity.sign(order(c, 5));
  EXPECT_THAT(refused(proof), testing::HasSubstr("role patrick"));
  auto forged = order(c, 5);
  forged.order =
      codec::sign_record(crypto::KeyPair::generate(w.random),
                         patrick::RollbackOrder{p.project, "main", 4, 1, p.deployment, 1});
  proof.rollback = t.patrick.identity.sign(forged);
  EXPECT_NE(refused(proof), "proven");

  // The push was published before proofs were kept.
  const auto alone = read({std::nullopt, std::nullopt, t.patrick.identity.sign(order(c, 5))});
  ASSERT_TRUE(alone);
  EXPECT_FALSE(alone->hosts) << "an order names no hosts";
  EXPECT_TRUE(agrees(*alone, p));
  p.deployment = t.chain(2, kHello).receipt.deployment;
  EXPECT_FALSE(agrees(*alone, p));
}

}  // namespace
}  // namespace tau::tns
