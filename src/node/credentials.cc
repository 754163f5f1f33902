#include "node/credentials.h"

#include <algorithm>
#include <utility>

namespace tau::node {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kRevocationsKey = "revocations";
// Gossip may be lost, and two nodes may have been apart: once a minute one peer is asked, so that
// the cost of a node does not grow with the network.
constexpr Duration kLookAroundEvery = 60s;
// A month is time to sign a certificate by hand; said again each day.
constexpr std::int64_t kWarnBeforeMs = 30ll * 24 * 3600 * 1000;
constexpr std::int64_t kWarnEveryMs = 24ll * 3600 * 1000;

// Peers that are asked for a list that gossip spoke of.
constexpr int kCatchUpAttempts = 5;
constexpr Duration kCatchUpPause = 200ms;

struct News {
  std::uint64_t number = 0;
  static constexpr auto fields() { return std::tuple{codec::field("number", &News::number)}; }
};

}  // namespace

struct Credentials::Watcher {
  Credentials* credentials = nullptr;
};

Credentials::Credentials(runtime::Loop& loop, p2p::Host& host, command::Router& router,
                         command::Caller& caller, Random& random, store::Kv& kv,
                         p2p::Admission admission, p2p::NodeIdentity identity, KeepCertificate keep,
                         Logger log)
    : loop_(loop),
      host_(host),
      router_(router),
      caller_(caller),
      random_(random),
      kv_(kv),
      admission_(std::move(admission)),
      identity_(std::move(identity)),
      keep_(std::move(keep)),
      log_(std::move(log)),
      watcher_(std::make_shared<Watcher>()),
      writing_(loop, 1),
      tasks_(loop) {}

Credentials::~Credentials() { watcher_->credentials = nullptr; }

std::uint64_t Credentials::number() const {
  const auto known = admission_.revocations();
  return known ? known->number() : 0;
}

Task<Status> Credentials::load() {
  CO_TRY(const auto kept, kv_.get(std::string(kRevocationsKey)));
  if (!kept) co_return Status{};
  auto opened = p2p::Revocations::open(admission_.root(), *kept);
  if (!opened)
    co_return fail(ErrorCode::data_loss,
                   "the revocations that this node kept: " + opened.error().message());
  admission_.adopt(*std::move(opened));
  co_return Status{};
}

void Credentials::start() {
  watcher_->credentials = this;
  router_.serve(kCredentialsProtocol, *this, CredentialsCommands{});
  host_.on_peer([watcher = watcher_](const PeerId& peer, bool connected) {
    if (watcher->credentials && connected) watcher->credentials->met(peer);
  });
  host_.subscribe(std::string(kRevocationsTopic),
                  [watcher = watcher_](const PeerId& from, BytesView message) {
                    if (watcher->credentials) watcher->credentials->heard(from, message);
                  });
  for (const PeerId& peer : host_.peers()) met(peer);
  tasks_.spawn(look_around());
}

Task<void> Credentials::stop() {
  if (!std::exchange(watcher_->credentials, nullptr)) co_return;
  co_await router_.unserve(kCredentialsProtocol);
  co_await tasks_.stop();
}

void Credentials::met(const PeerId& peer) {
  if (host_.id() < peer) tasks_.spawn(compare_with(peer, Told::nobody));
}

Task<void> Credentials::compare_with(PeerId peer, Told told) {
  auto answer = co_await caller_.call<Compare>(peer, kCredentialsProtocol,
                                               {number(), identity_.certificate()});
  if (!answer) {
    log_.debug("comparing with " + peer.str() + ": " + answer.error().message());
    co_return;
  }
  if (const auto noted = host_.note_certificate(peer, answer->certificate); !noted)
    log_.debug("of " + peer.str() + ": " + noted.error().message());
  if (answer->revocations) {
    if (const auto adopted = co_await keep_revocations(*std::move(answer->revocations), told);
        !adopted)
      log_.debug("from " + peer.str() + ": " + adopted.error().message());
  } else if (answer->number < number()) {
    const auto given =
        co_await caller_.call<GiveRevocations>(peer, kCredentialsProtocol, {revocations()->raw()});
    if (!given) log_.debug("to " + peer.str() + ": " + given.error().message());
  }
}

// One at a time, however much is said about numbers: what it brings is what the next message may
// be about, too.
void Credentials::heard(const PeerId& from, BytesView message) {
  const auto news = codec::from_cbor<News>(message);
  if (!news) {
    host_.conduct().blame(from, p2p::Misdeed::malformed, "gossip about revocations");
    return;
  }
  if (news->number <= number() || catching_up_) return;
  catching_up_ = true;
  tasks_.spawn(catch_up(from, news->number));
}

Task<void> Credentials::catch_up(PeerId from, std::uint64_t number_said) {
  for (int i = 0; i < kCatchUpAttempts && number() < number_said; ++i) {
    // Who said it may not be a neighbour; then whoever passed it on has it, or soon will.
    const auto peers = host_.peers();
    if (peers.empty()) break;
    const bool near = i == 0 && std::ranges::find(peers, from) != peers.end();
    co_await compare_with(near ? from : peers[random_.below(peers.size())], Told::everybody);
    if (number() < number_said && !co_await runtime::sleep_for(kCatchUpPause)) break;
  }
  catching_up_ = false;
}

