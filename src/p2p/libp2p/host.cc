#include "p2p/libp2p/host.h"

#include <algorithm>
#include <utility>

#include "codec/peer_id.h"
#include "p2p/libp2p/link.h"
#include "p2p/libp2p/stream.h"

namespace tau::p2p::libp2p {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMessageSizeMax = 64 * 1024;  // p2p/host.h
constexpr std::size_t kKeySizeMax = 128;            // a multihash; native/swarm bounds the same
constexpr Duration kRedialFirst = 250ms, kRedialLast = 30s;
// Timers are set no further ahead, so that a wall clock that is moved is noticed within a day.
constexpr std::int64_t kExpiryCheckMs = 24 * 3600 * 1000;

rust::Slice<const std::uint8_t> slice_of(BytesView bytes) { return {bytes.data(), bytes.size()}; }

rust::Vec<std::uint8_t> vec_of(BytesView bytes) {
  rust::Vec<std::uint8_t> out;
  out.reserve(bytes.size());
  for (const std::uint8_t byte : bytes) out.push_back(byte);
  return out;
}

rust::Vec<rust::String> vec_of(const std::vector<std::string>& texts) {
  rust::Vec<rust::String> out;
  for (const auto& text : texts) out.push_back(rust::String::lossy(text));
  return out;
}

// rust::Str insists on UTF-8; what is not is no multiaddr, protocol or topic either.
rust::String text_of(const std::string& text) { return rust::String::lossy(text); }

// The answer of an operation that has no value.
std::unique_ptr<native::Completion> answer_to(const std::shared_ptr<Link>& link,
                                              runtime::OneShot<void> out) {
  return std::make_unique<Answer>(link, [out](Result<native::Outcome> r) mutable {
    out.set_now(r ? Status{} : Status(fail(std::move(r).error())));
  });
}

}  // namespace

struct Runtime::Parts {
  rust::Box<native::NativeRuntime> native;
};

Runtime::Runtime(std::size_t threads)
    : parts_(std::make_unique<Parts>(Parts{native::new_runtime(threads)})) {}
Runtime::~Runtime() = default;

struct LibP2pHost::Parts {
  rust::Box<native::NativeHost> native;
};

LibP2pHost::LibP2pHost(runtime::RealLoop& loop, Runtime& runtime, Options options, Logger log)
    : loop_(loop),
      runtime_(runtime),
      options_(std::move(options)),
      log_(std::move(log)),
      id_(codec::peer_id_of(options_.key.public_key())),
      link_(std::make_shared<Link>(loop, *this, options_.admission)),
      conduct_(
          loop, options_.admission, [this](const PeerId& peer) { disconnect(peer); }, log_),
      peers_changed_(loop),
      tasks_(loop) {}

LibP2pHost::~LibP2pHost() {
  for (auto& [id, peer] : peers_) loop_.cancel_timer(peer.expiry);
  link_->close();
}

std::vector<std::string> LibP2pHost::addresses() const {
  std::vector<std::string> out;
  const std::string suffix = "/p2p/" + id_.str();
  for (const auto* list : {&options_.external, &listening_})
    for (const auto& address : *list)
      out.push_back(address.ends_with(suffix) ? address : address + suffix);
  return out;
}

Status LibP2pHost::running() const {
  if (state_ == State::running) return {};
  return fail(ErrorCode::unavailable, "host " + id_.str() + " is not running");
}

Task<Status> LibP2pHost::start() {
  if (state_ != State::fresh) co_return fail(ErrorCode::failed_precondition, "a host starts once");
  state_ = State::running;
  native::HostOptions options;
  options.seed = vec_of(options_.key.seed());
  options.certificate = vec_of(options_.admission.own_certificate());
  options.listen = vec_of(options_.listen);
  options.external = vec_of(options_.external);
  options.mdns = options_.mdns;
  options.relay_server = options_.relay_server;
  runtime::OneShot<void> started(loop_);
  parts_ = std::make_unique<Parts>(
      Parts{native::start_host(*runtime_.parts_->native, std::move(options),
                               std::make_unique<Events>(link_), answer_to(link_, started))});
  for (const auto& [protocol, handler] : handlers_) parts_->native->accept(text_of(protocol), true);
  for (const auto& [topic, handlers] : topics_) parts_->native->subscribe(text_of(topic));
  if (auto status = co_await started; !status) {
    state_ = State::stopped;
    co_return fail(std::move(status).error().context("start host " + id_.str()));
  }
  if (state_ != State::running) co_return running();
  for (const auto& address : options_.bootstrap) tasks_.spawn(keep_connected(address));
  co_return Status{};
}

