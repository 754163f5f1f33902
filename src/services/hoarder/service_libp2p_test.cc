#include "p2p/libp2p/host.h"
#include "services/hoarder/service_scenario.h"

namespace tau::hoarder {
namespace {

TEST(HoarderService, KeepsContentOverLibp2p) {
  runtime::RealLoop loop;
  SystemRandom random;
  p2p::libp2p::Runtime runtime;
  run_hoarder_scenario(loop, random, [&](const crypto::KeyPair& key, p2p::Admission admission) {
    return std::make_unique<p2p::libp2p::LibP2pHost>(
        loop, runtime, p2p::libp2p::Options{.key = key, .admission = std::move(admission)},
        Logger());
  });
}

}  // namespace
}  // namespace tau::hoarder
