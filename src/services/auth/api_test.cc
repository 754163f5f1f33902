#include "services/auth/api.h"

#include <gtest/gtest.h>

namespace tau::auth {
namespace {

Registration sample(const crypto::KeyPair& owner) {
  Registration r;
  r.genesis = {"hello", owner.public_key().raw(), {1, 2, 3}};
  r.label = "hello";
  r.repositories = {{"config", RepositoryKind::config, "local"},
                    {"code", RepositoryKind::code, "local"}};
  r.made_unix_ms = 1'700'000'000'000;
  return r;
}

// The wire form is a promise: these bytes were checked by hand against RFC 8949 (deterministic map
// order, shortest integers).
TEST(AuthApi, BytesOnTheWireStayAsTheyAre) {
  const Repository repository{"config", RepositoryKind::config, "local"};
  EXPECT_EQ(to_hex(codec::to_cbor(repository)),
            "a3646b696e6401646e616d6566636f6e6669676870726f7669646572656c6f63616c");
  EXPECT_EQ(to_hex(codec::to_cbor(GetProject::Request{ProjectId("p")})), "a16770726f6a6563746170");
  EXPECT_EQ(to_hex(codec::to_cbor(ListProjects::Request{ProjectId("p"), 100})),
            "a26561667465726170656c696d69741864");
  EXPECT_EQ(to_hex(codec::to_cbor(Register::Request{{{0x01}, {0x02}}})),
            "a16c726567697374726174696f6ea264626f64794101697369676e61747572654102");
}

TEST(Registration, IsBelievedOnlyWithItsOwnersSignature) {
  SeededRandom random(1);
  const auto owner = crypto::KeyPair::generate(random), thief = crypto::KeyPair::generate(random);
  const auto record = sample(owner);
  EXPECT_EQ(open_registration(codec::sign_record(owner, record))->project(), record.project());
  EXPECT_EQ(open_registration(codec::sign_record(thief, record)).error().code(),
            ErrorCode::permission_denied);
}

TEST(Registration, IsBounded) {
  SeededRandom random(1);
  const auto owner = crypto::KeyPair::generate(random);
  auto refused = [&](auto change) {
    auto record = sample(owner);
    change(record);
    return !open_registration(codec::sign_record(owner, record));
  };
  EXPECT_FALSE(refused([](auto&) {}));
  EXPECT_TRUE(refused([](auto& r) { r.label = "Hello"; }));
  EXPECT_TRUE(refused([](auto& r) { r.label = "-a"; }));
  EXPECT_TRUE(refused([](auto& r) { r.genesis.name.clear(); }));
  EXPECT_TRUE(refused([](auto& r) { r.repositories.clear(); }));
  EXPECT_TRUE(refused([](auto& r) { r.repositories[1].name = "config"; }));
  EXPECT_TRUE(refused([](auto& r) { r.repositories[0].kind = static_cast<RepositoryKind>(9); }));
  EXPECT_TRUE(refused([](auto& r) { r.repositories.resize(65, r.repositories[0]); }));
}

TEST(ProjectId, CommitsToTheOwner) {
  SeededRandom random(1);
  auto a = sample(crypto::KeyPair::generate(random)), b = sample(crypto::KeyPair::generate(random));
  EXPECT_NE(a.project(), b.project());
  EXPECT_TRUE(codec::Cid::parse(a.project().str()));
}

}  // namespace
}  // namespace tau::auth
