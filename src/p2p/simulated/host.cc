#include <algorithm>
#include <chrono>

#include "p2p/simulated/network.h"
#include "p2p/simulated/stream.h"

namespace tau::p2p::simulated {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMessageSizeMax = 64 * 1024;  // p2p/host.h
constexpr std::size_t kKeySizeMax = 128;            // as p2p/libp2p
constexpr std::size_t kHeardMax = 8192;             // gossipsub forgets after a minute
constexpr std::int64_t kExpiryCheckMs = 24 * 3600 * 1000;

}  // namespace

struct SimulatedHost::Dial {
  PeerId from, to;
  Bytes certificate;  // of `from`
  runtime::OneShot<PeerId> done;
};

SimulatedHost::SimulatedHost(SimulatedNetwork& network, PeerId id, Admission admission, Logger log,
                             runtime::Loop* loop)
    : network_(network),
      loop_(loop ? *loop : network.loop_),
      id_(std::move(id)),
      admission_(std::move(admission)),
      log_(std::move(log)),
      conduct_(loop_, admission_, [this](const PeerId& peer) { disconnect(peer); }, log_),
      tasks_(loop_) {}

SimulatedHost::~SimulatedHost() {
  loop_.cancel_timer(expiry_);
  network_.remove(*this);
}

std::vector<std::string> SimulatedHost::addresses() const {
  if (state_ != State::running) return {};
  return {"/memory/" + std::to_string(address_) + "/p2p/" + id_.str()};
}

Status SimulatedHost::running() const {
  if (state_ == State::running) return {};
  return fail(ErrorCode::unavailable, "host " + id_.str() + " is not running");
}

Task<Status> SimulatedHost::start() {
  if (state_ != State::fresh) co_return fail(ErrorCode::failed_precondition, "a host starts once");
  if (network_.find(id_))
    co_return fail(ErrorCode::already_exists, "host " + id_.str() + " runs already");
  state_ = State::running;
  network_.add(*this);
  co_return Status{};
}

Task<void> SimulatedHost::stop() {
  state_ = State::stopped;
  co_await tasks_.stop();
  network_.remove(*this);
  while (!peers_.empty()) {
    const PeerId peer = peers_.begin()->first;
    if (const auto connection = network_.connection(id_, peer)) network_.close(connection, id_);
    peer_down(peer);
  }
}

// Dial, at +1 latency the listener's check, at +2 the dialer's, at +3 the listener knows of both.
Task<Result<PeerId>> SimulatedHost::connect(std::string multiaddr) {
  CO_TRY_SYNC_STATUS(running());
  const auto at = multiaddr.find("/p2p/");
  if (!multiaddr.starts_with("/memory/") || at == std::string::npos)
    co_return fail(ErrorCode::invalid_argument,
                   multiaddr.substr(0, 200) + " is no address of the simulated network");
  const PeerId peer(multiaddr.substr(at + 5));
  if (peer == id_)
    co_return fail(ErrorCode::invalid_argument, "dial " + multiaddr + ": that is this host itself");
  if (peers_.contains(peer)) co_return peer;
  const auto dial = std::make_shared<Dial>(
      Dial{id_, peer, admission_.own_certificate(), runtime::OneShot<PeerId>(loop_)});
  SimulatedNetwork& network = network_;
  network.deliver(id_, peer, [&network, dial] { dial_arrives(network, dial); });
  auto done = co_await runtime::with_deadline(SimulatedNetwork::kDialLimit, "dial", outcome(dial));
  if (done) co_return std::move(*done);
  const bool late = done.error().code() == ErrorCode::deadline_exceeded;
  co_return fail(late ? ErrorCode::unavailable : done.error().code(),
                 "dial " + multiaddr + ": " + done.error().message());
}

Task<Result<PeerId>> SimulatedHost::outcome(std::shared_ptr<Dial> dial) {
  co_return co_await dial->done;
}