Task<void> LibP2pHost::stop_native() {
  runtime::OneShot<void> stopped(loop_);
  parts_->native->stop(answer_to(link_, stopped));
  (void)co_await stopped;
}

Task<void> LibP2pHost::stop() {
  state_ = State::stopped;
  co_await tasks_.stop();
  if (parts_) {
    // Not cut short by the caller's cancellation: when stop() returns, the sockets are closed.
    runtime::Scope own(loop_);
    co_await stop_native().in(own);
  }
  while (!peers_.empty()) on_peer_down(PeerId(peers_.begin()->first));
  listening_.clear();
}

Task<Result<PeerId>> LibP2pHost::connect(std::string multiaddr) {
  CO_TRY_SYNC_STATUS(running());
  runtime::OneShot<PeerId> done(loop_);
  parts_->native->dial(text_of(multiaddr),
                       std::make_unique<Answer>(link_, [done](Result<native::Outcome> r) mutable {
                         if (r) {
                           done.set_now(PeerId(std::string(r->text)));
                         } else {
                           done.set_now(fail(std::move(r).error()));
                         }
                       }));
  co_return co_await done;
}

void LibP2pHost::disconnect(const PeerId& peer) {
  if (state_ == State::running) parts_->native->disconnect(text_of(peer.str()));
}

Task<Result<std::unique_ptr<Stream>>> LibP2pHost::open(PeerId peer, std::string protocol) {
  CO_TRY_SYNC_STATUS(running());
  if (!accepted(peer)) co_return fail(ErrorCode::unavailable, "not connected to " + peer.str());
  using Opened = runtime::OneShot<std::unique_ptr<Stream>>;
  Opened done(loop_);
  parts_->native->open(
      text_of(peer.str()), text_of(protocol),
      std::make_unique<Answer>(
          link_,
          [done](Result<native::Outcome> r) mutable {
            done.set_now(r ? fail(ErrorCode::internal, "no stream") : fail(std::move(r).error()));
          },
          [done, peer, link = link_, &loop = loop_](rust::Box<native::NativeStream> s) mutable {
            done.set_now(std::make_unique<NativeBackedStream>(peer, std::move(s), link, loop));
          }));
  auto opened = co_await done;
  if (!opened) co_return fail(std::move(opened).error().context("open " + protocol));
  co_return std::move(*opened);
}

void LibP2pHost::handle(std::string protocol, StreamHandler handler) {
  const bool accepted = static_cast<bool>(handler);
  if (state_ == State::running) parts_->native->accept(text_of(protocol), accepted);
  if (accepted) {
    handlers_.insert_or_assign(std::move(protocol), std::move(handler));
  } else {
    handlers_.erase(protocol);
  }
}

std::vector<PeerId> LibP2pHost::peers() const {
  std::vector<PeerId> out;
  out.reserve(peers_.size());
  for (const auto& [id, peer] : peers_)
    if (!peer.refused) out.push_back(id);
  return out;
}

std::shared_ptr<const Certificate> LibP2pHost::certificate_of(const PeerId& peer) const {
  if (peer == id_) {
    auto own =
        options_.admission.check(id_, options_.admission.own_certificate(), loop_.wall_unix_ms());
    if (!own) return nullptr;
    return std::make_shared<const Certificate>(*std::move(own));
  }
  const Peer* entry = accepted(peer);
  return entry ? entry->certificate : nullptr;
}

void LibP2pHost::each_peer(const PeerVisitor& visit) const {
  for (const auto& [id, peer] : peers_)
    if (!peer.refused && peer.certificate) visit(id, *peer.certificate);
}

