// Who is let in, on real sockets: each kind of stranger, on each transport, dialing and dialed.
#include <gtest/gtest.h>

#include "codec/peer_id.h"
#include "p2p/host_conformance.h"
#include "p2p/libp2p/host.h"
#include "p2p/test_network.h"

namespace tau::p2p::libp2p {
namespace {

struct Transport {
  const char* name;
  const char* listen;
};

class AdmissionTest : public ::testing::TestWithParam<Transport> {
 protected:
  ~AdmissionTest() override {
    for (auto& host : hosts_) runtime::block_on(loop_, host->stop());
  }
  template <class T>
  T run(Task<T> task) {
    return runtime::block_on(loop_, std::move(task));
  }
  LibP2pHost& add(const crypto::KeyPair& key, Admission admission, bool relay = false,
                  const char* listen = GetParam().listen) {
    Options options{.key = key, .admission = std::move(admission)};
    options.listen = {listen};
    options.relay_server = relay;
    hosts_.push_back(std::make_unique<LibP2pHost>(loop_, runtime_, std::move(options), Logger()));
    const auto started = run(hosts_.back()->start());
    EXPECT_TRUE(started) << started.error().to_string();
    return *hosts_.back();
  }
  LibP2pHost& add_member(bool relay = false, const char* listen = GetParam().listen) {
    const auto key = network_.make_key();
    return add(key, network_.admission(codec::peer_id_of(key.public_key()), now()), relay, listen);
  }
  std::int64_t now() const { return loop_.wall_unix_ms(); }

  // `stranger` believes itself a member of the network (its own checks pass), and is none.
  void expect_stranger(LibP2pHost& stranger, const std::string& why) {
    LibP2pHost& member = add_member();
    for (auto [from, to] : {std::pair(&stranger, &member), std::pair(&member, &stranger)}) {
      const auto r = run(from->connect(to->addresses().at(0)));
      ASSERT_FALSE(r) << why;
      EXPECT_EQ(r.error().code(), ErrorCode::permission_denied) << r.error().to_string();
      if (from == &member)
        EXPECT_NE(r.error().message().find(why), std::string::npos) << r.error().to_string();
    }
    EXPECT_TRUE(member.peers().empty());
    EXPECT_TRUE(stranger.peers().empty());
    EXPECT_FALSE(run(stranger.open(member.id(), "/echo/1")));
  }

  // Makes `hidden` reachable through `relay`, and says where.
  std::string hide_behind(LibP2pHost& relay, LibP2pHost& hidden) {
    const std::string at = relay.addresses().at(0);
    EXPECT_TRUE(run(hidden.connect(at)));
    const auto reserved = run(runtime::with_deadline(
        kPatience, "reservation", [](LibP2pHost& h, std::string circuit) -> Task<Result<int>> {
          CO_TRY_STATUS(h.listen(circuit));
          co_return 0;
        }(hidden, at + "/p2p-circuit")));
    EXPECT_TRUE(reserved) << reserved.error().to_string();
    return at + "/p2p-circuit/p2p/" + hidden.id().str();
  }