void SimulatedHost::dial_arrives(SimulatedNetwork& network, std::shared_ptr<Dial> dial) {
  const SimulatedHost* host = network.find(dial->to);
  const auto refuse = [&](ErrorCode code, std::string why) {
    network.deliver(dial->to, dial->from, [dial, code, why] { dial->done.set(fail(code, why)); });
  };
  if (!host) return refuse(ErrorCode::unavailable, "connection refused");
  if (const auto refusal =
          host->admission_.refusal(dial->from, dial->certificate, host->loop_.wall_unix_ms()))
    return refuse(ErrorCode::permission_denied,
                  "the peer refused this host's certificate" +
                      (refusal->was_member ? ": " + refusal->why : ""));
  network.deliver(dial->to, dial->from,
                  [&network, dial, certificate = host->admission_.own_certificate()] {
                    answer_arrives(network, dial, certificate);
                  });
}

void SimulatedHost::answer_arrives(SimulatedNetwork& network, std::shared_ptr<Dial> dial,
                                   Bytes certificate) {
  SimulatedHost* host = network.find(dial->from);
  if (!host) return;
  if (auto refusal = host->admission_.refusal(dial->to, certificate, host->loop_.wall_unix_ms())) {
    dial->done.set(fail(ErrorCode::permission_denied, std::move(refusal->why)));
    return;
  }
  auto shown = host->admission_.open(dial->to, certificate);
  auto connection = network.connection(dial->from, dial->to);
  if (!connection) {
    connection = std::make_shared<Connection>(network, dial->from, dial->to);
    network.connections_[std::minmax(dial->from, dial->to)] = connection;
  }
  host->peer_up(dial->to, std::move(*shown));
  dial->done.set(PeerId(dial->to));
  network.deliver(dial->from, dial->to, [&network, dial, connection] {
    SimulatedHost* other = connection->open ? network.find(dial->to) : nullptr;
    if (!other) return;
    auto theirs = other->admission_.open(dial->from, dial->certificate);
    if (theirs && other->admission_.judge(*theirs, other->loop_.wall_unix_ms())) {
      other->peer_up(dial->from, std::move(*theirs));
    } else {
      network.close(connection, dial->to);
    }
  });
}

void SimulatedHost::disconnect(const PeerId& peer) {
  const auto connection = network_.connection(id_, peer);
  if (!connection || !peers_.contains(peer)) return;
  network_.close(connection, id_);
  forget(peer);
  tasks_.spawn([](SimulatedHost& host, PeerId gone) -> Task<void> {
    (void)co_await runtime::yield();
    host.tell_peer(gone, false);
  }(*this, peer));
}

Task<Result<std::unique_ptr<Stream>>> SimulatedHost::open(PeerId peer, std::string protocol) {
  CO_TRY_SYNC_STATUS(running());
  const auto connection = accepted(peer) ? network_.connection(id_, peer) : nullptr;
  if (!connection) co_return fail(ErrorCode::unavailable, "not connected to " + peer.str());
  const std::uint64_t opening = connection->next_opening++;
  const runtime::OneShot<std::unique_ptr<Stream>> done(loop_);
  connection->openings.emplace(opening, Opening{id_, done});
  network_.deliver(id_, peer,
                   [&network = network_, connection, from = id_, peer, opening, protocol] {
                     SimulatedHost* host = connection->open ? network.find(peer) : nullptr;
                     if (host) host->accept(from, connection, opening, protocol);
                   });
  auto opened = co_await done;
  if (!opened) co_return fail(std::move(opened).error().context("open " + protocol));
  co_return std::move(*opened);
}

void SimulatedHost::accept(const PeerId& from, std::shared_ptr<Connection> connection,
                           std::uint64_t opening, std::string protocol) {
  const auto it = handlers_.find(protocol);
  const auto finish = [&](auto result) {
    network_.deliver(id_, from, [connection, opening, result]() mutable {
      auto node = connection->openings.extract(opening);
      if (node) node.mapped().done.set(result());
    });
  };
  using Opened = Result<std::unique_ptr<Stream>>;
  if (it == handlers_.end() || state_ != State::running) {
    return finish([peer = id_]() -> Opened {
      return fail(ErrorCode::unimplemented, peer.str() + " does not speak this protocol");
    });
  }
  const auto here = connection->make_pipe(from), there = connection->make_pipe(id_);
  auto stream = std::make_unique<SimulatedStream>(connection, id_, here, there);
  finish([connection, from, here, there]() -> Opened {
    return std::make_unique<SimulatedStream>(connection, from, there, here);
  });
  tasks_.spawn([](StreamHandler handler, std::unique_ptr<Stream> s) -> Task<void> {
    co_await handler(std::move(s));
  }(it->second, std::move(stream)));
}

