#include <algorithm>
#include <chrono>

#include "p2p/simulated/network.h"
#include "p2p/simulated/stream.h"

namespace tau::p2p::simulated {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMessageSizeMax = 64 * 1024;  // p2p/host.h
constexpr std::size_t kKeySizeMax = 128;            // as p2p/libp2p
constexpr std::int64_t kExpiryCheckMs = 24 * 3600 * 1000;

// "/tau/id/1", "/ipfs/ping/1.0.0", "/meshsub/1.3.0", "/tau/kad/1".
constexpr std::size_t kIdentifyName = 9, kPingName = 16, kGossipName = 14, kKadName = 10;
// Key, addresses, agent and the names of all protocols of the swarm.
constexpr std::size_t kIdentifyBytes = 430;
// The first message of gossipsub v1.3: which extensions a host has.
constexpr std::size_t kExtensionsBytes = framed_bytes(6);
// Negotiation of noise and yamux, and the three messages of noise's handshake, of both sides;
// certificates come on top.
constexpr std::size_t kConnectingMessages = 10, kConnectingBytes = 700;
constexpr std::size_t kKadAnswerSteps = 4;

}  // namespace

struct SimulatedHost::Dial {
  Number from = 0, to = 0;
  Bytes certificate;  // of `from`
  Dialed done;        // once
};

SimulatedHost::SimulatedHost(SimulatedNetwork& network, PeerId id, Admission admission, Logger log,
                             runtime::Loop* loop)
    : network_(network),
      loop_(loop ? *loop : network.loop_),
      id_(std::move(id)),
      number_(network.number_of(id_)),
      admission_(std::move(admission)),
      log_(std::move(log)),
      conduct_(
          loop_, admission_, [this](const PeerId& peer) { disconnect(peer); }, log_),
      gossip_(*this),
      kademlia_(*this, number_),
      tasks_(loop_) {}

SimulatedHost::~SimulatedHost() {
  *alive_ = false;
  loop_.cancel_timer(expiry_);
  network_.remove(*this);
}

std::vector<std::string> SimulatedHost::addresses() const {
  if (state_ != State::running) return {};
  return {"/memory/" + std::to_string(number_ + 1) + "/p2p/" + id_.str()};
}

Status SimulatedHost::running() const {
  if (state_ == State::running) return {};
  return fail(ErrorCode::unavailable, "host " + id_.str() + " is not running");
}

Task<Status> SimulatedHost::start() {
  if (state_ != State::fresh) co_return fail(ErrorCode::failed_precondition, "a host starts once");
  if (network_.find(number_))
    co_return fail(ErrorCode::already_exists, "host " + id_.str() + " runs already");
  state_ = State::running;
  network_.add(*this);
  kademlia_.start();
  co_return Status{};
}

Task<void> SimulatedHost::stop() {
  state_ = State::stopped;
  *alive_ = false;
  kademlia_.stop();
  co_await tasks_.stop();
  network_.remove(*this);
  while (!peers_.empty()) {
    const Number peer = peers_.begin()->second.number;
    if (const auto c = network_.connection(number_, peer)) network_.close(c, number_);
    peer_down(peer);
  }
}

// Of this host's life: what comes after it has stopped does nothing.
void SimulatedHost::call_after(Duration after, std::function<void()> callback) {
  loop_.call_after(after, [alive = alive_, callback = std::move(callback)] {
    if (*alive) callback();
  });
}

// No timer while there is nothing to do: tests let years pass.
void SimulatedHost::keep_time() {
  if (std::exchange(keeping_time_, true)) return;
  call_after(Gossip::kHeartbeat, [this] {
    keeping_time_ = false;
    if (gossip_.heartbeat()) keep_time();
  });
}

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
  runtime::OneShot<PeerId> dialed(loop_);
  dial(network_.number_of(peer),
       [dialed](Result<PeerId> result) mutable { dialed.set(std::move(result)); });
  auto done =
      co_await runtime::with_deadline(SimulatedNetwork::kDialLimit, "dial",
                                      [](runtime::OneShot<PeerId> outcome) -> Task<Result<PeerId>> {
                                        co_return co_await outcome;
                                      }(dialed));
  if (done) co_return std::move(*done);
  const bool late = done.error().code() == ErrorCode::deadline_exceeded;
  co_return fail(late ? ErrorCode::unavailable : done.error().code(),
                 "dial " + multiaddr + ": " + done.error().message());
}

