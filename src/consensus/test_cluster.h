// For tests: machines of a simulated network whose groups keep a journal.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "codec/peer_id.h"
#include "consensus/group.h"
#include "p2p/simulated/network.h"
#include "store/memory/memory_kv.h"

namespace tau::consensus {

using namespace std::chrono_literals;
using runtime::block_on;
using runtime::VirtualLoop;

// Keeps what it was told, in order.
class Journal final : public StateMachine {
 public:
  Bytes apply(BytesView command) override {
    lines += std::string(as_text(command)) + ";";
    ++count;
    return to_bytes(std::string_view(std::to_string(count)));
  }
  Bytes snapshot() const override {
    return to_bytes(std::string_view(std::to_string(count) + "|" + lines));
  }
  Status restore(BytesView snapshot) override {
    const std::string text = to_text(snapshot);
    const auto bar = text.find('|');
    if (bar == std::string::npos) return fail(ErrorCode::data_loss, "no journal");
    count = std::stoi(text);
    lines = text.substr(bar + 1);
    return {};
  }
  int count = 0;
  std::string lines;
};

inline constexpr std::int64_t kYear = 31'536'000'000;

struct Network {
  Network() : root(crypto::KeyPair::generate(random)) {}
  p2p::Admission admit(const crypto::KeyPair& key, std::vector<std::string> roles) {
    p2p::Certificate c;
    c.network = p2p::Admission(root.public_key(), {}).network();
    c.peer = codec::peer_id_of(key.public_key());
    c.roles = std::move(roles);
    c.not_after_unix_ms = loop.wall_unix_ms() + kYear;
    return p2p::Admission(root.public_key(), p2p::sign_certificate(root, c));
  }
  VirtualLoop loop;
  SeededRandom random{7};
  p2p::simulated::SimulatedNetwork wires{loop, random};
  crypto::KeyPair root;
};

// One machine: its disk outlives its groups.
struct Member {
  Member(Network& n, Duration sync = 2ms, std::string role = "tns")
      : net(n),
        key(crypto::KeyPair::generate(n.random)),
        kv(sync),
        host(n.wires, codec::peer_id_of(key.public_key()), n.admit(key, {std::move(role)}),
             Logger()) {
    EXPECT_TRUE(block_on(net.loop, host.start()));
  }
  ~Member() {
    down();
    block_on(net.loop, host.stop());
  }
  Status up(std::vector<PeerId> voters) {
    machine = std::make_unique<Journal>();
    groups = std::make_unique<Groups>(net.loop, host, net.random, log,
                                      Groups::Options{.name = "test", .role = "tns"});
    EXPECT_TRUE(groups->start());
    Group::Options options;
    options.name = "test";
    options.voters = std::move(voters);
    options.snapshot_after = snapshot_after;
    options.keep = 16;
    group = std::make_unique<Group>(*groups, kv, options, *machine);
    return block_on(net.loop, group->start());
  }
  void down() {
    if (group) block_on(net.loop, group->stop());
    group.reset();
    if (groups) block_on(net.loop, groups->stop());
    groups.reset();
  }
  std::string propose(std::string text) {
    auto r = block_on(net.loop, group->propose(to_bytes(std::string_view(text))));
    return r ? to_text(*r) : r.error().to_string();
  }
  Network& net;
  crypto::KeyPair key;
  store::MemoryKv kv;
  p2p::simulated::SimulatedHost host;
  std::uint32_t snapshot_after = 1024;
  Logger log;
  std::unique_ptr<Journal> machine;
  std::unique_ptr<Groups> groups;
  std::unique_ptr<Group> group;
};

// Several machines, each connected to each.
struct Cluster {
  explicit Cluster(std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
      add();
      voters.push_back(members[i]->host.id());
    }
  }
  Member& add() {
    members.push_back(std::make_unique<Member>(net));
    connect();
    return *members.back();
  }
  void connect() {
    for (auto& m : members)
      for (auto& other : members)
        if (m != other) (void)block_on(net.loop, m->host.connect(other->host.addresses()[0]));
  }
  void up_all() {
    for (auto& m : members) ASSERT_TRUE(m->up(voters));
  }
  void run_for(Duration duration) { (void)block_on(net.loop, runtime::sleep_for(duration)); }
  template <class F>
  bool wait_until(F condition, Duration limit = 20s) {
    for (const auto until = net.loop.now() + limit; net.loop.now() < until; run_for(10ms))
      if (condition()) return true;
    return false;
  }
  // The one that a majority of its voters takes for the leader, and itself does.
  Member* leader(Duration limit = 20s) {
    Member* found = nullptr;
    (void)wait_until(
        [&] {
          for (auto& m : members) {
            if (!m->group || !m->group->is_leader()) continue;
            const auto known = m->group->members().voters;
            std::size_t agree = 0;
            for (auto& other : members)
              agree += other->group && other->group->leader() == m->host.id() &&
                       std::ranges::binary_search(known, other->host.id());
            if (agree > known.size() / 2) found = m.get();
          }
          return found != nullptr;
        },
        limit);
    return found;
  }
  Member* follower() {
    Member* l = leader();
    for (auto& m : members)
      if (m.get() != l && m->group) return m.get();
    return nullptr;
  }
  bool settle(int count, Duration limit = 10s) {
    return wait_until(
        [&] {
          return std::ranges::all_of(
              members, [&](const auto& m) { return !m->group || m->machine->count == count; });
        },
        limit);
  }
  Network net;
  std::vector<std::unique_ptr<Member>> members;
  std::vector<PeerId> voters;
};

}  // namespace tau::consensus
