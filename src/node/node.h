// One node of a network: every part it consists of, built by name and in order in node.cc.
//
// Owns all of its parts; the process it runs in (process.h) outlives it. start() brings them up in
// order, stop() takes them down in reverse and says goodbye to the seers; kill() is what a power
// cut looks like from outside: connections and listeners close at once, nobody is told. Both are
// idempotent, and either must have ended before the node is destroyed. Loop thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "command/caller.h"
#include "http/server.h"
#include "node/config.h"
#include "node/credentials.h"
#include "node/process.h"
#include "runtime/channel.h"
#include "services/seer/api.h"

namespace tau::node {

class Node {
 public:
  // Does nothing yet. `options` were checked by read_config or made by a program.
  Node(Process& process, std::string name, Options options, p2p::NodeIdentity identity,
       p2p::Admission admission, Logger log);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // Errors: what the first part that fails says, with its name; what had started is stopped.
  Task<Status> start();
  Task<void> stop();
  Task<void> kill();

  // Told of each renewed certificate that this node takes, to keep it where the next start reads
  // it. Before start().
  void on_renewed(Credentials::KeepCertificate keep) { keep_certificate_ = std::move(keep); }
  // Shows `certificate` from now on; connections stay. Errors: permission_denied (not of this
  // network or node, or not valid now), unavailable (it does not run).
  Task<Status> renew(Bytes certificate);

  enum class State : std::uint8_t { made, starting, running, stopping, stopped };
  State state() const { return state_; }

  const std::string& name() const { return name_; }
  const Options& options() const { return options_; }
  const PeerId& id() const { return identity_.id(); }
  // The multiaddrs that others dial. Once started.
  std::vector<std::string> addresses() const;
  bool runs(std::string_view service) const;

  // Where it listens, with the ports that were really taken. Nothing: it does not.
  std::optional<net::Endpoint> http() const;
  std::optional<net::Endpoint> dns() const;
  std::optional<net::Endpoint> api() const;

  // Whether its part of consensus has a leader; true where it has no part.
  bool decides() const;
  // How many tns nodes vote, as this one knows, or patricks where it runs no tns; 0: neither.
  std::size_t voters() const;

  // Only while it runs.
  p2p::Host& host();
  command::Caller& caller();
  command::Router& router();
  Credentials& credentials();
  // Answers a request to the API for users. Ends with the node.
  Task<void> serve_user(http::Request& request, http::ResponseWriter& response);
  // Dials a node of the network. Errors: as p2p::Host::connect.
  Task<Status> connect(std::string multiaddr);

 private:
  struct Parts;
  enum class Manner : std::uint8_t { politely, at_once };

  Task<Status> build();
  Task<Status> start_parts();
  Task<void> stop_parts(Manner manner);
  Task<void> end(Manner manner);
  seer::Announcement announcement() const;

  Process& process_;
  const std::string name_;
  const Options options_;
  p2p::NodeIdentity identity_;
  const crypto::PublicKey root_;
  Credentials::KeepCertificate keep_certificate_;
  Logger log_;
  State state_ = State::made;
  std::unique_ptr<Parts> parts_;
  runtime::Signal ended_;
};

std::string_view name_of(Node::State state);

}  // namespace tau::node
