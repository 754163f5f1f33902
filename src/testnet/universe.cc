#include "testnet/universe.h"

#include <fmt/format.h>

#include <algorithm>

#include "codec/peer_id.h"
#include "http/json.h"
#include "runtime/task_group.h"
#include "services/patrick/api.h"
#include "services/substrate/api.h"
#include "services/tns/api.h"

namespace tau::testnet {
namespace {

using namespace std::chrono_literals;

constexpr Duration kLookAgain = 2ms;    // while waiting for a universe to be ready
constexpr std::size_t kPortTries = 20;  // a port that is free on one address is mostly free on all

bool has(const std::vector<std::string>& services, std::string_view service) {
  return std::ranges::find(services, service) != services.end();
}

}  // namespace

std::vector<NodePlan> default_plan() {
  return {{"auth", {"auth"}},
          {"seer", {"seer"}},
          {"tns", {"tns"}},
          {"patrick", {"patrick"}},
          {"hoarder-1", {"hoarder"}},
          {"hoarder-2", {"hoarder"}},
          {"monkey-1", {"monkey"}},
          {"monkey-2", {"monkey"}},
          {"substrate-1", {"substrate"}},
          {"substrate-2", {"substrate"}},
          {"client", {}}};
}

std::string loopback_address(std::string_view universe, std::size_t index) {
  const auto digest = crypto::sha256(as_bytes(universe));
  // 127.1.0.0 to 127.254.255.0: away from 127.0.0.1, where everything else lives.
  return fmt::format("127.{}.{}.{}", 1 + digest[0] % 254, static_cast<unsigned>(digest[1]),
                     2 + index % 250);
}

Universe::Universe(node::Process& process, UniverseOptions options, Logger log)
    : process_(process),
      options_(std::move(options)),
      log_(std::move(log)),
      killed_(process.loop()) {}

Universe::~Universe() = default;

Result<crypto::KeyPair> Universe::root_key() {
  if (!options_.keep_identities) return crypto::KeyPair::generate(process_.random());
  if (!std::filesystem::exists(options_.data / "root.key"))
    TRY_STATUS(node::create_network({options_.data, options_.name, suffix()}, process_.random()));
  return node::read_key(options_.data / "root.key");
}

Result<p2p::NodeIdentity> Universe::identity(const crypto::KeyPair& root, const NodePlan& plan) {
  const std::int64_t now_unix_ms = process_.loop().wall_unix_ms();
  std::vector<std::string> roles = plan.services;
  if (roles.empty()) roles = {"client"};
  const std::string host = "dream/" + options_.name;
  if (!options_.keep_identities)
    return node::make_identity(root, roles, host, process_.random(), now_unix_ms);

  const auto file = options_.data / plan.name / "node.key";
  if (std::filesystem::exists(file)) {
    // The certificate is made anew: it does not expire while the root key is here.
    TRY(auto key, node::read_key(file));
    return node::certify(root, std::move(key), roles, host, now_unix_ms);
  }
  auto made = node::make_identity(root, roles, host, process_.random(), now_unix_ms);
  std::error_code ignored;
  std::filesystem::create_directories(file.parent_path(), ignored);
  TRY_STATUS(node::write_key(file, made.key()));
  return made;
}

Result<std::uint16_t> Universe::free_http_port() {
  for (std::size_t i = 0; i < kPortTries; ++i) {
    TRY(const auto entry, process_.network("127.0.0.1").listen({"127.0.0.1", 0}));
    const std::uint16_t port = entry->local().port;
    std::size_t index = 0;
    bool free = true;
    for (const NodePlan& plan : options_.plan) {
      if (!has(plan.services, substrate::kRole)) continue;
      const std::string address = loopback_address(options_.name, index++);
      free = free && process_.network(address).listen({address, port}).has_value();
    }
    if (free) return port;
  }
  return fail(ErrorCode::unavailable, "found no port that is free on every substrate's address");
}

net::Endpoint Universe::api_endpoint() {
  const net::Endpoint wanted{"127.0.0.1", options_.api_port};
  if (process_.network(wanted.address).listen(wanted)) return wanted;
  log_.warning(wanted.to_string() + " is taken: repositories get another address this time");
  return {wanted.address, 0};
}

Status Universe::make_nodes() {
  TRY(const auto root, root_key());
  std::uint16_t http_port = options_.http_port;
  if (http_port == 0) {
    TRY(http_port, free_http_port());
  }
  std::vector<std::pair<const NodePlan*, p2p::NodeIdentity>> identities;
  std::vector<std::string> voters;
  for (const NodePlan& plan : options_.plan) {
    TRY(auto mine, identity(root, plan));
    if (has(plan.services, tns::kRole)) voters.push_back(mine.id().str());
    identities.emplace_back(&plan, std::move(mine));
  }
  std::size_t substrates = 0, seers = 0;
  for (auto& [plan, mine] : identities) {
    node::Options options;
    options.network_name = options_.name;
    options.network_root_key = node::root_key_text(root.public_key());
    options.network_suffix = suffix();
    options.services = plan->services;
    options.data = options_.data / plan->name / "data";
    options.consensus_voters = voters;
    options.log_level = options_.log_level;
    options.dns_listen.reset();
    if (has(plan->services, substrate::kRole)) {
      options.http_address = loopback_address(options_.name, substrates++);
      options.http_port = http_port;
      // All of them are one person's, on one machine.
      options.substrate_trusted_compilers = {"network"};
      options.http_entry = true;
    }
    if (has(plan->services, seer::kRole)) {
      options.dns_listen =
          net::Endpoint{"127.0.0.1", seers == 0 ? options_.dns_port : std::uint16_t{0}};
      ++seers;
    }
    if (has(plan->services, patrick::kRole)) options.api_listen = api_endpoint();
    const p2p::Admission admission(root.public_key(), mine.certificate());
    members_.push_back(
        {*plan, std::make_unique<node::Node>(process_, plan->name, std::move(options),
                                             std::move(mine), admission, log_)});
  }
  return {};
}

Task<Status> Universe::start() {
  CHECK(!started_);
  started_ = true;
  const TimePoint began = process_.loop().now();
  Status status = co_await start_all();
  if (!status) {
    co_await stop();
    co_return fail(std::move(status).error().context("universe " + options_.name));
  }
  ready_after_ = process_.loop().now() - began;
  if (on_change) on_change();
  co_return status;
}

Task<Status> Universe::start_all() {
  CO_TRY_SYNC_STATUS(make_nodes());
  Status first_failure;
  runtime::TaskGroup starting(process_.loop());
  for (Member& member : members_) starting.spawn(start_one(*member.node, first_failure));
  co_await starting.join();
  CO_TRY_SYNC_STATUS(first_failure);
  CO_TRY_STATUS(connect_all());
  co_return co_await wait_until_ready();
}

Task<void> Universe::start_one(node::Node& node, Status& first_failure) {
  Status status = co_await node.start();
  if (!status && first_failure) first_failure = std::move(status);
}

Task<Status> Universe::connect_all() {
  Status first_failure;
  runtime::TaskGroup connecting(process_.loop());
  for (std::size_t i = 0; i < members_.size(); ++i) {
    const auto addresses = members_[i].node->addresses();
    if (addresses.empty()) continue;
    for (std::size_t j = i + 1; j < members_.size(); ++j)
      connecting.spawn(connect_one(*members_[j].node, addresses.front(), first_failure));
  }
  co_await connecting.join();
  co_return first_failure;
}

Task<void> Universe::connect_one(node::Node& from, std::string address, Status& first_failure) {
  Status status =
      co_await runtime::with_deadline(10s, "connecting " + from.name(), from.connect(address));
  if (!status && first_failure) first_failure = std::move(status);
}

Task<Status> Universe::wait_until_ready() {
  const TimePoint until = process_.loop().now() + options_.ready_time_max;
  while (true) {
    CO_TRY(const std::string missing, what_is_missing());
    if (missing.empty()) co_return Status{};
    if (process_.loop().now() >= until)
      co_return fail(ErrorCode::deadline_exceeded,
                     fmt::format("not ready after {} s: {}",
                                 options_.ready_time_max / std::chrono::seconds(1), missing));
    CO_TRY_STATUS(runtime::sleep_for(kLookAgain));
  }
}

Task<Result<std::string>> Universe::what_is_missing() {
  std::size_t substrates = 0;
  for (const Member& member : members_) {
    if (member.node->state() != node::Node::State::running)
      co_return fail(ErrorCode::unavailable, member.node->name() + " is not running any more");
    if (member.node->host().peers().size() + 1 < members_.size())
      co_return member.node->name() + " is not connected to all others";
    if (!member.node->decides()) co_return member.node->name() + " has no leader to follow";
    if (has(member.plan.services, substrate::kRole)) ++substrates;
  }
  node::Node* asking = client();
  for (const PeerId& seer : asking->caller().peers_with_role(seer::kRole)) {
    const auto listed =
        co_await asking->caller().call<seer::ListNodes>(seer, seer::kProtocol, {std::string()});
    if (!listed) co_return "seer: " + listed.error().message();
    if (listed->nodes.size() < members_.size())
      co_return fmt::format("seer lists {} of {} nodes", listed->nodes.size(), members_.size());
    const auto serving = std::ranges::count_if(
        listed->nodes, [](const auto& node) { return node.announcement.http_port != 0; });
    if (static_cast<std::size_t>(serving) < substrates)
      co_return fmt::format("{} of {} substrates answer", serving, substrates);
  }
  co_return std::string();
}

Task<void> Universe::stop() {
  ready_after_.reset();
  // Together: none needs another to stop.
  runtime::TaskGroup stopping(process_.loop());
  for (Member& member : members_) stopping.spawn(member.node->stop());
  co_await stopping.join();
  runtime::Scope own(process_.loop());
  while (killing_ > 0) (void)co_await killed_.wait().in(own);
}

std::vector<Universe::NodeView> Universe::nodes() const {
  std::vector<NodeView> out;
  for (const Member& member : members_) {
    node::Node& node = *member.node;
    const bool running = node.state() == node::Node::State::running;
    out.push_back({node.name(), node.id(), member.plan.services,
                   member.killed ? "killed" : std::string(name_of(node.state())),
                   running ? node.host().peers().size() : 0, node.addresses(), node.http(),
                   node.dns(), node.api()});
  }
  return out;
}

std::optional<net::Endpoint> Universe::entry() const {
  for (const Member& member : members_) {
    if (const auto http = member.node->http()) return net::Endpoint{"127.0.0.1", http->port};
  }
  return std::nullopt;
}

std::optional<net::Endpoint> Universe::dns() const {
  for (const Member& member : members_) {
    if (const auto dns = member.node->dns()) return dns;
  }
  return std::nullopt;
}

Result<node::Node*> Universe::find(std::string_view which) {
  std::vector<node::Node*> running;
  for (Member& member : members_) {
    if (member.node->name() == which || member.node->id().str() == which) return member.node.get();
    if (member.node->state() == node::Node::State::running && has(member.plan.services, which))
      running.push_back(member.node.get());
  }
  if (running.size() == 1) return running.front();
  std::vector<std::string> names;
  for (const node::Node* node : running) names.push_back(node->name());
  if (running.empty()) {
    for (const Member& member : members_) names.push_back(member.node->name());
    return fail(ErrorCode::not_found, fmt::format("no node \"{}\" in universe {}; its nodes: {}",
                                                  which, options_.name, fmt::join(names, ", ")));
  }
  return fail(ErrorCode::failed_precondition,
              fmt::format("several nodes run {}: name one of {}", which, fmt::join(names, ", ")));
}

Task<Status> Universe::kill(std::string which) {
  CO_TRY_SYNC(node::Node * node, find(which));
  if (node->state() != node::Node::State::running)
    co_return fail(ErrorCode::failed_precondition,
                   fmt::format("{} is {} already", node->name(), name_of(node->state())));
  for (Member& member : members_) member.killed = member.killed || member.node.get() == node;
  ++killing_;
  co_await node->kill();
  if (on_change) on_change();
  --killing_;
  killed_.notify_all();
  co_return Status{};
}

Task<void> Universe::serve_cloud(http::Request& request, http::ResponseWriter& response) {
  node::Node* node = client();
  if (!node) {
    response.send(http::error_response(
        Error(ErrorCode::unavailable, "no node of universe " + options_.name + " runs")));
    co_return;
  }
  co_await node->serve_user(request, response);
}

node::Node* Universe::client() {
  node::Node* found = nullptr;
  for (Member& member : members_) {
    if (member.node->state() != node::Node::State::running) continue;
    if (!found || member.plan.services.empty()) found = member.node.get();
  }
  return found;
}

}  // namespace tau::testnet
