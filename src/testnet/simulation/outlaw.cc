#include "testnet/simulation/outlaw.h"

#include <fmt/format.h>

#include "node/credentials.h"
#include "node/mesh.h"
#include "node/network.h"
#include "testnet/simulation/raw_command.h"

namespace tau::testnet::simulation {
namespace {

using namespace std::chrono_literals;

constexpr Duration kEvery = 100ms;
constexpr std::size_t kAtOnceMax = 32;

}  // namespace

Outlaw::Outlaw(World& world, Ledger& ledger, std::uint64_t seed)
    : world_(world),
      ledger_(ledger),
      random_(seed),
      identity_(node::make_identity(world.root(), {"client"}, std::string(World::kName), random_,
                                    world.loop().wall_unix_ms())),
      host_(world.wires(), identity_.id(),
            p2p::Admission(world.root().public_key(), identity_.certificate()), Logger()),
      tasks_(world.loop()) {}

Task<void> Outlaw::stop() {
  co_await tasks_.stop();
  co_await host_.stop();
}

Task<void> Outlaw::live_for(Duration duration) {
  const TimePoint begins = world_.loop().now(), until = begins + duration;
  if (!co_await host_.start()) co_return;
  while (world_.loop().now() < until || (number_ != 0 && !told_)) {
    if (number_ == 0 && world_.loop().now() - begins > duration / 4) {
      list_ = world_.revoke(identity_.id());
      number_ = world_.revocations();
    }
    if (tasks_.running() < kAtOnceMax) tasks_.spawn(command(random_.below(world_.size())));
    if (number_ != 0 && !told_ && random_.below(4) == 0) co_await be_revoked();
    if (!co_await runtime::sleep_for(kEvery)) break;
  }
}

// The list is signed by the root: whoever brings it need not be believed, so it may as well be the
// one that it is about.
Task<void> Outlaw::be_revoked() {
  World::Member& at = world_[random_.below(world_.size())];
  if (!at.running()) co_return;
  const auto given = co_await command_to<node::GiveRevocations>(
      host_, at.node->id(), node::kCredentialsProtocol, {list_});
  if (given) told_ = true;
}

Task<void> Outlaw::command(std::size_t index) {
  World::Member& at = world_[index];
  if (!at.running()) co_return;
  const bool knew = number_ != 0 && at.node->credentials().number() >= number_;
  told_ = told_ || knew;  // by a later list, for instance, of another outlaw
  const auto done =
      co_await command_to<node::Introduce>(host_, at.node->id(), node::kMeshProtocol, {});
  if (knew && done)
    ledger_.violated(
        fmt::format("{} obeyed a node after it had learnt of its revocation", at.spec.name));
  if (knew) ++refused_;
  if (!knew && done) ++obeyed_;
}

}  // namespace tau::testnet::simulation