Task<void> Credentials::look_around() {
  runtime::Scope& scope = co_await runtime::current_scope();
  while (!scope.cancelled()) {
    warn_of_end();
    if (!co_await runtime::sleep_for(kLookAroundEvery)) co_return;
    const auto peers = host_.peers();
    if (!peers.empty()) co_await compare_with(peers[random_.below(peers.size())], Told::nobody);
  }
}

void Credentials::warn_of_end() {
  const std::int64_t now = loop_.wall_unix_ms();
  if (now - warned_unix_ms_ < kWarnEveryMs) return;
  const auto own = admission_.open(identity_.id(), identity_.certificate());
  if (!own || own->not_after_unix_ms - now > kWarnBeforeMs) return;
  warned_unix_ms_ = now;
  const std::int64_t hours = (own->not_after_unix_ms - now) / 3'600'000;
  log_.warning(hours < 0 ? "this node's certificate has expired: nobody talks to it until it is "
                           "renewed (odo network renew)"
                         : "this node's certificate ends in " + std::to_string(hours) +
                               " hours: renew it (odo network renew)");
}

Task<Status> Credentials::renew(Bytes certificate) {
  CO_TRY_SYNC(const auto fresh,
              admission_.check(identity_.id(), certificate, loop_.wall_unix_ms()));
  const Bytes own = identity_.certificate();
  const auto now = admission_.open(identity_.id(), own);
  if (own == certificate || (now && now->not_before_unix_ms > fresh.not_before_unix_ms))
    co_return Status{};
  if (keep_) {
    if (const auto kept = keep_(certificate); !kept)
      log_.warning("the renewed certificate counts until this node ends, and is lost then: " +
                   kept.error().message());
  }
  CO_TRY_SYNC_STATUS(host_.show_certificate(certificate));
  admission_.renew(certificate);
  identity_.renew(std::move(certificate));
  warned_unix_ms_ = 0;
  log_.info("certificate renewed");
  for (const PeerId& peer : host_.peers()) tasks_.spawn(compare_with(peer, Told::nobody));
  co_return Status{};
}

Task<Result<PeerId>> Credentials::deliver(Bytes certificate) {
  CO_TRY_SYNC(const auto fresh, admission_.check_any(certificate, loop_.wall_unix_ms()));
  if (fresh.peer == identity_.id()) {
    CO_TRY_STATUS(renew(std::move(certificate)));
  } else {
    CO_TRY(const auto done,
           caller_.call<GiveCertificate>(fresh.peer, kCredentialsProtocol,
                                         GiveCertificate::Request{std::move(certificate)}));
    (void)done;
  }
  co_return fresh.peer;
}

Task<Status> Credentials::adopt(Bytes revocations) {
  return keep_revocations(std::move(revocations), Told::nobody);
}

Task<Status> Credentials::keep_revocations(Bytes raw, Told told) {
  CO_TRY_SYNC(const auto fresh, p2p::Revocations::open(admission_.root(), raw));
  CO_TRY(const auto turn, writing_.acquire());
  const auto known = admission_.revocations();
  if (known && !fresh->replaces(*known)) co_return Status{};
  // First the disk: what counted once counts after a power cut, too.
  store::Batch batch;
  batch.put(std::string(kRevocationsKey), fresh->raw());
  CO_TRY_STATUS(kv_.write(std::move(batch), store::Durability::synced));
  admission_.adopt(fresh);
  log_.info("revocations number " + std::to_string(fresh->number()) + ": " +
            std::to_string(fresh->list().entries.size()) + " entries");
  if (const auto* own = fresh->whole(identity_.id()))
    log_.error("this node was revoked" + (own->reason.empty() ? "" : ": " + own->reason));
  host_.recheck();
  if (told == Told::everybody) co_return Status{};
  const auto sent =
      host_.publish(std::string(kRevocationsTopic), codec::to_cbor(News{fresh->number()}));
  if (!sent) log_.debug("gossip: " + sent.error().to_string());
  co_return Status{};
}

Task<Result<Compare::Response>> Credentials::handle(command::Peer peer, Compare::Request request) {
  CO_TRY_SYNC_STATUS(host_.note_certificate(peer.id, request.certificate));
  Compare::Response response{number(), std::nullopt, identity_.certificate()};
  if (request.number < response.number) response.revocations = revocations()->raw();
  co_return response;
}

Task<Result<GiveRevocations::Response>> Credentials::handle(command::Peer,
                                                            GiveRevocations::Request request) {
  CO_TRY_STATUS(adopt(std::move(request.revocations)));
  co_return command::Empty{};
}

Task<Result<GiveCertificate::Response>> Credentials::handle(command::Peer,
                                                            GiveCertificate::Request request) {
  CO_TRY_STATUS(renew(std::move(request.certificate)));
  co_return command::Empty{};
}

}  // namespace tau::node
