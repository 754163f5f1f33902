#include "services/seer/service.h"

#include "services/tns/api.h"

namespace tau::seer {
namespace {

Task<Result<bool>> ask_tns(command::Caller& caller, std::string name) {
  CO_TRY(const auto found,
         caller.call_any<tns::Resolve>(tns::kRole, tns::kProtocol, {std::move(name)}));
  co_return found.project.has_value();
}

}  // namespace

Service::Service(runtime::Loop& loop, p2p::Host& host, command::Router& router,
                 command::Caller& caller, net::Network& network, Random& random, Options options,
                 Logger log)
    : loop_(loop),
      host_(host),
      router_(router),
      caller_(caller),
      dns_(
          loop, network,
          {std::move(options.dns),
           {std::move(options.suffix), options.ttl_seconds, std::move(options.issuers)},
           options.limits},
          nodes_, [this](std::string name) { return ask_tns(caller_, std::move(name)); }, random,
          std::move(log)),
      tasks_(loop) {}

Task<Status> Service::start() {
  if (!watching_peers_) {
    watching_peers_ = true;
    // A broken connection is the fastest sign of death; a node that lives announces itself again
    // within kAnnounceEvery.
    host_.on_peer([this](const PeerId& peer, bool connected) {
      if (!connected) nodes_.forget(peer);
    });
  }
  CO_TRY_STATUS(dns_.start());
  router_.serve(kProtocol, *this, Commands{});
  tasks_.spawn(sweep());
  co_return Status{};
}

Task<void> Service::stop() {
  co_await router_.unserve(kProtocol);
  co_await dns_.stop();
  co_await tasks_.stop();
}

Task<void> Service::sweep() {
  while (co_await runtime::sleep_for(10 * kDeadAfter)) nodes_.sweep(loop_.now());
}

Task<Result<command::Empty>> Service::handle(command::Peer peer, Announcement announcement) {
  CO_TRY_SYNC_STATUS(
      nodes_.announce(peer.id, peer.certificate, std::move(announcement), loop_.now()));
  co_return command::Empty{};
}

Task<Result<command::Empty>> Service::handle(command::Peer peer, command::Empty) {
  nodes_.forget(peer.id);
  co_return command::Empty{};
}

Task<Result<ListNodes::Response>> Service::handle(command::Peer, ListNodes::Request request) {
  co_return ListNodes::Response{nodes_.live(request.service, loop_.now())};
}

Task<Result<Statistics::Response>> Service::handle(command::Peer, Statistics::Request) {
  co_return dns_.statistics();
}

}  // namespace tau::seer
