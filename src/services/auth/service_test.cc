#include "p2p/simulated/network.h"
#include "services/auth/service_scenario.h"

namespace tau::auth {
namespace {

TEST(AuthService, KeepsRegistrationsOnASimulatedNetwork) {
  runtime::VirtualLoop loop;
  SeededRandom random(1);
  p2p::SimulatedNetwork network(loop);
  run_auth_scenario(loop, random, [&](const crypto::KeyPair& key, p2p::Admission admission) {
    return std::make_unique<p2p::SimulatedHost>(network, key.public_key(), std::move(admission));
  });
}

}  // namespace
}  // namespace tau::auth
