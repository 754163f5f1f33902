#include "services/seer/service.h"

#include "services/tns/api.h"

namespace tau::seer {
namespace {

using namespace std::chrono_literals;

// How much later than kDeadAfter a death is noticed, at most.
constexpr Duration kLookEvery = 100ms;
constexpr std::uint64_t kLooksPerJudgement = 10, kLooksPerSweep = 200;

Task<Result<bool>> ask_tns(command::Caller& caller, std::string name) {
  CO_TRY(const auto found,
         caller.call_any<tns::Resolve>(tns::kRole, tns::kProtocol, {std::move(name)}));
  co_return found.project.has_value();
}

}  // namespace

Service::Service(Roster::Parts parts, command::Router& router, command::Caller& caller,
                 net::Network& network, Options options, Logger log)
    : loop_(parts.loop),
      host_(parts.host),
      admission_(parts.admission),
      router_(router),
      caller_(caller),
      nodes_(parts.identity.id()),
      roster_(parts, nodes_, log),
      dns_(
          parts.loop, network,
          {std::move(options.dns),
           {std::move(options.suffix), options.ttl_seconds, std::move(options.issuers)},
           options.limits},
          nodes_, [this](std::string name) { return ask_tns(caller_, std::move(name)); },
          parts.random, std::move(log)),
      tasks_(parts.loop) {}

Task<Status> Service::start() {
  if (!watching_peers_) {
    watching_peers_ = true;
    // A broken connection is the fastest sign of death; a node that lives reports again at once, to
    // this seer or to the next.
    host_.on_peer([this](const PeerId& peer, bool connected) {
      if (connected) return;
      nodes_.forget(peer, loop_.now());
      roster_.changed(peer);
    });
  }
  Status started = co_await roster_.start();
  if (started) started = co_await dns_.start();
  if (!started) {  // its port is somebody else's, for instance
    co_await dns_.stop();
    co_await roster_.stop();
    co_return started;
  }
  router_.serve(kProtocol, *this, Commands{});
  tasks_.spawn(watch_silence());
  co_return Status{};
}

Task<void> Service::stop() {
  co_await router_.unserve(kProtocol);
  co_await dns_.stop();
  co_await tasks_.stop();
  co_await roster_.stop();
}

Task<void> Service::watch_silence() {
  for (std::uint64_t round = 1; co_await runtime::sleep_for(kLookEvery); ++round) {
    for (const PeerId& peer : nodes_.expire(loop_.now())) roster_.changed(peer);
    if (round % kLooksPerJudgement == 0) judge();
    if (round % kLooksPerSweep == 0) nodes_.sweep(loop_.now());
  }
}

// Certificates end and are revoked while nodes go on talking.
void Service::judge() {
  const std::int64_t now = loop_.wall_unix_ms();
  nodes_.judge([&](const CheckedStatus& status, bool passed_on) {
    return seer::judge(admission_, status, now) && (!passed_on || is_recent(status, now));
  });
}

Task<Result<Report::Response>> Service::handle(command::Peer peer, Report::Request request) {
  const Count count{request.life_unix_ms, request.number};
  if (!request.status)
    co_return Report::Response{
        nodes_.hear_again(peer.id, count, request.load_percent, loop_.now())};
  CO_TRY_SYNC(StatusPtr status, check_status(admission_, *request.status, loop_.wall_unix_ms()));
  if (status->peer() != peer.id || status->count() != count)
    co_return fail(ErrorCode::invalid_argument,
                   "a node reports what it signed itself, under the number that it signed");
  CO_TRY_SYNC_STATUS(nodes_.hear(std::move(status), request.load_percent, loop_.now()));
  roster_.changed(peer.id);
  co_return Report::Response{true};
}

Task<Result<command::Empty>> Service::handle(command::Peer peer, command::Empty) {
  nodes_.forget(peer.id, loop_.now());
  roster_.changed(peer.id);
  co_return command::Empty{};
}

Task<Result<ListNodes::Response>> Service::handle(command::Peer, ListNodes::Request request) {
  co_return ListNodes::Response{nodes_.live(request.service, loop_.now())};
}

Task<Result<Statistics::Response>> Service::handle(command::Peer, Statistics::Request) {
  co_return dns_.statistics();
}

Task<Result<Roll::Response>> Service::handle(command::Peer, Roll::Request) {
  CO_TRY(const auto census, roster_.map().census());
  co_return Roll::Response{census.keys, Bytes(census.digest.begin(), census.digest.end()),
                           roster_.map().counters().deltas};
}

}  // namespace tau::seer
