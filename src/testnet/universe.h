// Universe: a whole network in one process, each node its own host with its own store. On a real
// process (node/local_process.h) this is what dream runs; on a simulated one (simulated_process.h)
// the same services run in virtual time.
//
// Owns its nodes. start() ends when the universe is ready: every node is connected to every other,
// tns decides, every seer lists every node, every substrate listens. add() puts a further node into
// a running one. stop() takes all down and is idempotent. Loop thread only.
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
#include "testnet/chaos/chaos.h"
#include "testnet/chaos/faulty_process.h"
#include "testnet/data_folder.h"
#include "testnet/log_book.h"
#include "testnet/plan.h"

namespace tau::testnet {

struct UniverseOptions {
  std::string name = "blackhole";
  // Where the nodes keep what they have, a folder for each; also the keys, universe.json and the
  // logs, if it is kept.
  std::filesystem::path data;
  Keep keep = Keep::no;
  // Of every substrate, each on an address of its own, and of the entry on 127.0.0.1. 0: a free
  // one.
  std::uint16_t http_port = 1480;
  std::uint16_t api_port = 1422;  // of patrick, for git and tau; another one if it is taken
  std::uint16_t dns_port = 1453;  // of the first seer; others take free ones. 0: a free one
  // What builds keep, which universes may share; empty: each node its own.
  std::filesystem::path build_cache = {};
  Ports preferred = {};                    // taken for a 0 above where they are free
  LogLevel log_level = LogLevel::warning;  // of what is said beyond the log book
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
  std::optional<net::Endpoint> api() const;  // git and tau
  Keep keep() const { return options_.keep; }
  const std::filesystem::path& data() const { return options_.data; }
  // Decides who belongs to it. Once started.
  const crypto::KeyPair& root() const { return *root_; }
  // Outlives the universe for whoever still reads.
  std::shared_ptr<LogBook> log_book() { return log_book_; }

  // Puts a node into the running universe, or starts one again that was killed: one of that name,
  // or, without a name, of that single service. Ends when the others know it. Gives its view.
  // Errors: already_exists, failed_precondition (a service that has one home and runs, or a
  // universe that is not running), resource_exhausted, and those of node::Node::start().
  Task<Result<NodeView>> add(NodePlan plan);
  // What UNIVERSE/universe.json says; written by start() and add().
  Status write_kept(bool stopped);

  // By name ("substrate-1"), peer id, or a service that one node runs. Errors: not_found,
  // failed_precondition (several nodes run that service: names them).
  Result<node::Node*> find(std::string_view which);
  // As a power cut: nothing is said to the others. Errors: as find().
  Task<Status> kill(std::string which);
  // What is broken on purpose.
  Chaos& chaos() { return chaos_; }
  const Chaos& chaos() const { return chaos_; }
  void say(const std::string& line) { log_.info(line); }
  // A running node without services, else any running one; null when all are gone.
  node::Node* client();
  // A request for the cloud's API for users, with the path that it has there.
  Task<void> serve_cloud(http::Request& request, http::ResponseWriter& response);
  std::function<void()> on_change;  // a node came or went

 private:
  struct Member {
    NodePlan plan;
    std::unique_ptr<FaultyProcess> process;
    std::unique_ptr<node::Node> node;
    bool killed = false;
  };
  // Something under way that stop() waits for.
  class Busy {
   public:
    explicit Busy(Universe& universe) : universe_(universe) { ++universe_.busy_; }
    ~Busy() {
      --universe_.busy_;
      universe_.idle_.notify_all();
    }

   private:
    Universe& universe_;
  };
  using Question = Task<Result<std::string>> (Universe::*)(std::string);
  Task<Status> start_all();
  Status make_nodes();
  Status make_node(const NodePlan& plan, p2p::NodeIdentity identity);
  Result<crypto::KeyPair> root_key();
  Result<p2p::NodeIdentity> identity(const NodePlan& plan);
  Status choose_ports();
  Result<std::uint16_t> free_http_port();
  Status http_port_is_free(std::uint16_t port);
  net::Endpoint api_endpoint();
  net::Endpoint dns_endpoint();
  Task<Status> connect_all();
  Task<Status> connect_to_others(node::Node& node);
  // Asks until the answer is empty: nothing is missing.
  Task<Status> wait_until(Question question, std::string argument);
  Task<Result<std::string>> what_is_missing(std::string);
  Task<Result<std::string>> what_is_missing_of(std::string node);
  Task<Result<NodeView>> add_new(NodePlan plan);
  Task<Result<NodeView>> start_again(Member& member);
  Task<Status> join(node::Node& node);
  NodeView view_of(const Member& member) const;
  std::size_t running() const;
  void say_where(const Member& member) const;
  Task<void> start_one(node::Node& node, Status& first_failure);
  static Task<void> connect_one(node::Node& from, std::string address, Status& first_failure);

  node::Process& process_;
  UniverseOptions options_;
  std::shared_ptr<LogBook> log_book_;
  Logger log_;
  Faults faults_;
  std::vector<std::unique_ptr<Member>> members_;
  std::optional<crypto::KeyPair> root_;
  std::vector<std::string> voters_, patricks_;  // who founded tns, and the list of jobs
  std::uint16_t http_port_ = 0;
  std::optional<Duration> ready_after_;
  bool started_ = false;
  bool stopping_ = false;
  std::size_t busy_ = 0;
  runtime::Signal idle_;
  Chaos chaos_;
};

}  // namespace tau::testnet
