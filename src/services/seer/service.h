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
  Service(runtime::Loop& loop, p2p::Host& host, command::Router& router, command::Caller& caller,
          net::Network& network, Random& random, Options options, Logger log);

  Task<Status> start();
  Task<void> stop();
  net::Endpoint dns() const { return dns_.local(); }

  Task<Result<command::Empty>> handle(command::Peer peer, Announcement announcement);
  Task<Result<command::Empty>> handle(command::Peer peer, command::Empty leave);
  Task<Result<ListNodes::Response>> handle(command::Peer, ListNodes::Request request);
  Task<Result<Statistics::Response>> handle(command::Peer, Statistics::Request request);

 private:
  Task<void> sweep();

  runtime::Loop& loop_;
  p2p::Host& host_;
  command::Router& router_;
  command::Caller& caller_;
  Nodes nodes_;
  DnsServer dns_;
  bool watching_peers_ = false;
  runtime::TaskGroup tasks_;
};

}  // namespace tau::seer