// Dial, at +1 latency the listener's check, at +2 the dialer's, at +3 the listener knows of both.
void SimulatedHost::dial(Number to, Dialed done) {
  const auto dial =
      std::make_shared<Dial>(Dial{number_, to, admission_.own_certificate(), std::move(done)});
  SimulatedNetwork& network = network_;
  network.count(Kind::connecting, number_, kConnectingBytes, kConnectingMessages);
  network.count(Kind::connecting, number_, framed_bytes(dial->certificate.size()));
  network.deliver(number_, to, [&network, dial] { dial_arrives(network, dial); });
}

void SimulatedHost::dial_arrives(SimulatedNetwork& network, std::shared_ptr<Dial> dial) {
  const SimulatedHost* host = network.find(dial->to);
  const auto refuse = [&](ErrorCode code, std::string why) {
    network.deliver(dial->to, dial->from, [dial, code, why] { dial->done(fail(code, why)); });
  };
  if (!host) return refuse(ErrorCode::unavailable, "connection refused");
  if (const auto refusal = host->admission_.refusal(network.name_of(dial->from), dial->certificate,
                                                    host->loop_.wall_unix_ms()))
    return refuse(ErrorCode::permission_denied,
                  "the peer refused this host's certificate" +
                      (refusal->was_member ? ": " + refusal->why : ""));
  Bytes certificate = host->admission_.own_certificate();
  network.count(Kind::connecting, dial->to, framed_bytes(certificate.size()));
  network.deliver(dial->to, dial->from, [&network, dial, certificate = std::move(certificate)] {
    answer_arrives(network, dial, certificate);
  });
}

void SimulatedHost::answer_arrives(SimulatedNetwork& network, std::shared_ptr<Dial> dial,
                                   Bytes certificate) {
  SimulatedHost* host = network.find(dial->from);
  if (!host) return;
  const PeerId& peer = network.name_of(dial->to);
  if (auto refusal = host->admission_.refusal(peer, certificate, host->loop_.wall_unix_ms()))
    return dial->done(fail(ErrorCode::permission_denied, std::move(refusal->why)));
  auto shown = host->admission_.open(peer, certificate);
  auto connection = network.connection(dial->from, dial->to);
  if (!connection) {
    connection = std::make_shared<Connection>(network, dial->from, dial->to);
    network.connections_[SimulatedNetwork::sorted(dial->from, dial->to)] = connection;
  }
  // First, so that the other side knows this one before it hears from it.
  network.deliver(dial->from, dial->to, [&network, dial, connection] {
    SimulatedHost* other = connection->open ? network.find(dial->to) : nullptr;
    if (!other) return;
    auto theirs = other->admission_.open(network.name_of(dial->from), dial->certificate);
    if (theirs && other->admission_.judge(*theirs, other->loop_.wall_unix_ms())) {
      other->peer_up(dial->from, std::move(*theirs), false);
    } else {
      network.close(connection, dial->to);
    }
  });
  host->peer_up(dial->to, std::move(*shown), true);
  dial->done(peer);
}

void SimulatedHost::disconnect(const PeerId& peer) {
  const auto it = peers_.find(peer);
  if (it == peers_.end()) return;
  const Number number = it->second.number;
  const auto connection = network_.connection(number_, number);
  if (!connection) return;
  network_.close(connection, number_);
  forget(number);
  tasks_.spawn([](SimulatedHost& host, PeerId gone) -> Task<void> {
    (void)co_await runtime::yield();
    host.tell_peer(gone, false);
  }(*this, peer));
}

