#include "p2p/libp2p/host.h"
#include "services/patrick/service_scenario.h"

namespace tau::patrick {
namespace {

TEST(PatrickService, TurnsPushesIntoJobsOnRealLibp2p) {
  runtime::RealLoop loop;
  SystemRandom random;
  p2p::libp2p::Runtime runtime;
  run_patrick_scenario(loop, random, [&](const crypto::KeyPair& key, p2p::Admission admission) {
    return std::make_unique<p2p::libp2p::LibP2pHost>(
        loop, runtime, p2p::libp2p::Options{.key = key, .admission = std::move(admission)},
        Logger());
  });
}

}  // namespace
}  // namespace tau::patrick
