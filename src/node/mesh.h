// Keeps this node connected to its network: dials the bootstrap nodes, learns of others from
// whoever it meets, dials those that it wants (acquaintances.h: all of a small network, a bounded
// number of a large one) again when they were lost, and closes what neither end wants.
//
// Who joins is decided at admission; what is exchanged here are addresses and roles only, and a
// peer that lies about one wastes a dial, because each ends in the id of the node that must answer
// there.
//
// Loop thread only. stop() is idempotent. Nothing here fails for good: what can't be reached is
// tried again, more and more rarely.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/log.h"
#include "codec/record.h"
#include "command/caller.h"
#include "command/router.h"
#include "node/acquaintances.h"
#include "runtime/channel.h"
#include "runtime/task_group.h"

namespace tau::node {

inline constexpr std::string_view kMeshProtocol = "/tau/node/1";

struct KnownNode {
  PeerId peer;
  std::vector<std::string> addresses;  // multiaddrs, each ending in /p2p/<peer>
  std::optional<std::vector<std::string>> roles = std::nullopt;  // as it proved them to who says so
  static constexpr auto fields() {
    return std::tuple{codec::field("peer", &KnownNode::peer),
                      codec::field("addresses", &KnownNode::addresses),
                      codec::field("roles", &KnownNode::roles)};
  }
};

// "I am reached here; whom do you know?" Said by the one of two with the smaller peer id, by
// whoever joins, and now and then.
struct Introduce {
  static constexpr std::string_view kName = "introduce";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(5);
  struct Request {
    std::vector<std::string> addresses;
    std::optional<bool> wanted = std::nullopt;  // the connection, by who asks; absent: yes
    std::optional<std::uint64_t> at_most = std::nullopt;  // nodes to tell of; absent: all
    static constexpr auto fields() {
      return std::tuple{codec::field("addresses", &Request::addresses),
                        codec::field("wanted", &Request::wanted),
                        codec::field("at_most", &Request::at_most)};
    }
  };
  struct Response {
    std::vector<KnownNode> nodes;  // some that the answering node is connected to, and itself
    std::optional<bool> wanted = std::nullopt;  // the connection, by who answers; absent: yes
    static constexpr auto fields() {
      return std::tuple{codec::field("nodes", &Response::nodes),
                        codec::field("wanted", &Response::wanted)};
    }
  };
};
using MeshCommands = command::List<Introduce>;

inline constexpr std::size_t kToldNodesMax = 128;     // in one answer
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
  struct Watcher;  // what the host's callback holds: outlives this object

  std::vector<KnownNode> connected_nodes(const PeerId& except, std::size_t at_most);
  void learn(const PeerId& peer, std::vector<std::string> addresses, Roles roles);
  void met(const PeerId& peer, bool connected);
  std::optional<std::vector<std::string>> where(const PeerId& peer);
  Roles proven_roles(const PeerId& peer) const;
  bool wants(const PeerId& peer);
  Task<void> keep_dialing();
  TimePoint dial_wanted();  // and close what is not; when to look again
  Task<void> dial(PeerId peer);
  Task<void> keep_asking();
  Task<void> join_by(std::string address);
  Task<void> greet(PeerId peer);
  Task<bool> introduce(PeerId peer);  // false: it did not answer

  runtime::Loop& loop_;
  p2p::Host& host_;
  command::Router& router_;
  command::Caller& caller_;
  const std::vector<std::string> bootstrap_;
  Logger log_;
  Acquaintances known_;
  std::shared_ptr<Watcher> watcher_;
  runtime::Signal look_;
  runtime::TaskGroup tasks_;
};

}  // namespace tau::node
