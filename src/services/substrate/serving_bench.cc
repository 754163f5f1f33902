// The serving path of one core with the real engine: route, a fresh instance of a C++ guest,
// answer. tns and the hoarder are those of the tests. Baseline: nginx `return 200`; wrk drives both
// from another core. Usage: substrate_serving PORT [own: the plane on a thread of its own | script:
// without an engine]
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <thread>

#include "guest/built_guest.h"
#include "guest/host_functions.h"
#include "net/sockets.h"
#include "p2p/simulated/network.h"
#include "services/substrate/service_scenario.h"
#include "vm/wasmtime/engine.h"

int main(int argc, char** argv) {
  using namespace tau;
  using namespace tau::substrate;
  if (argc < 2) return 2;
  const bool own = argc > 2 && std::string_view(argv[2]) == "own";
  const bool script = argc > 2 && std::string_view(argv[2]) == "script";
  const auto port = static_cast<std::uint16_t>(std::atoi(argv[1]));
  runtime::RealLoop control, data;
  net::Sockets sockets(control), data_sockets(data);
  SeededRandom random(1);
  p2p::simulated::SimulatedNetwork peers(control, random);
  auto engine = vm::make_wasmtime_engine(guest::host_functions());
  if (!engine) {
    std::fprintf(stderr, "%s\n", engine.error().message().c_str());
    return 1;
  }
  scenario::ScriptEngine scripts;
  const Bytes wasm = script ? to_bytes("say pong") : guest::built_guest("ping8");
  std::thread thread;
  if (own) thread = std::thread([&] { data.run(); });
  scenario::World world(
      control,
      [&](const crypto::KeyPair& key, p2p::Admission admission) {
        return std::make_unique<p2p::simulated::SimulatedHost>(
            peers, codec::peer_id_of(key.public_key()), std::move(admission), Logger());
      },
      sockets, {own ? Plane{data, data_sockets} : Plane{control, sockets}}, 1,
      script ? static_cast<vm::Engine&>(scripts) : **engine, port);
  const Status started = runtime::block_on(control, world.start());
  if (!started) {
    std::fprintf(stderr, "%s\n", started.error().message().c_str());
    return 1;
  }
  const auto module = runtime::block_on(control, world.module(to_text(wasm)));
  (void)runtime::block_on(control,
                          world.deploy({scenario::function("ping", "GET", "/ping", *module)}));
  std::printf("ready\n");
  std::fflush(stdout);
  control.run();
}
