#include "p2p/simulated/network.h"

#include <algorithm>
#include <deque>

#include "codec/peer_id.h"

namespace tau::p2p {
namespace {

constexpr std::size_t kWindow = 256u << 10;         // yamux's default
constexpr std::size_t kMessageSizeMax = 64u << 10;  // as host.h promises

// One direction of a stream. Bytes arrive after the latency; the writer is held while a window of
// them has not been read.
struct Pipe {
  explicit Pipe(runtime::Loop& loop) : changed(loop) {}
  std::deque<std::uint8_t> arrived;
  std::size_t unread = 0;  // written, and not yet read at the other end
  bool ended = false;      // the writer said that nothing follows, and that has arrived
  bool reset = false;
  runtime::Signal changed;

  void break_off() {
    reset = true;
    changed.notify_all();
  }
};

}  // namespace

class SimulatedStream final : public Stream {
 public:
  SimulatedStream(runtime::Loop& loop, Duration latency, PeerId remote, std::shared_ptr<Pipe> in,
                  std::shared_ptr<Pipe> out)
      : loop_(loop),
        latency_(latency),
        remote_(std::move(remote)),
        in_(std::move(in)),
        out_(std::move(out)) {}
  ~SimulatedStream() override {
    if (!closed_) reset();
    in_->break_off();  // whoever still writes to us learns that nobody reads
  }

  const PeerId& remote() const override { return remote_; }

  Task<Result<std::size_t>> read(std::span<std::uint8_t> out) override {
    auto in = in_;
    while (in->arrived.empty() && !in->ended && !in->reset) CO_TRY_STATUS(in->changed.wait());
    if (in->arrived.empty() && in->reset)
      co_return fail(ErrorCode::unavailable, "the stream was reset");
    const std::size_t n = std::min(out.size(), in->arrived.size());
    std::copy_n(in->arrived.begin(), n, out.begin());
    in->arrived.erase(in->arrived.begin(), in->arrived.begin() + static_cast<std::ptrdiff_t>(n));
    in->unread -= n;
    in->changed.notify_all();
    co_return n;
  }

  Task<Status> write(BytesView data) override {
    auto out = out_;
    while (!data.empty()) {
      while (out->unread >= kWindow && !out->reset && !closed_) CO_TRY_STATUS(out->changed.wait());
      if (out->reset || closed_) co_return fail(ErrorCode::unavailable, "the stream was reset");
      const std::size_t n = std::min(data.size(), kWindow - out->unread);
      out->unread += n;
      loop_.call_after(latency_, [out, chunk = to_bytes(data.first(n))] {
        out->arrived.insert(out->arrived.end(), chunk.begin(), chunk.end());
        out->changed.notify_all();
      });
      data = data.subspan(n);
    }
    co_return Status{};
  }

  Task<Status> close_write() override {
    if (out_->reset) co_return fail(ErrorCode::unavailable, "the stream was reset");
    closed_ = true;
    loop_.call_after(latency_, [out = out_] {
      out->ended = true;
      out->changed.notify_all();
    });
    co_return Status{};
  }

  void reset() override {
    closed_ = true;
    in_->break_off();
    loop_.call_after(latency_, [out = out_] { out->break_off(); });
  }

