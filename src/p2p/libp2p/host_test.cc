#include "p2p/libp2p/host.h"

#include "p2p/host_conformance.h"
#include "p2p/test_network.h"

namespace tau::p2p::libp2p {
namespace {

template <const char* kListen>
class World {
 public:
  ~World() {
    for (auto& host : hosts_) runtime::block_on(loop_, host->stop());
  }
  runtime::Loop& loop() { return loop_; }
  Host& add_host(std::string_view name = "") {
    const auto key = network_.make_key();
    const PeerId id = codec::peer_id_of(key.public_key());
    const Admission admission = network_.admission(id, loop_.wall_unix_ms(), name);
    admissions_.emplace(id, admission);
    Options options{.key = key, .admission = admission};
    options.listen = {kListen};
    hosts_.push_back(std::make_unique<LibP2pHost>(loop_, runtime_, std::move(options), Logger()));
    const auto started = runtime::block_on(loop_, hosts_.back()->start());
    EXPECT_TRUE(started) << started.error().to_string();
    return *hosts_.back();
  }
  TestNetwork& keys() { return network_; }
  Admission admission_of(const PeerId& id) { return admissions_.at(id); }

 private:
  runtime::RealLoop loop_;
  Runtime runtime_;
  TestNetwork network_;
  std::map<PeerId, Admission> admissions_;
  std::vector<std::unique_ptr<LibP2pHost>> hosts_;
};

constexpr char kTcp[] = "/ip4/127.0.0.1/tcp/0";
[[maybe_unused]] constexpr char kTcp6[] = "/ip6/::1/tcp/0";
constexpr char kQuic[] = "/ip4/127.0.0.1/udp/0/quic-v1";
[[maybe_unused]] constexpr char kQuic6[] = "/ip6/::1/udp/0/quic-v1";

}  // namespace
}  // namespace tau::p2p::libp2p

namespace tau::p2p {
using OverTcp = libp2p::World<libp2p::kTcp>;
using OverQuic = libp2p::World<libp2p::kQuic>;
INSTANTIATE_TYPED_TEST_SUITE_P(Tcp, HostConformance, OverTcp);
INSTANTIATE_TYPED_TEST_SUITE_P(Quic, HostConformance, OverQuic);
}  // namespace tau::p2p
