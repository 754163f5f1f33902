// One machine that opens hundreds of connections and says nothing does not keep others from
// connecting.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/peer_id.h"
#include "p2p/host_conformance.h"
#include "p2p/libp2p/host.h"
#include "p2p/test_network.h"

namespace tau::p2p::libp2p {
namespace {

class Silent {
 public:
  Silent(const char* from, std::uint16_t port)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    // Not to be in the way of a host that dials from a port of the same number.
    const int yes = 1;
    ::setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    ::setsockopt(fd_, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes);
    EXPECT_EQ(::bind(fd_, at(from, 0), sizeof address_), 0);
    EXPECT_EQ(::connect(fd_, at("127.0.0.1", port), sizeof address_), 0);
  }
  Silent(Silent&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Silent& operator=(Silent&&) = delete;
  ~Silent() {
    if (fd_ >= 0) ::close(fd_);
  }
  // Whether the other end still has it; what it said is read over.
  bool open() const {
    char said[256];
    for (;;) {
      const ssize_t n = ::recv(fd_, said, sizeof said, MSG_DONTWAIT);
      if (n <= 0) return n < 0 && errno == EAGAIN;
    }
  }

 private:
  const sockaddr* at(const char* address, std::uint16_t port) {
    address_ = {};
    address_.sin_family = AF_INET;
    address_.sin_port = htons(port);
    ::inet_pton(AF_INET, address, &address_.sin_addr);
    return reinterpret_cast<const sockaddr*>(&address_);
  }
  sockaddr_in address_{};
  int fd_;
};

TEST(Crowd, OfOneAddressLeavesRoomForOthers) {
  runtime::RealLoop loop;
  Runtime threads;
  TestNetwork network;
  std::vector<std::unique_ptr<LibP2pHost>> hosts;
  const auto add = [&] {
    const auto key = network.make_key();
    const PeerId id = codec::peer_id_of(key.public_key());
    Options options{.key = key, .admission = network.admission(id, loop.wall_unix_ms())};
    options.listen = {"/ip4/127.0.0.1/tcp/0"};
    hosts.push_back(std::make_unique<LibP2pHost>(loop, threads, std::move(options), Logger()));
    const auto started = runtime::block_on(loop, hosts.back()->start());
    EXPECT_TRUE(started) << started.error().to_string();
    return hosts.back().get();
  };
  LibP2pHost* member = add();
  const std::string address = member->addresses().at(0);
  const auto port =
      static_cast<std::uint16_t>(std::stoi(address.substr(address.find("/tcp/") + 5)));
  std::vector<Silent> crowd;
  for (int i = 0; i < 300; ++i) crowd.emplace_back("127.0.0.9", port);
  const auto left = [&crowd] {
    return std::ranges::count_if(crowd, [](const Silent& one) { return one.open(); });
  };
  const auto bounded = runtime::block_on(loop, until([&] { return left() <= 64; }, "the bound"));
  EXPECT_TRUE(bounded) << left() << " are still open";
  EXPECT_GT(left(), 0) << "they wait for their handshake's end, which does not come";
  const auto connected = runtime::block_on(loop, add()->connect(address));
  EXPECT_TRUE(connected) << connected.error().to_string();
  for (auto& host : hosts) runtime::block_on(loop, host->stop());
}

}  // namespace
}  // namespace tau::p2p::libp2p
