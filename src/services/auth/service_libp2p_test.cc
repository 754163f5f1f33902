#include "p2p/libp2p/host.h"
#include "services/auth/service_scenario.h"

namespace tau::auth {
namespace {

TEST(AuthService, KeepsRegistrationsOnRealConnections) {
  runtime::RealLoop loop;
  SystemRandom random;
  p2p::libp2p::Runtime threads;
  run_auth_scenario(loop, random, [&](const crypto::KeyPair& key, p2p::Admission admission) {
    return std::make_unique<p2p::libp2p::LibP2pHost>(
        loop, threads, p2p::libp2p::Options{.key = key, .admission = std::move(admission)},
        Logger());
  });
}

}  // namespace
}  // namespace tau::auth
