#include "runtime/loop.h"
#include "testnet/chaos/faulty_process.h"

namespace tau::testnet {
namespace {

using namespace std::chrono_literals;

constexpr Duration kDialTimeMax = 10s;  // as a dial to an address where nobody is

class FaultyStream final : public p2p::Stream {
 public:
  FaultyStream(std::unique_ptr<p2p::Stream> inner, Faults& faults, PeerId me)
      : inner_(std::move(inner)), faults_(faults), me_(std::move(me)) {}

  const PeerId& remote() const override { return inner_->remote(); }
  Task<Result<std::size_t>> read(std::span<std::uint8_t> out) override {
    CO_TRY(const std::size_t size, inner_->read(out));
    CO_TRY_STATUS(faults_.pass(remote(), me_));
    co_return size;
  }
  Task<Status> write(BytesView data) override {
    CO_TRY_STATUS(faults_.pass(me_, remote()));
    if (const Duration delay = faults_.delay(me_, remote()); delay != Duration{})
      CO_TRY_STATUS(runtime::sleep_for(delay));
    co_return co_await inner_->write(data);
  }
  Task<Status> close_write() override {
    CO_TRY_STATUS(faults_.pass(me_, remote()));
    co_return co_await inner_->close_write();
  }
  void reset() override { inner_->reset(); }

 private:
  std::unique_ptr<p2p::Stream> inner_;
  Faults& faults_;
  const PeerId me_;
};

class FaultyHost final : public p2p::Host {
 public:
  FaultyHost(std::unique_ptr<p2p::Host> inner, Faults& faults)
      : inner_(std::move(inner)), faults_(faults) {}

  const PeerId& id() const override { return inner_->id(); }
  std::vector<std::string> addresses() const override { return inner_->addresses(); }
  Task<Status> start() override { return inner_->start(); }
  Task<void> stop() override { return inner_->stop(); }

  Task<Result<PeerId>> connect(std::string multiaddr) override {
    constexpr std::string_view kPeer = "/p2p/";
    const auto at = multiaddr.rfind(kPeer);
    if (at != std::string::npos)
      CO_TRY_STATUS(get_through(PeerId(multiaddr.substr(at + kPeer.size()))));
    co_return co_await inner_->connect(std::move(multiaddr));
  }
  void disconnect(const PeerId& peer) override { inner_->disconnect(peer); }

  Task<Result<std::unique_ptr<p2p::Stream>>> open(PeerId peer, std::string protocol) override {
    CO_TRY_STATUS(get_through(peer));
    CO_TRY(auto stream, inner_->open(std::move(peer), std::move(protocol)));
    co_return wrap(std::move(stream));
  }
  void handle(std::string protocol, p2p::StreamHandler handler) override {
    if (!handler) return inner_->handle(std::move(protocol), nullptr);
    inner_->handle(std::move(protocol), [this, handler = std::move(handler)](auto stream) {
      return handler(wrap(std::move(stream)));
    });
  }

  std::vector<PeerId> peers() const override { return inner_->peers(); }
  std::shared_ptr<const p2p::Certificate> certificate_of(const PeerId& peer) const override {
    return inner_->certificate_of(peer);
  }
  void each_peer(const PeerVisitor& visit) const override { inner_->each_peer(visit); }
  void on_peer(p2p::PeerHandler handler) override { inner_->on_peer(std::move(handler)); }
  Status show_certificate(Bytes certificate) override {
    return inner_->show_certificate(std::move(certificate));
  }
  Status note_certificate(const PeerId& peer, BytesView certificate) override {
    return inner_->note_certificate(peer, certificate);
  }
  void recheck() override { inner_->recheck(); }
  p2p::Conduct& conduct() override { return inner_->conduct(); }

  void subscribe(std::string topic, p2p::MessageHandler handler) override {
    inner_->subscribe(std::move(topic),
                      [this, handler = std::move(handler)](const PeerId& from, BytesView data) {
                        if (hears(from)) handler(from, data);
                      });
  }
  Status publish(const std::string& topic, Bytes data) override {
    if (faults_.paused(id())) return {};
    return inner_->publish(topic, std::move(data));
  }

  Task<Status> provide(Bytes key) override {
    CO_TRY_STATUS(faults_.awake(id()));
    co_return co_await inner_->provide(std::move(key));
  }
  Task<Result<std::vector<PeerId>>> find_providers(Bytes key, std::size_t at_most) override {
    CO_TRY_STATUS(faults_.awake(id()));
    CO_TRY(auto found, inner_->find_providers(std::move(key), at_most));
    std::erase_if(found, [&](const PeerId& peer) { return !hears(peer); });
    co_return found;
  }
  Task<Result<std::vector<std::string>>> find_peer(PeerId peer) override {
    CO_TRY_STATUS(faults_.awake(id()));
    if (!hears(peer)) co_return std::vector<std::string>();
    co_return co_await inner_->find_peer(std::move(peer));
  }

 private:
  bool hears(const PeerId& from) const {
    return !faults_.separated(from, id()) && !faults_.paused(from) && !faults_.paused(id());
  }
  std::unique_ptr<p2p::Stream> wrap(std::unique_ptr<p2p::Stream> stream) {
    return std::make_unique<FaultyStream>(std::move(stream), faults_, id());
  }
  // A handshake goes both ways.
  Task<Status> both_ways(PeerId peer) {
    CO_TRY_STATUS(faults_.pass(id(), peer));
    CO_TRY_STATUS(faults_.pass(peer, id()));
    if (const Duration delay = faults_.delay(id(), peer); delay != Duration{})
      CO_TRY_STATUS(runtime::sleep_for(2 * delay));
    co_return Status{};
  }
  Task<Result<bool>> reached(PeerId peer) {
    CO_TRY_STATUS(both_ways(std::move(peer)));
    co_return true;
  }
  Task<Status> get_through(PeerId peer) {
    auto waited = co_await runtime::with_deadline(kDialTimeMax, "reaching " + peer.str(),
                                                  reached(std::move(peer)));
    if (waited) co_return Status{};
    if (waited.error().code() == ErrorCode::deadline_exceeded)
      co_return fail(ErrorCode::unavailable, waited.error().message());
    co_return fail(std::move(waited).error());
  }

  std::unique_ptr<p2p::Host> inner_;
  Faults& faults_;
};

}  // namespace

std::unique_ptr<p2p::Host> make_faulty_host(std::unique_ptr<p2p::Host> inner, Faults& faults) {
  return std::make_unique<FaultyHost>(std::move(inner), faults);
}

}  // namespace tau::testnet
