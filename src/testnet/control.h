// dream's control API: HTTP and JSON on a loopback port, described at /openapi.json, fenced against
// web pages (http/router.h). What people and programs do to universes, and the way by which the
// user's tools reach each universe's cloud.
//
// Loop thread only. stop() ends every request in progress and is idempotent; the multiverse lives
// longer.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "http/router.h"
#include "http/server.h"
#include "net/network.h"
#include "runtime/channel.h"
#include "testnet/control_document.h"
#include "testnet/multiverse.h"

namespace tau::testnet {

http::Json to_json(const Universe& universe);
http::Json to_json(const Universe::NodeView& node);
http::Json to_json(const LogLine& line);

class Control {
 public:
  Control(runtime::Loop& loop, net::Network& network, Multiverse& multiverse, Logger log);

  // Errors: already_exists (another dream has the port).
  Task<Status> start(net::Endpoint at);
  Task<void> stop();
  net::Endpoint local() const { return local_; }

  // Ends when POST /v1/stop was called, or stop_requested().
  Task<Status> wait_for_stop();
  void request_stop();

 private:
  http::Router::JsonHandler handler_of(std::string_view id);
  Task<Result<http::Json>> list_universes(http::Request& request);
  Task<Result<http::Json>> create_universe(http::Request& request);
  Task<Result<http::Json>> get_universe(http::Request& request);
  Task<Result<http::Json>> delete_universe(http::Request& request);
  Task<Result<http::Json>> list_nodes(http::Request& request);
  Task<Result<http::Json>> create_node(http::Request& request);
  Task<Result<http::Json>> delete_node(http::Request& request);
  Task<Result<http::Json>> get_chaos(http::Request& request);
  Task<Result<http::Json>> begin_fault(http::Request& request);
  Task<Result<http::Json>> heal(http::Request& request);
  Task<Result<http::Json>> list_services(http::Request& request);
  Task<Result<http::Json>> list_fixtures(http::Request& request);
  Task<Result<http::Json>> stop_all(http::Request& request);
  Task<Result<http::Json>> document(http::Request& request);
  Task<void> logs(http::Request& request, http::ResponseWriter& response);
  Task<Status> send_logs(LogBook& book, LogBook::Query query, bool follow,
                         http::ResponseWriter& response);
  Task<void> cloud(http::Request& request, http::ResponseWriter& response);

  runtime::Loop& loop_;
  net::Network& network_;
  Multiverse& multiverse_;
  Logger log_;
  http::Router router_;
  http::Server server_;
  net::Endpoint local_;
  bool stop_requested_ = false;
  runtime::Signal stop_signal_;
};

}  // namespace tau::testnet