void SimulatedHost::handle(std::string protocol, StreamHandler handler) {
  if (handler) {
    handlers_.insert_or_assign(std::move(protocol), std::move(handler));
  } else {
    handlers_.erase(protocol);
  }
}

std::vector<PeerId> SimulatedHost::peers() const {
  std::vector<PeerId> out;
  for (const auto& [id, peer] : peers_)
    if (!peer.refused) out.push_back(id);
  return out;
}

std::optional<Certificate> SimulatedHost::certificate_of(const PeerId& peer) const {
  if (peer == id_) {
    // Asked before every call, and its signature does not change.
    const std::int64_t now = loop_.wall_unix_ms();
    if (!own_ || now < own_->not_before_unix_ms || now >= own_->not_after_unix_ms) {
      auto own = admission_.check(id_, admission_.own_certificate(), now);
      if (!own) return std::nullopt;
      own_ = std::move(*own);
    }
    return own_;
  }
  const Peer* entry = accepted(peer);
  if (!entry) return std::nullopt;
  return entry->certificate;
}

const SimulatedHost::Peer* SimulatedHost::accepted(const PeerId& peer) const {
  const auto it = peers_.find(peer);
  return it == peers_.end() || it->second.refused ? nullptr : &it->second;
}

Status SimulatedHost::show_certificate(Bytes certificate) {
  TRY(const auto own, admission_.check(id_, certificate, loop_.wall_unix_ms()));
  (void)own;
  admission_.renew(std::move(certificate));
  own_.reset();
  return {};
}

Status SimulatedHost::note_certificate(const PeerId& peer, BytesView certificate) {
  const auto it = peers_.find(peer);
  if (it == peers_.end()) return fail(ErrorCode::unavailable, "not connected to " + peer.str());
  TRY(Certificate opened, admission_.open(peer, certificate));
  if (opened.not_before_unix_ms < it->second.shown.not_before_unix_ms) return {};
  TRY(it->second.certificate, admission_.judge(opened, loop_.wall_unix_ms()));
  it->second.shown = std::move(opened);
  watch_expiry(it->second.certificate.not_after_unix_ms);
  return {};
}

void SimulatedHost::recheck() {
  own_.reset();
  std::vector<PeerId> refused;
  std::int64_t first = 0;
  for (auto& [peer, entry] : peers_) {
    auto left = admission_.judge(entry.shown, loop_.wall_unix_ms());
    if (!left) {
      log_.info("certificate of " + peer.str() + " " + left.error().message() +
                ": closing the connection");
      entry.refused = true;
      refused.push_back(peer);
      continue;
    }
    entry.certificate = *std::move(left);
    const std::int64_t ends = entry.certificate.not_after_unix_ms;
    if (first == 0 || ends < first) first = ends;
  }
  for (const PeerId& peer : refused) disconnect(peer);
  expiry_unix_ms_ = 0;
  if (first != 0) watch_expiry(first);
}

// One timer for all peers: a thousand hosts have a million of them.
void SimulatedHost::watch_expiry(std::int64_t not_after_unix_ms) {
  if (expiry_unix_ms_ != 0 && expiry_unix_ms_ <= not_after_unix_ms) return;
  loop_.cancel_timer(expiry_);
  expiry_unix_ms_ = not_after_unix_ms;
  const std::int64_t left = not_after_unix_ms - loop_.wall_unix_ms();
  expiry_ = loop_.call_after(std::chrono::milliseconds(std::clamp(left, 0L, kExpiryCheckMs)),
                             [this] { recheck(); });
}

void SimulatedHost::on_peer(PeerHandler handler) { peer_handlers_.push_back(std::move(handler)); }