Task<Result<std::unique_ptr<Stream>>> SimulatedHost::open(PeerId peer, std::string protocol) {
  CO_TRY_SYNC_STATUS(running());
  const Peer* entry = accepted(peer);
  const Number to = entry ? entry->number : 0;
  const auto connection = entry ? network_.connection(number_, to) : nullptr;
  if (!connection) co_return fail(ErrorCode::unavailable, "not connected to " + peer.str());
  const std::uint64_t opening = connection->next_opening++;
  const runtime::OneShot<std::unique_ptr<Stream>> done(loop_);
  connection->openings.emplace(opening, Opening{number_, done});
  network_.count(Kind::streams, number_, opening_bytes(protocol.size()));
  network_.deliver(number_, to,
                   [&network = network_, connection, from = number_, to, opening, protocol] {
                     SimulatedHost* host = connection->open ? network.find(to) : nullptr;
                     if (host) host->accept(from, connection, opening, protocol);
                   });
  auto opened = co_await done;
  if (!opened) co_return fail(std::move(opened).error().context("open " + protocol));
  co_return std::move(*opened);
}

void SimulatedHost::accept(Number from, std::shared_ptr<Connection> connection,
                           std::uint64_t opening, std::string protocol) {
  const auto it = handlers_.find(protocol);
  const auto finish = [&](auto result) {
    network_.count(Kind::streams, number_, accepting_bytes(protocol.size()), kAcceptMessages);
    network_.deliver(number_, from, [connection, opening, result]() mutable {
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
  const auto here = connection->make_pipe(from, protocol);
  const auto there = connection->make_pipe(number_, protocol);
  here->cost.add(opening_bytes(protocol.size()) + accepting_bytes(protocol.size()),
                 1 + kAcceptMessages);
  auto stream = std::make_unique<SimulatedStream>(connection, number_, here, there);
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

std::shared_ptr<const Certificate> SimulatedHost::certificate_of(const PeerId& peer) const {
  if (peer == id_) {
    // Asked before every call, and its signature does not change.
    const std::int64_t now = loop_.wall_unix_ms();
    if (!own_ || now < own_->not_before_unix_ms || now >= own_->not_after_unix_ms) {
      auto own = admission_.check(id_, admission_.own_certificate(), now);
      if (!own) return nullptr;
      own_ = std::make_shared<const Certificate>(*std::move(own));
    }
    return own_;
  }
  const Peer* entry = accepted(peer);
  return entry ? entry->certificate : nullptr;
}

void SimulatedHost::each_peer(const PeerVisitor& visit) const {
  for (const auto& [id, peer] : peers_)
    if (!peer.refused) visit(id, *peer.certificate);
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
  TRY(Certificate left, admission_.judge(opened, loop_.wall_unix_ms()));
  it->second.certificate = std::make_shared<const Certificate>(std::move(left));
  it->second.shown = std::move(opened);
  watch_expiry(it->second.certificate->not_after_unix_ms);
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
    entry.certificate = std::make_shared<const Certificate>(*std::move(left));
    const std::int64_t ends = entry.certificate->not_after_unix_ms;
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

void SimulatedHost::peer_up(Number number, Certificate shown, bool dialed_by_us) {
  const PeerId peer = network_.name_of(number);
  if (state_ != State::running || peers_.contains(peer)) return;
  auto left = admission_.judge(shown, loop_.wall_unix_ms());
  const auto connection = network_.connection(number_, number);
  if (!left || !connection) {
    if (connection) network_.close(connection, number_);
    return;
  }
  watch_expiry(left->not_after_unix_ms);
  peers_.emplace(
      peer, Peer{number, std::move(shown), std::make_shared<const Certificate>(*std::move(left))});
  // Each side opens a stream for its pings and one for its gossip, which stay.
  network_.count(Kind::ping, number_,
                 opening_bytes(kPingName) + accepting_bytes(kPingName) + 2 * (32 + kFrameBytes),
                 3 + kAcceptMessages);
  network_.count(Kind::gossip, number_,
                 opening_bytes(kGossipName) + accepting_bytes(kGossipName) + kExtensionsBytes,
                 2 + kAcceptMessages);
  gossip_.connected(number, dialed_by_us);
  keep_time();
  identify(number, connection);
  tell_peer(peer, true);
}

void SimulatedHost::identify(Number peer, std::shared_ptr<Connection> connection) {
  network_.count(Kind::identify, number_, opening_bytes(kIdentifyName) + kStreamEndBytes, 2);
  SimulatedNetwork& network = network_;
  network.deliver(number_, peer, [&network, from = number_, peer, connection] {
    if (!connection->open) return;
    network.count(Kind::identify, peer,
                  accepting_bytes(kIdentifyName) + framed_bytes(kIdentifyBytes) + kStreamEndBytes,
                  2 + kAcceptMessages);
    network.deliver(peer, from, [&network, from, peer, connection] {
      SimulatedHost* host = connection->open ? network.find(from) : nullptr;
      if (host) host->kademlia_.connected(peer);
    });
  });
}

void SimulatedHost::forget(Number number) {
  const auto it = peers_.find(network_.name_of(number));
  if (it == peers_.end()) return;
  peers_.erase(it);
  gossip_.disconnected(number);
  if (*alive_) keep_time();
  kademlia_.disconnected(number);
}

void SimulatedHost::peer_down(Number number) {
  const PeerId peer = network_.name_of(number);
  if (!peers_.contains(peer)) return;
  forget(number);
  tell_peer(peer, false);
}

void SimulatedHost::subscribe(std::string topic, MessageHandler handler) {
  const Topic number = network_.topic_of(topic);
  topics_[number].push_back(std::move(handler));
  gossip_.subscribe(number);
  if (state_ == State::running) keep_time();
}

Status SimulatedHost::publish(const std::string& topic, Bytes data) {
  TRY_STATUS(running());
  if (data.size() > kMessageSizeMax)
    return fail(ErrorCode::invalid_argument, "message of " + std::to_string(data.size()) +
                                                 " bytes; the limit is " +
                                                 std::to_string(kMessageSizeMax));
  GossipMessage message{network_.next_message_++, number_, network_.topic_of(topic),
                        std::move(data), 0};
  // Author, data, sequence number, topic, signature.
  message.bytes = field_bytes(kPeerIdBytes) + field_bytes(message.data.size()) + field_bytes(8) +
                  field_bytes(topic.size()) + field_bytes(64);
  gossip_.publish(std::make_shared<const GossipMessage>(std::move(message)));
  keep_time();
  return {};
}

void SimulatedHost::send_gossip(Number to, std::shared_ptr<const GossipRpc> rpc) {
  const auto connection = network_.connection(number_, to);
  if (!connection) return;
  network_.count(Kind::gossip, number_, rpc->bytes);
  const bool message = rpc->what == GossipRpc::What::publish;
  auto arrival = [&network = network_, connection, from = number_, to, rpc = std::move(rpc)] {
    SimulatedHost* host = connection->open ? network.find(to) : nullptr;
    if (!host) return;
    host->gossip_.receive(from, *rpc);
    host->keep_time();
  };
  if (message) {
    network_.scatter(number_, to, std::move(arrival));
  } else {
    network_.deliver(number_, to, std::move(arrival));
  }
}

void SimulatedHost::hear_gossip(const GossipMessage& message) {
  const auto it = topics_.find(message.topic);
  const PeerId& author = network_.name_of(message.author);
  if (it == topics_.end() || state_ != State::running || admission_.revoked(author) ||
      !conduct_.admit_message(author))
    return;
  for (std::size_t i = 0; i < it->second.size(); ++i) {
    const MessageHandler handler = it->second[i];
    handler(author, message.data);
  }
}

// One stream for each request: negotiated, asked, answered. A connection that breaks meanwhile
// fails all that waits for it (Kademlia::disconnected).
void SimulatedHost::ask_connected(Number to, Question question) {
  const auto connection = network_.connection(number_, to);
  if (!connection) return kademlia_.failed(question.query, to);
  SimulatedNetwork& network = network_;
  network.count(Kind::kademlia, number_, opening_bytes(kKadName));
  // Each step is the other side's, an arrival later.
  struct Talk {
    SimulatedNetwork& network;
    std::shared_ptr<Connection> connection;
    Number asker, asked;
    Question question;
    std::optional<KadAnswer> answer;

    static void step(const std::shared_ptr<Talk>& talk, std::size_t n) {
      const bool at_asked = n % 2 == 0;
      SimulatedNetwork& net = talk->network;
      const Number here = at_asked ? talk->asked : talk->asker;
      SimulatedHost* host = talk->connection->open ? net.find(here) : nullptr;
      if (!host) return;
      const KadRequest& request = *talk->question.request;
      if (n == 0) net.count(Kind::kademlia, here, accepting_bytes(kKadName), kAcceptMessages);
      if (n == 1) net.count(Kind::kademlia, here, request.bytes + kStreamEndBytes, 2);
      if (n == 2) {
        talk->answer = host->kademlia_.receive(talk->asker, request);
        if (!talk->answer) return net.count(Kind::kademlia, here, kStreamEndBytes);
        net.count(Kind::kademlia, here, talk->answer->bytes + kStreamEndBytes, 2);
      }
      if (n + 1 == kKadAnswerSteps)
        return host->kademlia_.answered(talk->question.query, talk->asked, *talk->answer);
      net.deliver(here, at_asked ? talk->asker : talk->asked, [talk, n] { step(talk, n + 1); });
    }
  };
  const auto talk = std::make_shared<Talk>(
      Talk{network, connection, number_, to, std::move(question), std::nullopt});
  network.deliver(number_, to, [talk] { Talk::step(talk, 0); });
}

void SimulatedHost::ask(Number to, std::uint64_t query, std::shared_ptr<const KadRequest> request) {
  if (peers_.contains(network_.name_of(to))) return ask_connected(to, {query, std::move(request)});
  auto& waiting = asked_unconnected_[to];
  waiting.push_back({query, std::move(request)});
  if (waiting.size() > 1) return;
  dial(to, [this, to, alive = alive_](const Result<PeerId>& dialed) {
    if (!*alive) return;
    const auto questions = asked_unconnected_.extract(to);
    if (!questions) return;
    for (Question& question : questions.mapped()) {
      if (dialed) {
        ask_connected(to, std::move(question));
      } else {
        kademlia_.failed(question.query, to);
      }
    }
  });
  // A dial that nobody answers: the next lookup tries again.
  call_after(SimulatedNetwork::kDialLimit, [this, to] {
    const auto questions = asked_unconnected_.extract(to);
    if (!questions) return;
    for (const Question& question : questions.mapped()) kademlia_.failed(question.query, to);
  });
}

Task<Status> SimulatedHost::provide(Bytes key) {
  CO_TRY_SYNC_STATUS(running());
  if (key.size() > kKeySizeMax)
    co_return fail(ErrorCode::invalid_argument, "a provider key has at most 128 bytes");
  runtime::OneShot<void> told(loop_);
  kademlia_.provide(std::move(key),
                    [told](const std::vector<Number>&) mutable { told.set(Status{}); });
  co_return co_await told;
}

Task<Result<std::vector<PeerId>>> SimulatedHost::find_providers(Bytes key, std::size_t at_most) {
  CO_TRY_SYNC_STATUS(running());
  if (key.size() > kKeySizeMax)
    co_return fail(ErrorCode::invalid_argument, "a provider key has at most 128 bytes");
  runtime::OneShot<std::vector<PeerId>> found(loop_);
  kademlia_.find(std::move(key), at_most,
                 [this, found, at_most](const std::vector<Number>& providers) mutable {
                   std::vector<PeerId> peers;
                   for (const Number provider : providers)
                     if (peers.size() < at_most) peers.push_back(network_.name_of(provider));
                   found.set(std::move(peers));
                 });
  co_return co_await found;
}

Task<Result<std::vector<std::string>>> SimulatedHost::find_peer(PeerId peer) {
  CO_TRY_SYNC_STATUS(running());
  runtime::OneShot<std::vector<std::string>> found(loop_);
  const Number number = network_.number_of(peer);
  kademlia_.look_for(number, [peer, number, found](const std::vector<Number>& it) mutable {
    std::vector<std::string> addresses;
    if (!it.empty())
      addresses.push_back("/memory/" + std::to_string(number + 1) + "/p2p/" + peer.str());
    found.set(std::move(addresses));
  });
  co_return co_await found;
}

}  // namespace tau::p2p::simulated
