#include "node/mesh.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "codec/peer_id.h"
#include "command/members.h"
#include "p2p/simulated/network.h"

namespace tau::node {
namespace {

using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::Not;

class MeshTest : public ::testing::Test {
 protected:
  MeshTest()
      : members(loop, random, [this](const crypto::KeyPair& key, p2p::Admission admission) {
          return std::make_unique<p2p::simulated::SimulatedHost>(
              wires, codec::peer_id_of(key.public_key()), std::move(admission), Logger());
        }) {}
  ~MeshTest() override {
    for (auto& mesh : meshes) runtime::block_on(loop, mesh->stop());
    runtime::block_on(loop, members.stop());
  }
  // A node that joins by these others.
  command::Member& join(const std::vector<command::Member*>& by) {
    command::Member& member = members.add({"client"});
    EXPECT_TRUE(runtime::block_on(loop, member.host->start()));
    std::vector<std::string> bootstrap;
    for (command::Member* other : by) bootstrap.push_back(other->host->addresses().front());
    meshes.push_back(std::make_unique<Mesh>(loop, *member.host, member.router, member.caller,
                                            std::move(bootstrap), Logger()));
    EXPECT_TRUE(runtime::block_on(loop, meshes.back()->start()));
    return member;
  }
  static bool connected(const command::Member& a, const command::Member& b) {
    const auto peers = a.host->peers();
    return std::ranges::find(peers, b.host->id()) != peers.end();
  }
  bool wait_until(Duration limit, const std::function<bool()>& met) {
    const TimePoint until = loop.now() + limit;
    while (!met()) {
      if (loop.now() >= until) return false;
      (void)runtime::block_on(loop, runtime::sleep_for(10ms));
    }
    return true;
  }

  runtime::VirtualLoop loop;
  SeededRandom random{11};
  p2p::simulated::SimulatedNetwork wires{loop, random};
  command::Members members;
  std::vector<std::unique_ptr<Mesh>> meshes;
};

TEST_F(MeshTest, NodesThatKnowOneNodeMeetAllOthers) {
  auto& first = join({});
  std::vector<command::Member*> all = {&first};
  for (int i = 0; i < 6; ++i) all.push_back(&join({&first}));
  EXPECT_TRUE(wait_until(2s, [&] {
    return std::ranges::all_of(
        all, [&](auto* member) { return member->host->peers().size() == all.size() - 1; });
  }));
}

TEST_F(MeshTest, AConnectionThatBreaksIsMadeAgain) {
  auto& first = join({});
  auto& second = join({&first});
  auto& third = join({&first});
  ASSERT_TRUE(wait_until(2s, [&] { return connected(second, third); }));
  second.host->disconnect(third.host->id());
  ASSERT_TRUE(wait_until(2s, [&] { return !connected(second, third); }));
  EXPECT_TRUE(wait_until(5s, [&] { return connected(second, third); }));
}

TEST_F(MeshTest, ABootstrapNodeThatIsReachedLateIsJoined) {
  command::Member& late = members.add({"client"});
  ASSERT_TRUE(runtime::block_on(loop, late.host->start()));
  wires.partition({{late.host->id()}});
  auto& early = join({&late});
  (void)runtime::block_on(loop, runtime::sleep_for(3s));
  EXPECT_FALSE(connected(early, late));
  wires.heal();
  EXPECT_TRUE(wait_until(40s, [&] { return connected(early, late); }));
}

TEST_F(MeshTest, ALargeNetworkIsNoFullMesh) {
  constexpr std::size_t kNodes = 150;
  std::vector<command::Member*> all = {&join({})};
  while (all.size() < kNodes) all.push_back(&join({all[random.below(all.size())]}));
  const auto most = [&] {
    std::size_t found = 0;
    for (auto* member : all) found = std::max(found, member->host->peers().size());
    return found;
  };
  // Lookups and introductions have made more connections than stay.
  ASSERT_TRUE(wait_until(5min, [&] { return most() <= kConnectionsKept; })) << most();
  (void)runtime::block_on(loop, runtime::sleep_for(2min));
  EXPECT_LE(most(), kConnectionsKept);
  // In one piece.
  std::set<PeerId> seen = {all.front()->host->id()};
  std::vector<PeerId> next(seen.begin(), seen.end());
  while (!next.empty()) {
    const PeerId id = next.back();
    next.pop_back();
    const auto at = std::ranges::find(all, id, [](auto* member) { return member->host->id(); });
    ASSERT_NE(at, all.end());
    EXPECT_GE((*at)->host->peers().size(), kNeighbours);
    for (const PeerId& peer : (*at)->host->peers())
      if (seen.insert(peer).second) next.push_back(peer);
  }
  EXPECT_EQ(seen.size(), kNodes);
  // Anybody reaches anybody.
  const auto stranger = std::ranges::find_if(all, [&](auto* member) {
    return member != all.front() && !connected(*all.front(), *member);
  });
  ASSERT_NE(stranger, all.end());
  EXPECT_TRUE(all.front()->host->reachable((*stranger)->host->id()));
  const auto answer = runtime::block_on(
      loop, all.front()->caller.call<Introduce>((*stranger)->host->id(), kMeshProtocol, {}));
  EXPECT_TRUE(answer) << answer.error().to_string();
}

TEST_F(MeshTest, AddressesThatAreNotTheNodesOwnAreNotPassedOn) {
  auto& first = join({});
  auto& honest = join({&first});
  ASSERT_TRUE(wait_until(2s, [&] { return connected(first, honest); }));
  command::Member& liar = members.add({"client"});
  ASSERT_TRUE(runtime::block_on(loop, liar.host->start()));
  ASSERT_TRUE(runtime::block_on(loop, liar.host->connect(first.host->addresses().front())));
  Introduce::Request lies;
  lies.addresses = {honest.host->addresses().front(), "nonsense", std::string(5000, '/')};
  const auto answer = runtime::block_on(
      loop, liar.caller.call<Introduce>(first.host->id(), kMeshProtocol, std::move(lies)));
  ASSERT_TRUE(answer) << answer.error().to_string();
  const auto asked =
      runtime::block_on(loop, honest.caller.call<Introduce>(first.host->id(), kMeshProtocol, {}));
  ASSERT_TRUE(asked);
  for (const KnownNode& node : asked->nodes) EXPECT_NE(node.peer, liar.host->id());
}

// {"addresses": ["/memory/1"]}: a map of one, as DAG-CBOR says (RFC 8949, deterministic).
TEST(MeshWire, TheRequestIsDagCborOfItsFields) {
  EXPECT_EQ(to_hex(codec::to_cbor(Introduce::Request{{"/memory/1"}})),
            "a1"
            "69"
            "616464726573736573"
            "81"
            "69"
            "2f6d656d6f72792f31");
}

}  // namespace
}  // namespace tau::node
