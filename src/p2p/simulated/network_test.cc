#include "p2p/simulated/network.h"

#include "p2p/host_conformance.h"
#include "p2p/test_network.h"

namespace tau::p2p::simulated {
namespace {

class World {
 public:
  ~World() {
    for (auto& host : hosts_) runtime::block_on(loop_, host->stop());
  }
  runtime::Loop& loop() { return loop_; }
  SimulatedHost& add_host(std::string_view name = "") {
    const PeerId id = codec::peer_id_of(keys_.make_key().public_key());
    return add(id, keys_.admission(id, loop_.wall_unix_ms(), name));
  }
  SimulatedHost& add(const PeerId& id, Admission admission) {
    admissions_.emplace(id, admission);
    hosts_.push_back(std::make_unique<SimulatedHost>(network_, id, std::move(admission), Logger()));
    EXPECT_TRUE(runtime::block_on(loop_, hosts_.back()->start()));
    return *hosts_.back();
  }
  SimulatedNetwork& network() { return network_; }
  TestNetwork& keys() { return keys_; }
  Admission admission_of(const PeerId& id) { return admissions_.at(id); }

 private:
  runtime::VirtualLoop loop_;
  SeededRandom random_{7};
  TestNetwork keys_;
  SimulatedNetwork network_{loop_, random_};
  std::map<PeerId, Admission> admissions_;
  std::vector<std::unique_ptr<SimulatedHost>> hosts_;
};

class SimulatedNetworkTest : public ::testing::Test {
 protected:
  World world_;
  template <class T>
  T run(Task<T> task) {
    return runtime::block_on(world_.loop(), std::move(task));
  }
  void wait(Duration d) { ASSERT_TRUE(run(runtime::sleep_for(d))); }
  PeerId connect(Host& a, Host& b) {
    const auto r = run(a.connect(b.addresses().at(0)));
    EXPECT_TRUE(r) << r.error().to_string();
    wait(100ms);
    return b.id();
  }
};

TEST_F(SimulatedNetworkTest, AMessageTakesItsLatency) {
  Host &a = world_.add_host(), &b = world_.add_host();
  world_.network().set_latency(10ms, Duration{});
  world_.network().set_latency(a.id(), b.id(), 50ms);
  const auto start = world_.loop().now();
  ASSERT_TRUE(run(a.connect(b.addresses().at(0))));
  EXPECT_EQ(world_.loop().now() - start, 100ms);
}

TEST_F(SimulatedNetworkTest, ABlockedWayIsSilentWhileTheOtherIsOpenUntilBothGiveUp) {
  Host &a = world_.add_host(), &b = world_.add_host();
  connect(a, b);
  int heard_by_a = 0, heard_by_b = 0;
  a.subscribe("t", [&](const PeerId&, BytesView) { ++heard_by_a; });
  b.subscribe("t", [&](const PeerId&, BytesView) { ++heard_by_b; });
  wait(1s);
  world_.network().block(a.id(), b.id());
  ASSERT_TRUE(a.publish("t", {1}));
  ASSERT_TRUE(b.publish("t", {2}));
  wait(1s);
  EXPECT_EQ(heard_by_a, 1);
  EXPECT_EQ(heard_by_b, 0);
  world_.network().unblock(a.id(), b.id());
  wait(1s);
  EXPECT_EQ(heard_by_b, 1);
  world_.network().block(a.id(), b.id());
  wait(SimulatedNetwork::kSilenceLimit + 1s);
  EXPECT_TRUE(a.peers().empty());
  EXPECT_TRUE(b.peers().empty());
}

TEST_F(SimulatedNetworkTest, GossipInBadWeatherIsLostDoubledAndLate) {
  Host &a = world_.add_host(), &b = world_.add_host();
  connect(a, b);
  std::vector<std::uint8_t> heard;
  b.subscribe("t", [&](const PeerId&, BytesView data) { heard.push_back(data[0]); });
  a.subscribe("t", [](const PeerId&, BytesView) {});
  wait(1s);
  world_.network().set_weather({0, 200, 200, 200});
  for (std::uint8_t i = 0; i < 200; ++i) {
    ASSERT_TRUE(a.publish("t", {i}));
    wait(10ms);
  }
  wait(2s);
  EXPECT_GT(heard.size(), 100u);
  EXPECT_LT(heard.size(), 195u);  // what comes twice is heard once
  EXPECT_FALSE(std::ranges::is_sorted(heard));
}

TEST_F(SimulatedNetworkTest, BehindAPartitionThingsWaitAndArriveWhenItHeals) {
  Host &a = world_.add_host(), &b = world_.add_host();
  connect(a, b);
  b.handle("/echo/1", conformance::echo);
  auto stream = run(a.open(b.id(), "/echo/1"));
  ASSERT_TRUE(stream);
  world_.network().partition({{a.id()}, {b.id()}});
  const Bytes hello = to_bytes("hello");
  ASSERT_TRUE(run((*stream)->write(hello)));
  wait(10s);
  EXPECT_EQ(a.peers().size(), 1u);
  world_.network().heal();
  Bytes back(5);
  EXPECT_TRUE(run(read_exactly(**stream, back)));
  EXPECT_EQ(back, hello);
}

TEST_F(SimulatedNetworkTest, ALongPartitionEndsConnectionsAndDialsFailUntilItHeals) {
  Host &a = world_.add_host(), &b = world_.add_host(), &c = world_.add_host();
  const std::string address = b.addresses().at(0);
  connect(a, b);
  connect(a, c);
  world_.network().partition({{b.id()}});
  wait(30s);
  EXPECT_EQ(a.peers(), std::vector{c.id()});
  EXPECT_TRUE(b.peers().empty());
  EXPECT_EQ(run(a.connect(address)).error().code(), ErrorCode::unavailable);
  world_.network().heal();
  EXPECT_TRUE(run(a.connect(address)));
}

TEST_F(SimulatedNetworkTest, AKilledHostIsGoneForItsPeersAndMayComeBackAtItsAddress) {
  Host& a = world_.add_host();
  const PeerId id = codec::peer_id_of(world_.keys().make_key().public_key());
  const Admission admission = world_.keys().admission(id, world_.loop().wall_unix_ms());
  Host& b = world_.add(id, admission);
  const std::string address = b.addresses().at(0);
  connect(a, b);
  b.handle("/echo/1", conformance::echo);
  auto stream = run(a.open(id, "/echo/1"));
  ASSERT_TRUE(stream);
  world_.network().kill(id);
  Bytes chunk(1);
  EXPECT_FALSE(run((*stream)->read(chunk)));
  EXPECT_TRUE(a.peers().empty());
  EXPECT_EQ(run(a.connect(address)).error().code(), ErrorCode::unavailable);
  run(b.stop());
  world_.add(id, admission);
  EXPECT_EQ(run(a.connect(address)).value(), id);
}

TEST_F(SimulatedNetworkTest, GossipTravelsOverSubscribersThatAreNotConnected) {
  Host &a = world_.add_host(), &b = world_.add_host(), &c = world_.add_host();
  connect(a, b);
  connect(b, c);
  const auto heard = std::make_shared<int>(0);
  for (Host* host : {&a, &b, &c})
    host->subscribe("t", [heard](const PeerId&, BytesView) { ++*heard; });
  wait(1s);
  ASSERT_TRUE(a.publish("t", to_bytes("x")));
  wait(1s);
  EXPECT_EQ(*heard, 2);
}

TEST_F(SimulatedNetworkTest, AMeshHasSixToTwelveAndGossipReachesAllOverIt) {
  std::vector<SimulatedHost*> hosts;
  for (int i = 0; i < 40; ++i) hosts.push_back(&world_.add_host());
  for (std::size_t i = 0; i < hosts.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) connect(*hosts[i], *hosts[j]);
  const auto heard = std::make_shared<int>(0);
  for (Host* host : hosts) host->subscribe("t", [heard](const PeerId&, BytesView) { ++*heard; });
  wait(30s);
  for (const SimulatedHost* host : hosts) {
    EXPECT_GE(host->gossip().mesh_of(0).size(), 5u);
    EXPECT_LE(host->gossip().mesh_of(0).size(), 12u);
  }
  const auto before = world_.network().counts()[static_cast<std::size_t>(Kind::gossip)];
  ASSERT_TRUE(hosts[0]->publish("t", Bytes(100)));
  wait(10s);
  EXPECT_EQ(*heard, 39);
  const auto after = world_.network().counts()[static_cast<std::size_t>(Kind::gossip)];
  // Not each to each, and what is not passed on is told of.
  EXPECT_LT(after.messages - before.messages, 40u * 40);
  EXPECT_GT(after.messages - before.messages, 40u * 6);
}

TEST_F(SimulatedNetworkTest, WhatTheMeshLostIsAskedForWhenItIsToldOf) {
  std::vector<SimulatedHost*> hosts;
  for (int i = 0; i < 30; ++i) hosts.push_back(&world_.add_host());
  for (std::size_t i = 0; i < hosts.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) connect(*hosts[i], *hosts[j]);
  const auto heard = std::make_shared<int>(0);
  for (Host* host : hosts) host->subscribe("t", [heard](const PeerId&, BytesView) { ++*heard; });
  wait(30s);
  // One hop in seven works; who is told of it while it is fresh, by neighbours outside of its mesh,
  // asks.
  int at_once = 0;
  for (int i = 0; i < 20; ++i) {
    world_.network().set_weather({0, 850, 0, 0});
    const int before = *heard;
    ASSERT_TRUE(hosts[0]->publish("t", Bytes(100)));
    wait(100ms);
    at_once += *heard - before;
    world_.network().set_weather({});
    wait(5s);
  }
  EXPECT_LT(at_once, 20 * 29);
  EXPECT_GT(*heard, at_once);
}

TEST_F(SimulatedNetworkTest, ALookupFindsItsWayOverHostsThatKnowOnlySome) {
  std::vector<SimulatedHost*> hosts;
  for (int i = 0; i < 60; ++i) {
    hosts.push_back(&world_.add_host());
    if (i > 0) connect(*hosts.back(), *hosts[static_cast<std::size_t>(i - 1)]);
  }
  wait(60s);
  const Bytes key = to_bytes("a multihash");
  ASSERT_TRUE(run(hosts[3]->provide(key)));
  for (const std::size_t at : {0u, 20u, 59u}) {
    const auto found = run(hosts[at]->find_providers(key, 5));
    ASSERT_TRUE(found);
    EXPECT_EQ(*found, std::vector{hosts[3]->id()});
    EXPECT_LE(hosts[at]->kademlia().queries(), 1u);
  }
  // Records are at the closest, not everywhere.
  std::size_t remembering = 0;
  for (const SimulatedHost* host : hosts)
    remembering += host->kademlia().remembered() > host->kademlia().known() ? 1 : 0;
  EXPECT_LE(remembering, Kademlia::kBucketSize + 1);
}

TEST_F(SimulatedNetworkTest, StrangersAreNotLetIn) {
  Host& member = world_.add_host();
  TestNetwork other;
  const PeerId id = codec::peer_id_of(other.make_key().public_key());
  const Bytes foreign =
      sign_certificate(other.root, other.certificate(id, world_.loop().wall_unix_ms()));
  Host& stranger = world_.add(id, Admission(world_.keys().root.public_key(), foreign));
  for (auto [from, to] : {std::pair(&stranger, &member), std::pair(&member, &stranger)})
    EXPECT_EQ(run(from->connect(to->addresses().at(0))).error().code(),
              ErrorCode::permission_denied);
  EXPECT_TRUE(member.peers().empty());
}

}  // namespace
}  // namespace tau::p2p::simulated

namespace tau::p2p {
using SimulatedWorld = simulated::World;
INSTANTIATE_TYPED_TEST_SUITE_P(Simulated, HostConformance, SimulatedWorld);
}  // namespace tau::p2p