const LibP2pHost::Peer* LibP2pHost::accepted(const PeerId& peer) const {
  const auto it = peers_.find(peer);
  return it == peers_.end() || it->second.refused ? nullptr : &it->second;
}

Status LibP2pHost::show_certificate(Bytes certificate) {
  TRY(const auto own, options_.admission.check(id_, certificate, loop_.wall_unix_ms()));
  (void)own;
  if (state_ == State::running && !parts_->native->set_certificate(slice_of(certificate)))
    return fail(ErrorCode::resource_exhausted, "the host is overwhelmed; try again");
  Admission(options_.admission).renew(std::move(certificate));  // copies share it
  return {};
}

Status LibP2pHost::note_certificate(const PeerId& peer, BytesView certificate) {
  const auto it = peers_.find(peer);
  if (it == peers_.end()) return fail(ErrorCode::unavailable, "not connected to " + peer.str());
  TRY(Certificate opened, options_.admission.open(peer, certificate));
  if (opened.not_before_unix_ms < it->second.shown.not_before_unix_ms) return {};
  TRY(const auto left, options_.admission.judge(opened, loop_.wall_unix_ms()));
  (void)left;
  it->second.shown = std::move(opened);
  judge(peer, it->second);
  return {};
}

void LibP2pHost::recheck() {
  for (auto& [peer, entry] : peers_) judge(peer, entry);
}

// What the peer's certificate is worth now; the timer for when that ends.
void LibP2pHost::judge(const PeerId& peer, Peer& entry) {
  loop_.cancel_timer(entry.expiry);
  auto left = options_.admission.judge(entry.shown, loop_.wall_unix_ms());
  if (left) {
    entry.certificate = std::make_shared<const Certificate>(*std::move(left));
    entry.refused = false;
    return watch_expiry(peer);
  }
  if (!entry.refused)
    log_.info("certificate of " + peer.str() + " " + left.error().message() +
              ": closing the connection");
  entry.refused = true;
  disconnect(peer);
}

void LibP2pHost::on_peer(PeerHandler handler) { peer_handlers_.push_back(std::move(handler)); }

void LibP2pHost::subscribe(std::string topic, MessageHandler handler) {
  auto& handlers = topics_[topic];
  handlers.push_back(std::move(handler));
  if (handlers.size() == 1 && state_ == State::running) parts_->native->subscribe(text_of(topic));
}

Status LibP2pHost::publish(const std::string& topic, Bytes data) {
  TRY_STATUS(running());
  if (data.size() > kMessageSizeMax)
    return fail(ErrorCode::invalid_argument, "message of " + std::to_string(data.size()) +
                                                 " bytes; the limit is " +
                                                 std::to_string(kMessageSizeMax));
  if (!parts_->native->publish(text_of(topic), slice_of(data)))
    return fail(ErrorCode::resource_exhausted, "too many messages wait to be published");
  return {};
}

Task<Status> LibP2pHost::provide(Bytes key) {
  CO_TRY_SYNC_STATUS(running());
  if (key.size() > kKeySizeMax)
    co_return fail(ErrorCode::invalid_argument, "a provider key has at most 128 bytes");
  runtime::OneShot<void> done(loop_);
  parts_->native->provide(slice_of(key), answer_to(link_, done));
  co_return co_await done;
}

Task<Result<std::vector<PeerId>>> LibP2pHost::find_providers(Bytes key, std::size_t at_most) {
  CO_TRY_SYNC_STATUS(running());
  if (key.size() > kKeySizeMax)
    co_return fail(ErrorCode::invalid_argument, "a provider key has at most 128 bytes");
  runtime::OneShot<std::vector<PeerId>> done(loop_);
  parts_->native->find(slice_of(key), at_most,
                       std::make_unique<Answer>(link_, [done](Result<native::Outcome> r) mutable {
                         if (!r) return done.set_now(fail(std::move(r).error()));
                         std::vector<PeerId> found;
                         for (const auto& peer : r->peers) found.emplace_back(std::string(peer));
                         done.set_now(std::move(found));
                       }));
  co_return co_await done;
}

