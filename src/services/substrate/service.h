// substrate: serves HTTP with the functions that are deployed. See README.md.
//
// The service lives on the node's control loop; each plane serves on a loop of its own, or on the
// control loop. stop() is idempotent.
#pragma once

#include <memory>
#include <vector>

#include "command/router.h"
#include "services/substrate/api.h"
#include "services/substrate/control.h"
#include "services/substrate/data_plane.h"

namespace tau::substrate {

struct Options {
  // Where every plane listens: the node's own address, and perhaps an entry that several nodes of
  // a machine share. A port of 0 takes a free one; the others with 0 then take the same.
  std::vector<net::Endpoint> listen;
  DataPlane::Options plane;
  ReadyModules::Options ready;
  Sites::Options sites;
  Logs::Options logs;
};

// A loop that serves, and its network. The loop outlives the service, and runs until it stopped.
struct Plane {
  runtime::Loop& loop;
  net::Network& network;
};

class Service {
 public:
  // `random` must be safe to call from the loops of all planes.
  Service(runtime::Loop& loop, command::Router& router, tns::Client& tns,
          content::Exchange& exchange, store::Kv& kv, const p2p::Admission& admission,
          vm::Engine& engine, runtime::ThreadPool& pool, Random& random, std::vector<Plane> planes,
          Options options, Logger log);
  ~Service();

  // Errors: as net::Network::listen, and those of `kv`.
  Task<Status> start();
  Task<void> stop();

  // Known once start() has returned; the node's own address first.
  const std::vector<net::Endpoint>& endpoints() const { return endpoints_; }

  Task<Result<ReadLogs::Response>> handle(command::Peer, ReadLogs::Request request);
  Task<Result<ReadTrace::Response>> handle(command::Peer, ReadTrace::Request request);
  Task<Result<Statistics::Response>> handle(command::Peer, command::Empty);

 private:
  struct Running;
  // Runs `work` on the plane's loop and awaits it here.
  template <class T>
  Task<Result<T>> on(Running& plane, std::function<Task<Result<T>>()> work);
  Task<Status> start_plane(Running& plane);
  static Task<Result<std::vector<net::Endpoint>>> open(Running& plane,
                                                       std::vector<net::Endpoint> listen);

  runtime::Loop& loop_;
  command::Router& router_;
  content::Exchange& exchange_;
  Random& random_;
  Options options_;
  Logger log_;
  Control control_;
  std::vector<std::unique_ptr<Running>> planes_;
  std::vector<net::Endpoint> endpoints_;
  bool running_ = false;
};

}  // namespace tau::substrate
