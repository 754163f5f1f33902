// Router: the commands that this node answers, for all its services. Every call is checked in this
// order: frame bounds, known command, the caller's role, the request record; then the service's
// handler runs with the caller's deadline.
//
// Owns nothing of the services. Lives as long as the node; loop thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/log.h"
#include "command/command.h"
#include "command/frame.h"
#include "p2p/host.h"
#include "runtime/channel.h"

namespace tau::command {

class Router {
 public:
  Router(runtime::Loop& loop, p2p::Host& host, Logger log);
  ~Router();
  Router(const Router&) = delete;
  Router& operator=(const Router&) = delete;

  // Answers `commands` on `protocol` by `service.handle(Peer, Request)`, until unserve().
  template <class Service, class... C>
  void serve(std::string_view protocol, Service& service, List<C...>) {
    std::map<std::string, Route, std::less<>> routes;
    (routes.emplace(std::string(C::kName), route<C>(service)), ...);
    serve_routes(std::string(protocol), std::move(routes));
  }
  // No handler of that protocol runs any more when it returns: those that did were cancelled and
  // awaited.
  Task<void> unserve(std::string_view protocol);

  bool serves(std::string_view protocol) const { return served_.contains(protocol); }
  // A call from this very node: the same checks, no stream.
  Task<Result<codec::Value>> call_local(std::string protocol, std::string command,
                                        codec::Value body, Duration deadline);

 private:
  using Handler = std::function<Task<Result<codec::Value>>(Peer, codec::Value)>;
  struct Route {
    Callers callers;
    Handler handler;
  };
  struct Served;

  template <class C, class Service>
  static Route route(Service& service) {
    static_assert(
        requires(Peer p, typename C::Request r) {
          { service.handle(p, r) } -> std::same_as<Task<Result<typename C::Response>>>;
        }, "the service lacks a handler for a listed command");
    return {C::kCallers, [&service](Peer peer, codec::Value body) {
              return run<C>(service, std::move(peer), std::move(body));
            }};
  }
  template <class C, class Service>
  static Task<Result<codec::Value>> run(Service& service, Peer peer, codec::Value body) {
    CO_TRY_SYNC(auto request, codec::from_value<typename C::Request>(body));
    CO_TRY(const auto response, service.handle(std::move(peer), std::move(request)));
    co_return codec::to_value(response);
  }

  Task<Result<Bytes>> read_request(p2p::Stream& stream);
  void serve_routes(std::string protocol, std::map<std::string, Route, std::less<>> routes);
  Task<void> answer(std::shared_ptr<Served> served, std::unique_ptr<p2p::Stream> stream);
  Task<Result<codec::Value>> dispatch(std::shared_ptr<Served> served, Peer peer,
                                      RequestFrame frame);

  runtime::Loop& loop_;
  p2p::Host& host_;
  Logger log_;
  std::map<std::string, std::shared_ptr<Served>, std::less<>> served_;
  // Who sends large requests now, and how many.
  std::map<PeerId, std::shared_ptr<runtime::Semaphore>> large_;
};

}  // namespace tau::command
