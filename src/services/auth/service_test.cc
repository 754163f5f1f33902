#include "codec/peer_id.h"
#include "p2p/simulated/network.h"
#include "services/auth/service_scenario.h"

namespace tau::auth {
namespace {

TEST(AuthService, KeepsRegistrationsOnASimulatedNetwork) {
  runtime::VirtualLoop loop;
  SeededRandom random(1);
  p2p::simulated::SimulatedNetwork network(loop, random);
  run_auth_scenario(loop, random, [&](const crypto::KeyPair& key, p2p::Admission admission) {
    return std::make_unique<p2p::simulated::SimulatedHost>(
        network, codec::peer_id_of(key.public_key()), std::move(admission), Logger());
  });
}

}  // namespace
}  // namespace tau::auth
