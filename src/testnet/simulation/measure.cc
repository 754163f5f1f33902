#include "testnet/simulation/measure.h"

#include <time.h>

#include <cmath>
#include <memory>

#include "testnet/simulation/people.h"

namespace tau::testnet::simulation {
namespace {

using namespace std::chrono_literals;

// All have met, the first builds are done, and connections that nobody needs are closed (after a
// minute).
constexpr Duration kRest = 2min;

double cpu_seconds() {
  timespec spent{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
  return static_cast<double>(spent.tv_sec) + static_cast<double>(spent.tv_nsec) / 1e9;
}

}  // namespace

Result<Cost> measure(std::size_t nodes, double pushes_a_minute, double minutes) {
  runtime::VirtualLoop loop;
  Trace trace(loop, Trace::Keep::nothing);
  Ledger ledger(loop, trace);
  const auto specs = spread_services(nodes);
  World world(loop, {1, specs, Logger()});
  TRY_STATUS(runtime::block_on(loop, world.start()));
  std::unique_ptr<People> people;
  if (pushes_a_minute > 0) {
    People::Options options;
    options.desk = specs.size() - 1;
    options.projects = 2;
    options.only_push = true;
    options.push_every = std::chrono::duration_cast<Duration>(
        std::chrono::duration<double>(60.0 * 2 / pushes_a_minute));
    people = std::make_unique<People>(world, ledger, trace, options);
    people->start();
  }
  (void)runtime::block_on(loop, runtime::sleep_for(kRest));
  const auto messages = world.wires().messages(), bytes = world.wires().bytes();
  const auto before = world.wires().counts();
  const auto pushes = people ? people->pushes() : 0;
  const double began = cpu_seconds();
  const auto counted =
      std::chrono::duration_cast<Duration>(std::chrono::duration<double>(60 * minutes));
  (void)runtime::block_on(loop, runtime::sleep_for(counted));
  const double spent = cpu_seconds() - began;
  Cost cost;
  cost.nodes = specs.size();
  cost.pushes = people ? people->pushes() - pushes : 0;
  const double shares = static_cast<double>(specs.size()) * minutes;
  cost.messages = static_cast<double>(world.wires().messages() - messages) / shares;
  cost.bytes = static_cast<double>(world.wires().bytes() - bytes) / shares;
  const auto& after = world.wires().counts();
  for (std::size_t kind = 0; kind < after.size(); ++kind)
    cost.messages_of_kind[kind] =
        static_cast<double>(after[kind].messages - before[kind].messages) / shares;
  cost.connections =
      2.0 * static_cast<double>(world.wires().connections()) / static_cast<double>(specs.size());
  cost.virtual_per_cpu_second = 60 * minutes / spent;
  if (people) runtime::block_on(loop, people->stop());
  runtime::block_on(loop, world.stop());
  return cost;
}

}  // namespace tau::testnet::simulation
