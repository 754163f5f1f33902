// Universe: a whole network in one process, each node its own host with its own store. On a real
// process (node/local_process.h) this is what dream runs; on a simulated one (simulated_process.h)
// the same services run in virtual time.
//
// Owns its nodes. start() ends when the universe is ready: every node is connected to every other,
// tns decides, every seer lists every node, every substrate listens. stop() takes all down and is
// idempotent. Loop thread only.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "http/server.h"
#include "node/network.h"
#include "node/node.h"

namespace tau::testnet {

struct NodePlan {
  std::string name;
  std::vector<std::string> services;  // none: a client, by which tools speak to the others
};
// auth, seer, tns, patrick, two hoarders, two monkeys, two substrates, and dream's own client.
std::vector<NodePlan> default_plan();

struct UniverseOptions {
  std::string name = "blackhole";
  // Where the nodes keep what they have, a folder for each; the keys, too, if `keep_identities`.
  std::filesystem::path data;
  bool keep_identities = false;  // read them if they are there, else write them
  // Of every substrate, each on an address of its own, and of the entry on 127.0.0.1. 0: a free
  // one.
  std::uint16_t http_port = 1480;
  std::uint16_t api_port = 1422;  // of patrick, for git and tau; another one if it is taken
  std::uint16_t dns_port = 1453;  // of the first seer; others take free ones. 0: a free one
  // What builds keep, which universes may share; empty: each node its own.
  std::filesystem::path build_cache;
  LogLevel log_level = LogLevel::warning;
  std::vector<NodePlan> plan = default_plan();
  // A universe of ten is ready in a second; a loaded machine gets a chance.
  Duration ready_time_max = std::chrono::seconds(30);
};

// "127.x.y.z" of the n-th substrate of a universe: the same each time, hardly ever another
// universe's, never 127.0.0.1.
std::string loopback_address(std::string_view universe, std::size_t index);

class Universe {
 public:
  Universe(node::Process& process, UniverseOptions options, Logger log);
  ~Universe();
  Universe(const Universe&) = delete;
  Universe& operator=(const Universe&) = delete;

  // Errors: names the node and what it says; already_exists for a port that is taken.
  Task<Status> start();
  Task<void> stop();

  struct NodeView {
    std::string name;
    PeerId id;
    std::vector<std::string> services;
    std::string state;  // "running", "killed", …
    std::size_t peers = 0;
    std::vector<std::string> addresses;
    std::optional<net::Endpoint> http, dns, api;
  };
  std::vector<NodeView> nodes() const;
  const std::string& name() const { return options_.name; }
  std::string suffix() const { return options_.name + ".localhost"; }
  bool ready() const { return ready_after_.has_value(); }
  std::optional<Duration> ready_after() const { return ready_after_; }
  std::optional<net::Endpoint> entry() const;  // HTTP to any live substrate
  std::optional<net::Endpoint> dns() const;

  // By name ("substrate-1"), peer id, or a service that one node runs. Errors: not_found,
  // failed_precondition (several nodes run that service: names them).
  Result<node::Node*> find(std::string_view which);
  // As a power cut: nothing is said to the others. Errors: as find().
  Task<Status> kill(std::string which);
  // A running node without services, else any running one; null when all are gone.
  node::Node* client();
  // A request for the cloud's API for users, with the path that it has there.
  Task<void> serve_cloud(http::Request& request, http::ResponseWriter& response);
  std::function<void()> on_change;  // a node came or went

 private:
  struct Member {
    NodePlan plan;
    std::unique_ptr<node::Node> node;
    bool killed = false;
  };
  Task<Status> start_all();
  Status make_nodes();
  Result<crypto::KeyPair> root_key();
  Result<p2p::NodeIdentity> identity(const crypto::KeyPair& root, const NodePlan& plan);
  Result<std::uint16_t> free_http_port();
  net::Endpoint api_endpoint();
  Task<Status> connect_all();
  Task<Status> wait_until_ready();
  Task<Result<std::string>> what_is_missing();  // empty: nothing
  Task<void> start_one(node::Node& node, Status& first_failure);
  static Task<void> connect_one(node::Node& from, std::string address, Status& first_failure);

  node::Process& process_;
  UniverseOptions options_;
  Logger log_;
  std::vector<Member> members_;
  std::optional<Duration> ready_after_;
  bool started_ = false;
  std::size_t killing_ = 0;  // calls of kill() under way, which stop() waits for
  runtime::Signal killed_;
};

}  // namespace tau::testnet