  runtime::RealLoop loop_;
  Runtime runtime_;
  TestNetwork network_;
  std::vector<std::unique_ptr<LibP2pHost>> hosts_;
};

TEST_P(AdmissionTest, AMemberIsLetIn) {
  LibP2pHost &a = add_member(), &b = add_member();
  EXPECT_EQ(run(a.connect(b.addresses().at(0))).value(), b.id());
}

TEST_P(AdmissionTest, WithoutACertificateNobodyIsLetIn) {
  expect_stranger(add(network_.make_key(), Admission(network_.root.public_key(), {})),
                  "certificate of");
}

TEST_P(AdmissionTest, AMemberOfAnotherNetworkIsNotLetIn) {
  TestNetwork other;
  const auto key = network_.make_key();
  const PeerId id = codec::peer_id_of(key.public_key());
  const Bytes foreign = sign_certificate(other.root, other.certificate(id, now()));
  expect_stranger(add(key, Admission(network_.root.public_key(), foreign)), "not signed by");
}

TEST_P(AdmissionTest, ANetworkNameThatTheRootDidNotMeanIsNotLetIn) {
  const auto key = network_.make_key();
  Certificate c = network_.certificate(codec::peer_id_of(key.public_key()), now());
  c.network = "another";
  expect_stranger(
      add(key, Admission(network_.root.public_key(), sign_certificate(network_.root, c))),
      "for another network");
}

TEST_P(AdmissionTest, AnExpiredCertificateIsNotLetIn) {
  const auto key = network_.make_key();
  Certificate c = network_.certificate(codec::peer_id_of(key.public_key()), now());
  c.not_after_unix_ms = now() - 1;
  expect_stranger(
      add(key, Admission(network_.root.public_key(), sign_certificate(network_.root, c))),
      "has expired");
}

TEST_P(AdmissionTest, ACertificateFromTheFutureIsNotLetIn) {
  const auto key = network_.make_key();
  Certificate c = network_.certificate(codec::peer_id_of(key.public_key()), now());
  c.not_before_unix_ms = now() + 60'000;
  expect_stranger(
      add(key, Admission(network_.root.public_key(), sign_certificate(network_.root, c))),
      "not valid yet");
}

TEST_P(AdmissionTest, AStolenCertificateIsNotLetIn) {
  LibP2pHost& victim = add_member();
  const Bytes stolen = sign_certificate(network_.root, network_.certificate(victim.id(), now()));
  expect_stranger(add(network_.make_key(), Admission(network_.root.public_key(), stolen)),
                  "belongs to " + victim.id().str());
}

TEST_P(AdmissionTest, AConnectionEndsWhenItsCertificateExpires) {
  const auto key = network_.make_key();
  Certificate c = network_.certificate(codec::peer_id_of(key.public_key()), now());
  c.not_after_unix_ms = now() + 3000;  // a busy machine takes its time to connect
  LibP2pHost& guest =
      add(key, Admission(network_.root.public_key(), sign_certificate(network_.root, c)));
  LibP2pHost& member = add_member();
  ASSERT_TRUE(run(guest.connect(member.addresses().at(0))));
  const auto ended = run(until([&] { return guest.peers().empty(); }, "the end of the connection"));
  EXPECT_TRUE(ended) << ended.error().to_string();
  EXPECT_GE(now(), c.not_after_unix_ms);
  EXPECT_FALSE(run(guest.connect(member.addresses().at(0))));
}

TEST_P(AdmissionTest, TheWrongPeerAtTheRightAddressIsNotLetIn) {
  LibP2pHost &a = add_member(), &b = add_member(), &c = add_member();
  std::string address = b.addresses().at(0);
  address = address.substr(0, address.rfind("/p2p/")) + "/p2p/" + c.id().str();
  EXPECT_FALSE(run(a.connect(address)));
  EXPECT_TRUE(a.peers().empty());
}

TEST_P(AdmissionTest, MembersReachOneAnotherThroughARelay) {
  LibP2pHost& relay = add_member(true);
  LibP2pHost& hidden = add_member();
  const std::string through = hide_behind(relay, hidden);
  LibP2pHost& caller = add_member();
  hidden.handle("/echo/1", conformance::echo);
  const auto peer = run(caller.connect(through));
  ASSERT_TRUE(peer) << peer.error().to_string();
  EXPECT_EQ(*peer, hidden.id());
  EXPECT_TRUE(caller.certificate_of(hidden.id()));
  const Bytes data = conformance::pattern(100'000);
  const auto back = run(conformance::exchange(caller, hidden.id(), "/echo/1", data));
  ASSERT_TRUE(back) << back.error().to_string();
  EXPECT_TRUE(*back == data);
}

// A relay that lets in whom it likes cannot let them in elsewhere. It admits what `rogue` signed,
// and so does the caller have it; the hidden host admits what `network_` signed. Each shows what
// the next one wants to see, but for the last.
TEST_P(AdmissionTest, ARelayedConnectionIsCheckedFromEndToEnd) {
  TestNetwork rogue;
  const auto add_as = [&](const TestNetwork& admits, const TestNetwork& signed_by, bool relay) {
    const auto key = network_.make_key();
    const Certificate c = signed_by.certificate(codec::peer_id_of(key.public_key()), now());
    return &add(key, Admission(admits.root.public_key(), sign_certificate(signed_by.root, c)),
                relay);
  };
  LibP2pHost& relay = *add_as(rogue, network_, true);
  LibP2pHost& hidden = *add_as(network_, rogue, false);
  const std::string through = hide_behind(relay, hidden);
  LibP2pHost& stranger = *add_as(network_, rogue, false);
  ASSERT_TRUE(run(stranger.connect(relay.addresses().at(0))));
  const auto refused = run(stranger.connect(through));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::permission_denied) << refused.error().to_string();
  EXPECT_EQ(hidden.peers(), std::vector{relay.id()});
}

INSTANTIATE_TEST_SUITE_P(Over, AdmissionTest,
                         ::testing::Values(Transport{"Tcp", "/ip4/127.0.0.1/tcp/0"},
                                           Transport{"Tcp6", "/ip6/::1/tcp/0"},
                                           Transport{"Quic", "/ip4/127.0.0.1/udp/0/quic-v1"},
                                           Transport{"Quic6", "/ip6/::1/udp/0/quic-v1"}),
                         [](const auto& p) { return std::string(p.param.name); });

}  // namespace
}  // namespace tau::p2p::libp2p
