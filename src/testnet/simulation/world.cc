#include "testnet/simulation/world.h"

#include <fmt/format.h>

#include <algorithm>

#include "codec/multibase.h"
#include "node/network.h"
#include "runtime/task_group.h"
#include "services/auth/api.h"
#include "services/hoarder/api.h"
#include "services/monkey/api.h"
#include "services/patrick/api.h"
#include "services/seer/api.h"
#include "services/substrate/api.h"
#include "services/tns/api.h"

namespace tau::testnet::simulation {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kBootstrapNodes = 3;  // one of them may be away when a node starts
constexpr std::size_t kNodesMin = 8;

bool runs_there(const NodeSpec& spec, std::string_view service) {
  return std::ranges::find(spec.services, service) != spec.services.end();
}

}  // namespace

std::vector<NodeSpec> spread_services(std::size_t nodes) {
  nodes = std::max(nodes, kNodesMin);
  const std::size_t more = nodes / 10;
  // Of a large network, so that no service waits on a handful of machines.
  const std::size_t share = nodes / 20;
  const std::vector<std::pair<std::string_view, std::size_t>> wanted = {
      {tns::kRole, nodes < 12   ? 1
                   : nodes < 50 ? 3
                                : std::max<std::size_t>(5, share)},
      {auth::kRole, 1},
      {patrick::kRole, nodes < 12 ? 1 : std::max<std::size_t>(3, share / 2)},
      {seer::kRole, nodes < 12 ? 1 : std::max<std::size_t>(3, share / 2)},
      {hoarder::kRole, std::max(std::clamp<std::size_t>(1 + more, 2, 12), share)},
      {monkey::kRole, std::max(std::clamp<std::size_t>(1 + more, 1, 12), share)},
      {substrate::kRole, std::max<std::size_t>(1 + more, 1)}};
  std::vector<NodeSpec> out;
  for (const auto& [service, copies] : wanted)
    for (std::size_t i = 1; i <= copies; ++i)
      out.push_back({fmt::format("{}-{}", service, i), {std::string(service)}});
  for (std::size_t i = 1; out.size() < nodes; ++i) out.push_back({fmt::format("plain-{}", i), {}});
  return out;
}

World::World(runtime::VirtualLoop& loop, Options options)
    : loop_(loop),
      log_(std::move(options.log)),
      random_(options.seed),
      chance_of_wires_(random_.next_u64()),
      root_(crypto::KeyPair::generate(random_)),
      wires_(loop_, chance_of_wires_),
      sockets_(loop_, 200us) {
  // Who decides, and by whom one joins, is known before the first node is made.
  std::vector<p2p::NodeIdentity> identities;
  for (const NodeSpec& spec : options.nodes) {
    identities.push_back(identity_for(spec));
    const std::string id = identities.back().id().str();
    if (runs_there(spec, tns::kRole)) voters_.push_back(id);
    if (runs_there(spec, patrick::kRole)) patricks_.push_back(id);
    if (bootstrap_.size() < kBootstrapNodes) bootstrap_.push_back("/memory/0/p2p/" + id);
  }
  for (std::size_t i = 0; i < identities.size(); ++i)
    make(std::move(options.nodes[i]), std::move(identities[i]));
}

World::~World() = default;

p2p::NodeIdentity World::identity_for(const NodeSpec& spec) {
  auto roles = spec.services;
  if (roles.empty()) roles = {"client"};
  return node::make_identity(root_, roles, std::string(kName), random_, loop_.wall_unix_ms());
}

std::size_t World::add(NodeSpec spec) {
  auto identity = identity_for(spec);
  make(std::move(spec), std::move(identity));
  return members_.size() - 1;
}

void World::make(NodeSpec spec, p2p::NodeIdentity identity) {
  const std::size_t index = members_.size();
  auto member = std::make_unique<Member>();
  member->machine = std::make_unique<Machine>(
      Surroundings{loop_, wires_, sockets_, engine_, pool_},
      fmt::format("10.{}.{}.{}", index >> 16, index >> 8 & 255, index & 255), random_.next_u64());
  const std::string address = member->machine->address();
  node::Options options;
  options.network_name = kName;
  options.network_suffix = kSuffix;
  options.network_root_key = node::root_key_text(root_.public_key());
  options.services = spec.services;
  options.data = std::filesystem::path("simulated") / spec.name;
  options.p2p_bootstrap = bootstrap_;
  options.consensus_voters = voters_;
  options.consensus_patricks = patricks_;
  options.http_address = address;
  options.http_port = 80;
  options.dns_listen.reset();
  if (runs_there(spec, seer::kRole)) options.dns_listen = net::Endpoint{address, 53};
  if (runs_there(spec, patrick::kRole)) options.api_listen = net::Endpoint{address, 1422};
  if (runs_there(spec, substrate::kRole)) options.substrate_trusted_compilers = {"network"};
  const p2p::Admission admission(root_.public_key(), identity.certificate());
  member->node =
      std::make_unique<node::Node>(*member->machine, spec.name, std::move(options),
                                   std::move(identity), admission, log_.named(spec.name));
  member->spec = std::move(spec);
  members_.push_back(std::move(member));
}

Bytes World::revoke(const PeerId& peer) {
  revoked_.network = codec::base32_encode(root_.public_key().raw());
  ++revoked_.number;
  revoked_.entries.push_back({.peer = peer, .reason = "it was stolen"});
  auto list = p2p::sign_revocations(root_, revoked_);
  CHECK(list.has_value());
  return *std::move(list);
}

Task<Status> World::start() {
  Status first_failure;
  runtime::TaskGroup starting(loop_);
  for (std::size_t i = 0; i < members_.size(); ++i) starting.spawn(start_into(i, first_failure));
  co_await starting.join();
  co_return first_failure;
}

Task<void> World::start_into(std::size_t index, Status& first_failure) {
  Status status = co_await start_node(index);
  if (!status && first_failure) first_failure = std::move(status);
}

Task<void> World::stop() {
  runtime::TaskGroup stopping(loop_);
  for (const auto& member : members_) {
    member->machine->power_on();
    if (member->node->state() != node::Node::State::made) stopping.spawn(member->node->stop());
  }
  co_await stopping.join();
}

Task<void> World::crash(std::size_t index) {
  Member& member = *members_[index];
  if (!member.running() || member.busy) co_return;
  member.busy = true;
  member.machine->power_cut(member.node->id());
  co_await member.node->kill();
  member.busy = false;
}

Task<void> World::leave(std::size_t index) {
  Member& member = *members_[index];
  if (!member.running() || member.busy) co_return;
  member.busy = true;
  co_await member.node->stop();
  member.busy = false;
}

Task<Status> World::start_node(std::size_t index) {
  Member& member = *members_[index];
  if (member.running() || member.busy) co_return Status{};
  member.busy = true;
  member.machine->power_on();
  ++member.lives;
  const Status started = co_await member.node->start();
  member.busy = false;
  co_return started;
}

World::Member* World::client() {
  Member* found = nullptr;
  for (const auto& member : members_) {
    if (!member->running()) continue;
    if (!found || member->spec.services.empty()) found = member.get();
  }
  return found;
}

std::vector<World::Member*> World::with(std::string_view service) {
  std::vector<Member*> out;
  for (const auto& member : members_)
    if (member->runs(service)) out.push_back(member.get());
  return out;
}

}  // namespace tau::testnet::simulation
