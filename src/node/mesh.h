// Keeps this node connected to every other node of its network: dials the bootstrap nodes, learns
// the others from whoever it meets, and dials again what was lost.
//
// A full mesh is what a network of up to a few hundred nodes wants: every command is one hop. Who
// joins is decided at admission; what is exchanged here are addresses only, and a peer that lies
// about one wastes a dial, because each ends in the id of the node that must answer there.
//
// Loop thread only. stop() is idempotent. Nothing here fails for good: what can't be reached is
// tried again, more and more rarely.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "base/log.h"
#include "codec/record.h"
#include "command/caller.h"
#include "command/router.h"
#include "runtime/channel.h"
#include "runtime/task_group.h"

namespace tau::node {

inline constexpr std::string_view kMeshProtocol = "/tau/node/1";

struct KnownNode {
  PeerId peer;
  std::vector<std::string> addresses;  // multiaddrs, each ending in /p2p/<peer>
  static constexpr auto fields() {
    return std::tuple{codec::field("peer", &KnownNode::peer),
                      codec::field("addresses", &KnownNode::addresses)};
  }
};

// "I am reached here; whom do you know?" Said by the one of two with the smaller peer id, and by
// whoever joins.
struct Introduce {
  static constexpr std::string_view kName = "introduce";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(5);
  struct Request {
    std::vector<std::string> addresses;
    static constexpr auto fields() {
      return std::tuple{codec::field("addresses", &Request::addresses)};
    }
  };
  struct Response {
    std::vector<KnownNode> nodes;  // the answering node, and those that it is connected to
    static constexpr auto fields() { return std::tuple{codec::field("nodes", &Response::nodes)}; }
  };
};
using MeshCommands = command::List<Introduce>;

inline constexpr std::size_t kKnownNodesMax = 1024;   // of a full mesh; 250 KiB of table
inline constexpr std::size_t kNodeAddressesMax = 8;   // of one node
inline constexpr std::size_t kAddressBytesMax = 256;  // longer than any multiaddr with a peer id

class Mesh {
 public:
  Mesh(runtime::Loop& loop, p2p::Host& host, command::Router& router, command::Caller& caller,
       std::vector<std::string> bootstrap, Logger log);
  ~Mesh();

  Task<Status> start();
  Task<void> stop();

  Task<Result<Introduce::Response>> handle(command::Peer peer, Introduce::Request request);

 private:
  struct Known {
    std::vector<std::string> addresses;
    TimePoint last_met, try_again;
    Duration pause{};
    bool dialing = false;
  };
  struct Watcher;  // what the host's callback holds: outlives this object

  std::vector<KnownNode> connected_nodes(const PeerId& except) const;
  void learn(const PeerId& peer, std::vector<std::string> addresses);
  void met(const PeerId& peer, bool connected);
  Task<void> keep_dialing();
  Task<void> dial(PeerId peer);
  Task<void> join_by(std::string address);
  Task<void> greet(PeerId peer);
  Task<bool> introduce(PeerId peer);  // false: it did not answer

  runtime::Loop& loop_;
  p2p::Host& host_;
  command::Router& router_;
  command::Caller& caller_;
  const std::vector<std::string> bootstrap_;
  Logger log_;
  std::map<PeerId, Known> known_;
  std::shared_ptr<Watcher> watcher_;
  runtime::Signal look_;
  runtime::TaskGroup tasks_;
};

}  // namespace tau::node
