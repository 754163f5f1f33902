// seer: knows which nodes live, and answers DNS with them. See README.md.
//
// Loop thread only. stop() is idempotent.
#pragma once

#include <memory>

#include "command/caller.h"
#include "command/router.h"
#include "p2p/host.h"
#include "services/seer/api.h"
#include "services/seer/dns_server.h"
#include "services/seer/nodes.h"
#include "services/seer/roster.h"

namespace tau::seer {

struct Options {
  net::Endpoint dns;   // where DNS is answered, UDP and TCP
  std::string suffix;  // the network's zone: "blackhole.localhost"
  std::uint32_t ttl_seconds = 1;
  std::vector<std::string> issuers = {};
  RateLimits limits = {};
};

class Service {
 public:
  // `parts.kv` is this service's own, on the same store as the exchange's blocks.
  Service(Roster::Parts parts, command::Router& router, command::Caller& caller,
          net::Network& network, Options options, Logger log);

  Task<Status> start();
  Task<void> stop();
  net::Endpoint dns() const { return dns_.local(); }

  Task<Result<Report::Response>> handle(command::Peer peer, Report::Request request);
  Task<Result<command::Empty>> handle(command::Peer peer, command::Empty leave);
  Task<Result<ListNodes::Response>> handle(command::Peer, ListNodes::Request request);
  Task<Result<Statistics::Response>> handle(command::Peer, Statistics::Request request);
  Task<Result<Roll::Response>> handle(command::Peer, Roll::Request request);

  const Nodes& nodes() const { return nodes_; }     // for tests
  const Roster& roster() const { return roster_; }  // for tests

 private:
  Task<void> watch_silence();
  void judge();

  runtime::Loop& loop_;
  p2p::Host& host_;
  const p2p::Admission& admission_;
  command::Router& router_;
  command::Caller& caller_;
  Nodes nodes_;
  Roster roster_;
  DnsServer dns_;
  bool watching_peers_ = false;
  runtime::TaskGroup tasks_;
};

}  // namespace tau::seer
