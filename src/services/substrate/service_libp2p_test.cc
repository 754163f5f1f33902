#include <gtest/gtest.h>

#include "net/sockets.h"
#include "p2p/libp2p/host.h"
#include "services/substrate/service_scenario.h"

namespace tau::substrate {
namespace {

TEST(SubstrateOnLibp2p, ServesAFunctionWhoseBlocksCrossedASocket) {
  runtime::RealLoop loop;
  net::Sockets sockets(loop);
  p2p::libp2p::Runtime libp2p;
  scenario::ScriptEngine engine;
  scenario::World world(
      loop,
      [&](const crypto::KeyPair& key, p2p::Admission admission) {
        return std::make_unique<p2p::libp2p::LibP2pHost>(
            loop, libp2p, p2p::libp2p::Options{.key = key, .admission = std::move(admission)},
            Logger());
      },
      sockets, {{loop, sockets}}, 1, engine);
  const Status started = runtime::block_on(loop, world.start());
  ASSERT_TRUE(started) << started.error().to_string();
  const auto module = runtime::block_on(loop, world.module("say pong"));
  ASSERT_TRUE(
      runtime::block_on(loop, world.deploy({scenario::function("ping", "GET", "/ping", *module)})));
  const auto answer = runtime::block_on(loop, world.call("GET", "/ping"));
  ASSERT_TRUE(answer) << answer.error().to_string();
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, "pong");
  const auto statistics = runtime::block_on(
      loop,
      world.members_[2].caller.call<Statistics>(world.members_[0].identity.id(), kProtocol, {}));
  ASSERT_TRUE(statistics) << statistics.error().to_string();
  EXPECT_EQ(statistics->blocks_from_peers, 2u);
  runtime::block_on(loop, world.stop());
}

}  // namespace
}  // namespace tau::substrate