void SimulatedHost::tell_peer(const PeerId& peer, bool connected) {
  for (std::size_t i = 0; i < peer_handlers_.size(); ++i) {
    const PeerHandler handler = peer_handlers_[i];
    handler(peer, connected);
  }
}

void SimulatedHost::peer_up(const PeerId& peer, Certificate shown) {
  if (state_ != State::running || peers_.contains(peer)) return;
  auto left = admission_.judge(shown, loop_.wall_unix_ms());
  if (!left) return disconnect(peer);
  watch_expiry(left->not_after_unix_ms);
  peers_.emplace(peer, Peer{std::move(shown), *std::move(left)});
  tell_peer(peer, true);
}

void SimulatedHost::forget(const PeerId& peer) {
  const auto it = peers_.find(peer);
  if (it == peers_.end()) return;
  peers_.erase(it);
}

void SimulatedHost::peer_down(const PeerId& peer) {
  if (!peers_.contains(peer)) return;
  forget(peer);
  tell_peer(peer, false);
}

void SimulatedHost::subscribe(std::string topic, MessageHandler handler) {
  topics_[std::move(topic)].push_back(std::move(handler));
}

Status SimulatedHost::publish(const std::string& topic, Bytes data) {
  TRY_STATUS(running());
  if (data.size() > kMessageSizeMax)
    return fail(ErrorCode::invalid_argument, "message of " + std::to_string(data.size()) +
                                                 " bytes; the limit is " +
                                                 std::to_string(kMessageSizeMax));
  const std::uint64_t message = network_.next_message_++;
  heard_.insert(message);
  spread(id_, id_, message, topic, std::make_shared<const Bytes>(std::move(data)));
  return {};
}

void SimulatedHost::spread(const PeerId& author, const PeerId& via, std::uint64_t message,
                           const std::string& topic, const std::shared_ptr<const Bytes>& data) {
  for (const auto& [peer, entry] : peers_) {
    const SimulatedHost* other = network_.find(peer);
    if (peer == author || peer == via || !other || !other->topics_.contains(topic)) continue;
    network_.bytes_ += data->size();
    network_.scatter(id_, peer,
                     [&network = network_, author, from = id_, to = peer, message, topic, data] {
                       SimulatedHost* host = network.find(to);
                       if (host) host->gossip(author, from, message, topic, data);
                     });
  }
}

void SimulatedHost::gossip(const PeerId& author, const PeerId& via, std::uint64_t message,
                           const std::string& topic, std::shared_ptr<const Bytes> data) {
  const auto it = topics_.find(topic);
  if (it == topics_.end() || !peers_.contains(via) || !heard_.insert(message).second) return;
  if (heard_.size() > kHeardMax) heard_.erase(heard_.begin());
  if (admission_.revoked(author) || !conduct_.admit_message(author)) return;
  for (std::size_t i = 0; i < it->second.size(); ++i) {
    const MessageHandler handler = it->second[i];
    handler(author, *data);
  }
  spread(author, via, message, topic, data);
}

Task<Status> SimulatedHost::provide(Bytes key) {
  CO_TRY_SYNC_STATUS(running());
  if (key.size() > kKeySizeMax)
    co_return fail(ErrorCode::invalid_argument, "a provider key has at most 128 bytes");
  CO_TRY_STATUS(runtime::sleep_for(2 * network_.latency_));
  network_.providers_[key].insert(id_);
  co_return Status{};
}

Task<Result<std::vector<PeerId>>> SimulatedHost::find_providers(Bytes key, std::size_t at_most) {
  CO_TRY_SYNC_STATUS(running());
  if (key.size() > kKeySizeMax)
    co_return fail(ErrorCode::invalid_argument, "a provider key has at most 128 bytes");
  CO_TRY_STATUS(runtime::sleep_for(2 * network_.latency_));
  std::vector<PeerId> found;
  const auto it = network_.providers_.find(key);
  if (it == network_.providers_.end()) co_return found;
  for (const auto& peer : it->second) {
    const bool heard_of = peer == id_ || (!peers_.empty() && !network_.separated(id_, peer));
    if (heard_of && found.size() < at_most) found.push_back(peer);
  }
  co_return found;
}

}  // namespace tau::p2p::simulated