 private:
  runtime::Loop& loop_;
  Duration latency_;
  PeerId remote_;
  std::shared_ptr<Pipe> in_, out_;
  bool closed_ = false;
};

SimulatedHost* SimulatedNetwork::find(const PeerId& id) const {
  const auto it = started_.find(id);
  return it == started_.end() ? nullptr : it->second;
}

void SimulatedNetwork::cut(const PeerId& a, const PeerId& b) {
  cuts_.insert(std::minmax(a, b));
  if (auto* host = find(a)) host->disconnect(b);
}

SimulatedHost::SimulatedHost(SimulatedNetwork& network, const crypto::PublicKey& key,
                             Admission admission)
    : network_(network),
      id_(codec::peer_id_of(key)),
      admission_(std::move(admission)),
      tasks_(network.loop()) {}

SimulatedHost::~SimulatedHost() { CHECK(!running_); }

Task<Status> SimulatedHost::start() {
  CHECK(!running_);
  if (!network_.started_.emplace(id_, this).second)
    co_return fail(ErrorCode::already_exists, "a host with this peer id runs already");
  running_ = true;
  co_return Status{};
}

void SimulatedHost::kill() {
  if (!running_) return;
  running_ = false;
  network_.started_.erase(id_);
  for (auto& [key, peers] : network_.providers_) peers.erase(id_);
  for (const auto& peer : peers()) drop(peer);
  tasks_.cancel();
}

Task<void> SimulatedHost::stop() {
  kill();
  co_await tasks_.stop();
  handlers_.clear();
}

void SimulatedHost::break_connection(Connection& connection) {
  if (connection.broken) return;
  connection.broken = true;
  for (auto& stream : std::exchange(connection.streams, {})) stream.break_off();
}

void SimulatedHost::peer_changed(const PeerId& peer, bool connected) {
  for (auto& handler : peer_handlers_) handler(peer, connected);
}

void SimulatedHost::drop(const PeerId& peer) {
  const auto it = connected_.find(peer);
  if (it == connected_.end()) return;
  auto connection = it->second.connection;
  connected_.erase(it);
  break_connection(*connection);
  peer_changed(peer, false);
  network_.loop_.call_after(network_.latency_, [&network = network_, me = id_, peer, connection] {
    auto* other = network.find(peer);
    if (!other) return;
    const auto theirs = other->connected_.find(me);
    if (theirs != other->connected_.end() && theirs->second.connection == connection)
      other->drop(me);
  });
}

void SimulatedHost::disconnect(const PeerId& peer) { drop(peer); }

Task<Result<PeerId>> SimulatedHost::connect(std::string multiaddr) {
  const auto at = multiaddr.rfind("/p2p/");
  if (!multiaddr.starts_with('/') || at == std::string::npos)
    co_return fail(ErrorCode::invalid_argument,
                   "\"" + multiaddr + "\" is not a multiaddr that ends in /p2p/<peer id>");
  const PeerId peer(multiaddr.substr(at + 5));
  if (peer == id_) co_return fail(ErrorCode::invalid_argument, "a host does not dial itself");
  CO_TRY_STATUS(runtime::sleep_for(2 * network_.latency_));
  if (!running_) co_return fail(ErrorCode::unavailable, "the host is stopped");
  if (connected_.contains(peer)) co_return peer;
  auto* other = network_.find(peer);
  if (!other || !network_.reachable(id_, peer))
    co_return fail(ErrorCode::unavailable, "cannot reach " + peer.str());
  const auto now = network_.loop_.wall_unix_ms();
  CO_TRY_SYNC(Certificate theirs, admission_.check(peer, other->admission_.own_certificate(), now));
  CO_TRY_SYNC(Certificate ours, other->admission_.check(id_, admission_.own_certificate(), now));
  auto connection = std::make_shared<Connection>();
  connected_.emplace(peer, Peer{std::move(theirs), connection});
  other->connected_.emplace(id_, Peer{std::move(ours), connection});
  other->peer_changed(id_, true);
  peer_changed(peer, true);
  co_return peer;
}

Task<Result<std::unique_ptr<Stream>>> SimulatedHost::open(PeerId peer, std::string protocol) {
  const auto it = connected_.find(peer);
  if (it == connected_.end())
    co_return fail(ErrorCode::unavailable, "not connected to " + peer.str());
  auto connection = it->second.connection;
  CO_TRY_STATUS(runtime::sleep_for(2 * network_.latency_));
  auto* other = network_.find(peer);
  if (connection->broken || !other)
    co_return fail(ErrorCode::unavailable, "the connection to " + peer.str() + " broke");
  const auto handler = other->handlers_.find(protocol);
  if (handler == other->handlers_.end())
    co_return fail(ErrorCode::unimplemented, peer.str() + " does not speak " + protocol);
  auto& loop = network_.loop_;
  auto forth = std::make_shared<Pipe>(loop), back = std::make_shared<Pipe>(loop);
  std::erase_if(connection->streams, [](const auto& stream) { return stream.alive.expired(); });
  connection->streams.push_back({forth, [forth = std::weak_ptr(forth), back = std::weak_ptr(back)] {
                                   if (auto p = forth.lock()) p->break_off();
                                   if (auto p = back.lock()) p->break_off();
                                 }});
  ++network_.streams_opened_;
  other->tasks_.spawn(handler->second(
      std::make_unique<SimulatedStream>(loop, network_.latency_, id_, forth, back)));
  co_return std::make_unique<SimulatedStream>(loop, network_.latency_, peer, back, forth);
}

void SimulatedHost::handle(std::string protocol, StreamHandler handler) {
  if (handler) {
    handlers_[std::move(protocol)] = std::move(handler);
  } else {
    handlers_.erase(protocol);
  }
}

std::vector<PeerId> SimulatedHost::peers() const {
  std::vector<PeerId> found;
  for (const auto& item : connected_) found.push_back(item.first);
  return found;
}

std::optional<Certificate> SimulatedHost::certificate_of(const PeerId& peer) const {
  if (peer == id_) {
    auto own = admission_.check(id_, admission_.own_certificate(), network_.loop_.wall_unix_ms());
    if (!own) return std::nullopt;
    return *std::move(own);
  }
  const auto it = connected_.find(peer);
  if (it == connected_.end()) return std::nullopt;
  return it->second.certificate;
}

void SimulatedHost::subscribe(std::string topic, MessageHandler handler) {
  subscriptions_[std::move(topic)].push_back(std::move(handler));
}

// Floods over connected subscribers, one latency a hop. Real gossipsub sends fewer copies; who gets
// it, and when, is the same.
Status SimulatedHost::publish(const std::string& topic, Bytes data) {
  if (data.size() > kMessageSizeMax)
    return fail(ErrorCode::invalid_argument, "a gossip message has at most 65,536 bytes");
  if (!running_) return fail(ErrorCode::unavailable, "the host is stopped");
  std::map<PeerId, int> hops = {{id_, 0}};
  std::deque<SimulatedHost*> queue = {this};
  while (!queue.empty()) {
    SimulatedHost* host = queue.front();
    queue.pop_front();
    for (const auto& [peer, link] : host->connected_) {
      SimulatedHost* next = network_.find(peer);
      if (!next || hops.contains(peer) || !next->subscriptions_.contains(topic)) continue;
      hops[peer] = hops[host->id_] + 1;
      queue.push_back(next);
      network_.loop_.call_after(hops[peer] * network_.latency_,
                                [&network = network_, peer, from = id_, topic, data] {
                                  auto* to = network.find(peer);
                                  if (!to) return;
                                  for (auto& handler : to->subscriptions_[topic])
                                    handler(from, data);
                                });
    }
  }
  return {};
}

Task<Status> SimulatedHost::provide(Bytes key) {
  CO_TRY_STATUS(runtime::sleep_for(2 * network_.latency_));
  if (!running_) co_return fail(ErrorCode::unavailable, "the host is stopped");
  network_.providers_[std::move(key)].insert(id_);
  co_return Status{};
}

Task<Result<std::vector<PeerId>>> SimulatedHost::find_providers(Bytes key, std::size_t at_most) {
  CO_TRY_STATUS(runtime::sleep_for(2 * network_.latency_));
  std::vector<PeerId> found;
  for (const auto& peer : network_.providers_[key])
    if (found.size() < at_most && network_.reachable(id_, peer)) found.push_back(peer);
  co_return found;
}

}  // namespace tau::p2p
