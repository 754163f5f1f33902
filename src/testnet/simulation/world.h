// A network of simulated machines, each with one node that runs the product's services unchanged,
// in virtual time, from one seed.
//
// Owns machines and nodes. Loop thread only. What starts is found by its bootstrap nodes and
// connects by itself, as in a real network; nothing here helps a node.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "crypto/ed25519.h"
#include "node/node.h"
#include "testnet/simulation/machine.h"

namespace tau::testnet::simulation {

struct NodeSpec {
  std::string name;
  std::vector<std::string> services;  // none: a plain node
};
// How `nodes` nodes (at least 8) share the services: three tns (five from 50 nodes on), three
// patricks, one auth, whose records have one home, and of the others more the more nodes there are.
// Fewer than 12 nodes have one of each that decides. A node has one service; the rest are plain.
std::vector<NodeSpec> spread_services(std::size_t nodes);

class World {
 public:
  struct Options {
    std::uint64_t seed = 1;
    std::vector<NodeSpec> nodes;
    Logger log = {};  // of all nodes
  };
  World(runtime::VirtualLoop& loop, Options options);  // the loop outlives it
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  static constexpr std::string_view kName = "blackhole";
  static constexpr std::string_view kSuffix = "blackhole.localhost";

  struct Member {
    NodeSpec spec;
    std::unique_ptr<Machine> machine;
    std::unique_ptr<node::Node> node;
    std::size_t lives = 0;  // times that it was started
    bool busy = false;      // starts or ends
    bool runs(std::string_view service) const { return node->runs(service); }
    bool running() const { return node->state() == node::Node::State::running; }
  };

  // All nodes, together. Errors: the first that does not start.
  Task<Status> start();
  Task<void> stop();
  // As if its power was cut. One that does not run, or is busy, is left alone.
  Task<void> crash(std::size_t index);
  Task<void> leave(std::size_t index);         // stops it politely
  Task<Status> start_node(std::size_t index);  // again, with what its disk kept
  std::size_t add(NodeSpec spec);              // a new one, not started
  // A plain running node, else any that runs; null when none does.
  Member* client();

  runtime::VirtualLoop& loop() { return loop_; }
  p2p::simulated::SimulatedNetwork& wires() { return wires_; }
  net::SimulatedNetwork& sockets() { return sockets_; }
  const crypto::KeyPair& root() const { return root_; }
  // The root takes a membership back: a list with all that it took back so far, for the nodes.
  Bytes revoke(const PeerId& peer);
  std::uint64_t revocations() const { return revoked_.number; }  // of the latest list
  std::size_t size() const { return members_.size(); }
  Member& operator[](std::size_t index) { return *members_[index]; }
  std::vector<Member*> with(std::string_view service);

 private:
  p2p::NodeIdentity identity_for(const NodeSpec& spec);
  void make(NodeSpec spec, p2p::NodeIdentity identity);
  Task<void> start_into(std::size_t index, Status& first_failure);

  runtime::VirtualLoop& loop_;
  Logger log_;
  SeededRandom random_, chance_of_wires_;
  crypto::KeyPair root_;
  p2p::RevocationList revoked_;
  ScriptedEngine engine_;
  runtime::ThreadPool pool_{0};
  p2p::simulated::SimulatedNetwork wires_;
  net::SimulatedNetwork sockets_;
  std::vector<std::string> voters_, patricks_, bootstrap_;
  std::vector<std::unique_ptr<Member>> members_;
};

}  // namespace tau::testnet::simulation
