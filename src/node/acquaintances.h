// Whom a node knows of its network, and with whom of them it wants to be connected.
//
// In a network of up to kFullMeshMax nodes: with all, so that every command is one hop. In a larger
// one with a bounded number: the nearest of each role, more of its own ones, and a few whatever
// they do, so that all connections together hold the network in one piece. Near is what a hash of
// both peer ids says: both ends mean the same by it, and everybody has other neighbours. Who is
// needed beside those is reached then (Host::reach).
//
// What is known of nodes that are not connected is hearsay: bounded, and a lie wastes a dial.
// Loop thread only. Nothing here fails.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/strong_id.h"
#include "base/time.h"

namespace tau::node {

inline constexpr std::size_t kFullMeshMax = 64;  // nodes, this one not counted
inline constexpr std::size_t kKnownNodesMax = 512;
inline constexpr std::size_t kOfOwnRole = 16, kOfOtherRoles = 3, kNeighbours = 8;
// Above this, connections that neither end wants are closed; above the other, those that only the
// other end wants.
inline constexpr std::size_t kConnectionsKept = 72, kConnectionsMax = 512;

using Roles = std::uint16_t;  // one bit for each role that the services have
Roles roles_of(const std::vector<std::string>& names);  // others are passed over
std::vector<std::string> names_of(Roles roles);

class Acquaintances {
 public:
  struct Node {
    std::vector<std::string> addresses;  // may be empty, while it is connected
    Roles roles = 0;
    std::uint64_t distance = 0;
    TimePoint last_met, connected_at, try_again;
    Duration pause{};  // of dials that fail, or connections that do not last
    bool connected = false, dialing = false;
    bool chosen = false;    // this node wants the connection
    bool wants_us = false;  // as it said last
    bool failing() const { return !connected && pause > Duration::zero(); }
  };

  Acquaintances(PeerId self, Roles roles) : self_(std::move(self)), roles_(roles) {}

  // Hears of a node; null when there is no room for one so far away.
  Node* learn(const PeerId& peer, Roles roles, TimePoint now);
  Node* find(const PeerId& peer);
  // It came or went. Null: it went, and was not known.
  Node* met(const PeerId& peer, Roles roles, bool connected, TimePoint now);
  void failed(const PeerId& peer, TimePoint now);  // a dial
  void forget_before(TimePoint then);              // those not met since; connected ones stay

  bool sparse() const { return nodes_.size() > kFullMeshMax; }
  std::size_t connected() const { return connected_; }
  std::map<PeerId, Node>& nodes() { return nodes_; }
  const std::map<PeerId, Node>& nodes() const { return nodes_; }

  // Decides anew whom this node wants, if anything changed that matters.
  void choose();
  // Connections that are to be closed now, the least wanted first.
  std::vector<PeerId> surplus(TimePoint now, const std::function<bool(const PeerId&)>& spare) const;
  // Up to `at_most` connected nodes, others each time.
  std::vector<const std::pair<const PeerId, Node>*> some_connected(std::size_t at_most);

 private:
  Node* enter(const PeerId& peer, Roles roles, TimePoint now, bool connected);
  bool make_room(std::uint64_t distance, bool connected);

  const PeerId self_;
  const Roles roles_;
  std::map<PeerId, Node> nodes_;
  std::size_t connected_ = 0;
  bool changed_ = false;
  PeerId turn_;  // the last of some_connected()
};

}  // namespace tau::node