Task<Result<std::vector<std::string>>> LibP2pHost::find_peer(PeerId peer) {
  CO_TRY_SYNC_STATUS(running());
  runtime::OneShot<std::vector<std::string>> done(loop_);
  parts_->native->find_peer(
      text_of(peer.str()),
      std::make_unique<Answer>(link_, [done](Result<native::Outcome> r) mutable {
        if (!r) return done.set_now(fail(std::move(r).error()));
        std::vector<std::string> found;
        for (const auto& address : r->peers) found.emplace_back(std::string(address));
        done.set_now(std::move(found));
      }));
  co_return co_await done;
}

Task<Status> LibP2pHost::listen(std::string multiaddr) {
  CO_TRY_SYNC_STATUS(running());
  runtime::OneShot<void> done(loop_);
  parts_->native->listen(text_of(multiaddr), answer_to(link_, done));
  co_return co_await done;
}

void LibP2pHost::on_peer_up(const PeerId& peer, BytesView certificate) {
  // Admission has just checked it; meanwhile there may be news.
  auto shown = options_.admission.open(peer, certificate);
  if (!shown || !options_.admission.judge(*shown, loop_.wall_unix_ms())) return disconnect(peer);
  const auto [it, fresh] = peers_.try_emplace(peer);
  it->second.shown = *std::move(shown);
  judge(peer, it->second);
  if (fresh) tell_peer(peer, true);
}

void LibP2pHost::on_peer_down(const PeerId& peer) {
  const auto it = peers_.find(peer);
  if (it == peers_.end()) return;
  const PeerId id = peer;
  loop_.cancel_timer(it->second.expiry);
  peers_.erase(it);
  tell_peer(id, false);
}

void LibP2pHost::tell_peer(const PeerId& peer, bool connected) {
  log_.debug((connected ? "connected to " : "lost ") + peer.str());
  peers_changed_.notify_all();
  // By index: a handler may register another.
  for (std::size_t i = 0; i < peer_handlers_.size(); ++i) {
    const PeerHandler handler = peer_handlers_[i];
    handler(peer, connected);
  }
}

void LibP2pHost::watch_expiry(const PeerId& peer) {
  Peer& entry = peers_.at(peer);
  const std::int64_t left = entry.certificate->not_after_unix_ms - loop_.wall_unix_ms();
  entry.expiry = loop_.call_after(std::chrono::milliseconds(std::clamp(left, 0L, kExpiryCheckMs)),
                                  [this, peer] { judge(peer, peers_.at(peer)); });
}

void LibP2pHost::on_message(const std::string& topic, const PeerId& from, BytesView data) {
  const auto it = topics_.find(topic);
  if (it == topics_.end() || state_ != State::running || data.size() > kMessageSizeMax) return;
  if (options_.admission.revoked(from)) return;  // passed on by who does not know it yet
  if (from != id_ && !conduct_.admit_message(from)) return;
  for (std::size_t i = 0; i < it->second.size(); ++i) {
    const MessageHandler handler = it->second[i];
    handler(from, data);
  }
}

void LibP2pHost::on_stream(const std::string& protocol, std::unique_ptr<Stream> stream) {
  const auto it = handlers_.find(protocol);
  if (it == handlers_.end() || state_ != State::running || !accepted(stream->remote()))
    return;  // destroyed: reset
  tasks_.spawn([](StreamHandler handler, std::unique_ptr<Stream> s) -> Task<void> {
    co_await handler(std::move(s));
  }(it->second, std::move(stream)));
}

void LibP2pHost::on_address(const std::string& address, bool listening) {
  std::erase(listening_, address);
  if (listening) listening_.push_back(address);
}

Task<void> LibP2pHost::keep_connected(std::string address) {
  Duration pause = kRedialFirst;
  while (true) {
    const auto peer = co_await connect(address);
    if (peer) {
      pause = kRedialFirst;
      while (peers_.contains(*peer)) {
        if (!co_await peers_changed_.wait()) co_return;
      }
    } else {
      if (peer.error().code() == ErrorCode::cancelled) co_return;
      log_.debug("bootstrap: " + peer.error().message());
    }
    if (!co_await runtime::sleep_for(pause)) co_return;
    pause = std::min(pause * 2, kRedialLast);
  }
}

}  // namespace tau::p2p::libp2p
