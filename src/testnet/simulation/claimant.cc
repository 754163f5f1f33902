#include "testnet/simulation/claimant.h"

#include <fmt/format.h>

#include "node/network.h"
#include "testnet/simulation/raw_command.h"

namespace tau::testnet::simulation {

Claimant::Claimant(World& world, Ledger& ledger, std::uint64_t seed)
    : world_(world),
      ledger_(ledger),
      random_(seed),
      identity_(node::make_identity(world.root(), {"monkey"}, std::string(World::kName), random_,
                                    world.loop().wall_unix_ms())),
      host_(world.wires(), identity_.id(),
            p2p::Admission(world.root().public_key(), identity_.certificate()), Logger()) {}

Task<void> Claimant::claim(patrick::JobStatus job) {
  if (!job.fence) co_return;
  if (!started_ && !co_await host_.start()) co_return;
  started_ = true;
  for (World::Member* at : world_.with(patrick::kRole)) {
    if (!at->running()) continue;
    const std::string name = at->spec.name;
    const PeerId to = at->node->id();
    const Ledger::Operation open(ledger_, "a claim to a lease", 4 * kRawCommandMax);
    const auto renewed = co_await command_to<patrick::RenewLease>(host_, to, patrick::kProtocol,
                                                                  {job.id, *job.fence, {}, {}});
    host_.disconnect(to);
    if (renewed)
      ledger_.violated(fmt::format("{} renewed lease {} of job {} for a monkey that never had it",
                                   name, *job.fence, job.id.str()));
  }
}

Task<void> Claimant::stop() {
  if (started_) co_await host_.stop();
}

}  // namespace tau::testnet::simulation
