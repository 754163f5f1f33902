#include "runtime/loop.h"
#include "testnet/chaos/faulty_process.h"

namespace tau::testnet {
namespace {

using namespace std::chrono_literals;

// A plane has a loop of its own, which no signal of ours reaches: while paused it looks again.
constexpr Duration kLookAgain = 10ms;
using Flag = std::shared_ptr<const std::atomic<bool>>;

Task<Status> awake(const std::atomic<bool>& paused) {
  while (paused.load(std::memory_order_relaxed)) CO_TRY_STATUS(runtime::sleep_for(kLookAgain));
  co_return Status{};
}

class FaultyConnection final : public net::Connection {
 public:
  FaultyConnection(std::unique_ptr<net::Connection> inner, Flag paused)
      : inner_(std::move(inner)), paused_(std::move(paused)) {}

  Task<Result<std::size_t>> read(std::span<std::uint8_t> out) override {
    CO_TRY(const std::size_t size, inner_->read(out));
    CO_TRY_STATUS(awake(*paused_));
    co_return size;
  }
  Task<Status> write(BytesView data) override {
    CO_TRY_STATUS(awake(*paused_));
    co_return co_await inner_->write(data);
  }
  Status close_write() override { return inner_->close_write(); }
  net::Endpoint remote() const override { return inner_->remote(); }
  net::Endpoint local() const override { return inner_->local(); }

 private:
  std::unique_ptr<net::Connection> inner_;
  Flag paused_;
};

class FaultyListener final : public net::Listener {
 public:
  FaultyListener(std::unique_ptr<net::Listener> inner, Flag paused)
      : inner_(std::move(inner)), paused_(std::move(paused)) {}

  Task<Result<std::unique_ptr<net::Connection>>> accept() override {
    CO_TRY(auto connection, inner_->accept());
    CO_TRY_STATUS(awake(*paused_));
    co_return std::make_unique<FaultyConnection>(std::move(connection), paused_);
  }
  net::Endpoint local() const override { return inner_->local(); }

 private:
  std::unique_ptr<net::Listener> inner_;
  Flag paused_;
};

class FaultyDatagrams final : public net::DatagramSocket {
 public:
  FaultyDatagrams(std::unique_ptr<net::DatagramSocket> inner, Flag paused)
      : inner_(std::move(inner)), paused_(std::move(paused)) {}

  Task<Result<net::Datagram>> receive() override {
    for (;;) {
      CO_TRY(auto datagram, inner_->receive());
      if (!paused_->load(std::memory_order_relaxed)) co_return datagram;
    }
  }
  Status send(const net::Endpoint& to, BytesView data) override {
    if (paused_->load(std::memory_order_relaxed)) return {};
    return inner_->send(to, data);
  }
  net::Endpoint local() const override { return inner_->local(); }

 private:
  std::unique_ptr<net::DatagramSocket> inner_;
  Flag paused_;
};

class FaultyNetwork final : public net::Network {
 public:
  FaultyNetwork(net::Network& inner, Flag paused) : inner_(inner), paused_(std::move(paused)) {}

  Result<std::unique_ptr<net::Listener>> listen(const net::Endpoint& at,
                                                net::SharePort share) override {
    TRY(auto listener, inner_.listen(at, share));
    return std::make_unique<FaultyListener>(std::move(listener), paused_);
  }
  Result<std::unique_ptr<net::DatagramSocket>> bind(const net::Endpoint& at) override {
    TRY(auto socket, inner_.bind(at));
    return std::make_unique<FaultyDatagrams>(std::move(socket), paused_);
  }
  Task<Result<std::unique_ptr<net::Connection>>> connect(net::Endpoint to) override {
    CO_TRY_STATUS(awake(*paused_));
    CO_TRY(auto connection, inner_.connect(std::move(to)));
    co_return std::make_unique<FaultyConnection>(std::move(connection), paused_);
  }

 private:
  net::Network& inner_;
  Flag paused_;
};

}  // namespace

std::unique_ptr<net::Network> make_faulty_network(net::Network& inner, Flag paused) {
  return std::make_unique<FaultyNetwork>(inner, std::move(paused));
}

}  // namespace tau::testnet
