#include "content/exchange_scenario.h"
#include "p2p/libp2p/host.h"

namespace tau::content {
namespace {

struct LibP2pWorld {
  runtime::RealLoop loop;
  p2p::libp2p::Runtime runtime;
  command::Members::HostFactory factory() {
    return [this](const crypto::KeyPair& key, p2p::Admission admission) {
      return std::make_unique<p2p::libp2p::LibP2pHost>(
          loop, runtime, p2p::libp2p::Options{.key = key, .admission = std::move(admission)},
          Logger());
    };
  }
};
INSTANTIATE_TYPED_TEST_SUITE_P(LibP2p, ExchangeOn, LibP2pWorld);

}  // namespace
}  // namespace tau::content
