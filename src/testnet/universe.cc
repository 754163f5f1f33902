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

constexpr Duration kLookAgain = 2ms;    // while waiting for nodes to be ready
constexpr std::size_t kPortTries = 20;  // a port that is free on one address is mostly free on all

bool has(const std::vector<std::string>& services, std::string_view service) {
  return std::ranges::find(services, service) != services.end();
}

// What the nodes say is for `dream logs`, whatever the terminal wants to see of it.
LogLevel least_kept(LogLevel shown) { return std::min(shown, LogLevel::info); }

}  // namespace

std::string loopback_address(std::string_view universe, std::size_t index) {
  const auto digest = crypto::sha256(as_bytes(universe));
  // 127.1.0.0 to 127.254.255.0: away from 127.0.0.1, where everything else lives.
  return fmt::format("127.{}.{}.{}", 1 + digest[0] % 254, static_cast<unsigned>(digest[1]),
                     2 + index % 250);
}

Universe::Universe(node::Process& process, UniverseOptions options, Logger log)
    : process_(process),
      options_(std::move(options)),
      log_book_(std::make_shared<LogBook>(
          process.loop(),
          LogBook::Options{.folder = options_.keep == Keep::yes ? options_.data
                                                                : std::filesystem::path()})),
      log_(log_book_->logger(least_kept(options_.log_level), log, options_.name)),
      faults_(process.loop()),
      idle_(process.loop()),
      chaos_(*this, process.loop(), faults_) {}

Universe::~Universe() = default;

Result<crypto::KeyPair> Universe::root_key() {
  if (options_.keep == Keep::no) return crypto::KeyPair::generate(process_.random());
  if (!std::filesystem::exists(options_.data / "root.key"))
    TRY_STATUS(node::create_network({options_.data, options_.name, suffix()}, process_.random()));
  return node::read_key(options_.data / "root.key");
}

Result<p2p::NodeIdentity> Universe::identity(const NodePlan& plan) {
  const std::int64_t now_unix_ms = process_.loop().wall_unix_ms();
  std::vector<std::string> roles = plan.services;
  if (roles.empty()) roles = {"client"};
  const std::string host = "dream/" + options_.name;
  if (options_.keep == Keep::no)
    return node::make_identity(*root_, roles, host, process_.random(), now_unix_ms);

  const auto file = options_.data / plan.name / "node.key";
  if (std::filesystem::exists(file)) {
    // The certificate is made anew: it does not expire while the root key is here.
    TRY(auto key, node::read_key(file));
    return node::certify(*root_, std::move(key), roles, host, now_unix_ms);
  }
  auto made = node::make_identity(*root_, roles, host, process_.random(), now_unix_ms);
  std::error_code ignored;
  std::filesystem::create_directories(file.parent_path(), ignored);
  TRY_STATUS(node::write_key(file, made.key()));
  return made;
}

// Substrates share their port with one another (SO_REUSEPORT), and would share it with another
// universe's, too: each then gave some of the other's answers.
Status Universe::http_port_is_free(std::uint16_t port) {
  TRY(const auto entry, process_.network("127.0.0.1").listen({"127.0.0.1", port}));
  std::size_t index = 0;
  for (const NodePlan& plan : options_.plan) {
    if (!has(plan.services, substrate::kRole)) continue;
    const std::string address = loopback_address(options_.name, index++);
    TRY(const auto own, process_.network(address).listen({address, port}));
  }
  return {};
}

Result<std::uint16_t> Universe::free_http_port() {
  for (std::size_t i = 0; i < kPortTries; ++i) {
    TRY(auto entry, process_.network("127.0.0.1").listen({"127.0.0.1", 0}));
    const std::uint16_t port = entry->local().port;
    entry.reset();
    if (http_port_is_free(port)) return port;
  }
  return fail(ErrorCode::unavailable, "found no port that is free on every substrate's address");
}

Status Universe::choose_ports() {
  if (options_.http_port != 0) {
    http_port_ = options_.http_port;
    const Status free = http_port_is_free(http_port_);
    if (!free && free.error().code() == ErrorCode::already_exists)
      return fail(ErrorCode::already_exists,
                  fmt::format("port {} for functions is taken (another universe or dream?): "
                              "choose one with --http-port or --bind substrate@PORT/http; 0 takes "
                              "a free one",
                              http_port_));
    return free;
  }
  http_port_ = options_.preferred.http;
  if (http_port_ != 0 && http_port_is_free(http_port_)) return {};
  if (http_port_ != 0)
    log_.warning(fmt::format("port {}, where functions answered before, is taken", http_port_));
  TRY(http_port_, free_http_port());
  return {};
}

net::Endpoint Universe::api_endpoint() {
  const std::uint16_t port = options_.api_port != 0 ? options_.api_port : options_.preferred.api;
  const net::Endpoint wanted{"127.0.0.1", port};
  if (port == 0 || process_.network(wanted.address).listen(wanted)) return wanted;
  log_.warning(wanted.to_string() + " is taken: repositories get another address this time");
  return {wanted.address, 0};
}

net::Endpoint Universe::dns_endpoint() {
  const net::Endpoint wanted{"127.0.0.1", options_.dns_port};
  const net::Endpoint last{wanted.address, options_.preferred.dns};
  if (wanted.port != 0 || last.port == 0) return wanted;
  // DNS is answered over both, and what a connection of another program holds is TCP's alone.
  auto& network = process_.network(last.address);
  if (network.bind(last) && network.listen(last)) return last;
  log_.warning(last.to_string() + " is taken: DNS is answered at another port this time");
  return wanted;
}

Status Universe::make_nodes() {
  TRY(auto root, root_key());
  root_.emplace(std::move(root));
  TRY_STATUS(choose_ports());
  std::vector<p2p::NodeIdentity> identities;
  for (const NodePlan& plan : options_.plan) {
    TRY(auto mine, identity(plan));
    if (has(plan.services, tns::kRole) && !plan.joined) voters_.push_back(mine.id().str());
    if (has(plan.services, patrick::kRole) && !plan.joined) patricks_.push_back(mine.id().str());
    identities.push_back(std::move(mine));
  }
  for (std::size_t i = 0; i < identities.size(); ++i)
    TRY_STATUS(make_node(options_.plan[i], std::move(identities[i])));
  return {};
}

Status Universe::make_node(const NodePlan& plan, p2p::NodeIdentity identity) {
  const auto before = [&](std::string_view service) {
    return static_cast<std::size_t>(std::ranges::count_if(
        members_, [&](const auto& member) { return has(member->plan.services, service); }));
  };
  node::Options options;
  options.network_name = options_.name;
  options.network_root_key = node::root_key_text(root_->public_key());
  options.network_suffix = suffix();
  options.services = plan.services;
  options.data = options_.data / plan.name / "data";
  options.monkey_cache = options_.build_cache;
  options.consensus_voters = voters_;
  options.consensus_patricks = patricks_;
  options.log_level = options_.log_level;
  options.p2p_listen = {fmt::format("/ip4/127.0.0.1/tcp/{}", plan.p2p_port)};
  options.dns_listen.reset();
  if (has(plan.services, substrate::kRole)) {
    options.http_address = loopback_address(options_.name, before(substrate::kRole));
    options.http_port = http_port_;
    options.http_entry = true;
    // All of them are one person's, on one machine.
    options.substrate_trusted_compilers = {"network"};
  }
  if (has(plan.services, seer::kRole)) {
    options.dns_listen = before(seer::kRole) == 0 ? dns_endpoint() : net::Endpoint{"127.0.0.1", 0};
  }
  if (has(plan.services, patrick::kRole))
    options.api_listen =
        before(patrick::kRole) == 0 ? api_endpoint() : net::Endpoint{"127.0.0.1", 0};
  const p2p::Admission admission(root_->public_key(), identity.certificate());
  auto world = std::make_unique<FaultyProcess>(process_, faults_, identity.id());
  auto made = std::make_unique<node::Node>(*world, plan.name, std::move(options),
                                           std::move(identity), admission, log_.named(plan.name));
  members_.push_back(std::make_unique<Member>(plan, std::move(world), std::move(made)));
  return {};
}

Task<Status> Universe::start() {
  CHECK(!started_);
  started_ = true;
  const TimePoint began = process_.loop().now();
  Status status = co_await start_all();
  if (status) status = write_kept(false);
  if (!status) {
    co_await stop();
    co_return fail(std::move(status).error().context("universe " + options_.name));
  }
  ready_after_ = process_.loop().now() - began;
  for (const auto& member : members_) say_where(*member);
  if (on_change) on_change();
  co_return status;
}

Task<Status> Universe::start_all() {
  CO_TRY_SYNC_STATUS(make_nodes());
  Status first_failure;
  runtime::TaskGroup starting(process_.loop());
  for (const auto& member : members_) starting.spawn(start_one(*member->node, first_failure));
  co_await starting.join();
  CO_TRY_SYNC_STATUS(first_failure);
  CO_TRY_STATUS(connect_all());
  co_return co_await wait_until(&Universe::what_is_missing, "");
}

Task<void> Universe::start_one(node::Node& node, Status& first_failure) {
  Status status = co_await node.start();
  if (!status && first_failure) first_failure = std::move(status);
}

Task<Status> Universe::connect_all() {
  Status first_failure;
  runtime::TaskGroup connecting(process_.loop());
  for (std::size_t i = 0; i < members_.size(); ++i) {
    const auto addresses = members_[i]->node->addresses();
    if (addresses.empty()) continue;
    for (std::size_t j = i + 1; j < members_.size(); ++j)
      connecting.spawn(connect_one(*members_[j]->node, addresses.front(), first_failure));
  }
  co_await connecting.join();
  co_return first_failure;
}

Task<Status> Universe::connect_to_others(node::Node& node) {
  Status first_failure;
  runtime::TaskGroup connecting(process_.loop());
  for (const auto& member : members_) {
    if (member->node.get() == &node || member->node->state() != node::Node::State::running)
      continue;
    const auto addresses = member->node->addresses();
    if (!addresses.empty()) connecting.spawn(connect_one(node, addresses.front(), first_failure));
  }
  co_await connecting.join();
  co_return first_failure;
}

Task<void> Universe::connect_one(node::Node& from, std::string address, Status& first_failure) {
  Status status =
      co_await runtime::with_deadline(10s, "connecting " + from.name(), from.connect(address));
  if (!status && first_failure) first_failure = std::move(status);
}

Task<Status> Universe::wait_until(Question question, std::string argument) {
  const TimePoint until = process_.loop().now() + options_.ready_time_max;
  while (true) {
    CO_TRY(const std::string missing, (this->*question)(argument));
    if (missing.empty()) co_return Status{};
    if (process_.loop().now() >= until)
      co_return fail(ErrorCode::deadline_exceeded,
                     fmt::format("not ready after {} s: {}",
                                 options_.ready_time_max / std::chrono::seconds(1), missing));
    CO_TRY_STATUS(runtime::sleep_for(kLookAgain));
  }
}

Task<Result<std::string>> Universe::what_is_missing(std::string) {
  std::size_t substrates = 0;
  for (const auto& member : members_) {
    if (member->node->state() != node::Node::State::running)
      co_return fail(ErrorCode::unavailable, member->node->name() + " is not running any more");
    if (member->node->host().peers().size() + 1 < members_.size())
      co_return member->node->name() + " is not connected to all others";
    if (!member->node->decides()) co_return member->node->name() + " has no leader to follow";
    if (has(member->plan.services, substrate::kRole)) ++substrates;
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

Task<Result<std::string>> Universe::what_is_missing_of(std::string name) {
  CO_TRY_SYNC(node::Node * node, find(name));
  if (node->state() != node::Node::State::running)
    co_return fail(ErrorCode::unavailable, name + " is not running any more");
  if (node->host().peers().size() + 1 < running())
    co_return name + " is not connected to all others";
  if (!node->decides()) co_return name + " has no leader to follow";
  const bool serves = node->runs(substrate::kRole);
  for (const PeerId& seer : node->caller().peers_with_role(seer::kRole)) {
    const auto listed =
        co_await node->caller().call<seer::ListNodes>(seer, seer::kProtocol, {std::string()});
    if (!listed) co_return "seer: " + listed.error().message();
    const auto mine = std::ranges::find_if(listed->nodes,
                                           [&](const auto& one) { return one.peer == node->id(); });
    if (mine == listed->nodes.end()) co_return "seer does not list " + name;
    if (serves && mine->announcement.http_port == 0) co_return name + " does not answer";
  }
  co_return std::string();
}

Task<Result<Universe::NodeView>> Universe::add(NodePlan plan) {
  if (!ready() || stopping_)
    co_return fail(ErrorCode::failed_precondition, "universe " + name() + " is not running");
  const Busy busy(*this);
  for (const std::string& service : plan.services) {
    CO_TRY_SYNC_STATUS(check_service(service));
    if (!is_single(service) && service != tns::kRole && service != patrick::kRole) continue;
    const auto killed = std::ranges::find_if(members_, [&](const auto& member) {
      return member->killed && has(member->plan.services, service) &&
             (plan.name.empty() || plan.name == member->plan.name);
    });
    if (killed != members_.end()) co_return co_await start_again(**killed);
    if (!is_single(service)) continue;
    for (const auto& member : members_) {
      if (!has(member->plan.services, service)) continue;
      co_return fail(ErrorCode::failed_precondition,
                     fmt::format("{} runs in {} already: a universe has one, because its records "
                                 "have one home",
                                 service, member->plan.name));
    }
  }
  if (plan.name.empty())
    plan.name = free_name(plan.services.empty() ? "client" : plan.services[0], options_.plan);
  CO_TRY_SYNC_STATUS(check_node_name(plan.name));
  for (const auto& member : members_) {
    if (member->plan.name != plan.name) continue;
    if (!member->killed)
      co_return fail(ErrorCode::already_exists, fmt::format("node {} is {} already", plan.name,
                                                            name_of(member->node->state())));
    if (member->plan.services != plan.services)
      co_return fail(ErrorCode::failed_precondition,
                     fmt::format("{}, which was killed, ran {}: start it with that, or choose "
                                 "another name",
                                 plan.name, fmt::join(member->plan.services, ", ")));
    co_return co_await start_again(*member);
  }
  if (members_.size() >= kNodesMax)
    co_return fail(
        ErrorCode::resource_exhausted,
        fmt::format("universe {} has {} nodes, which is all it may have", name(), members_.size()));
  co_return co_await add_new(std::move(plan));
}

Task<Result<Universe::NodeView>> Universe::add_new(NodePlan plan) {
  CO_TRY_SYNC(auto mine, identity(plan));
  for (const auto& [service, founders] :
       {std::pair(tns::kRole, &voters_), std::pair(patrick::kRole, &patricks_)}) {
    if (!has(plan.services, service)) continue;
    plan.joined = plan.joined || !founders->empty();
    if (founders->empty()) *founders = {mine.id().str()};
  }
  CO_TRY_SYNC_STATUS(make_node(plan, std::move(mine)));
  options_.plan.push_back(plan);
  Member& member = *members_.back();
  Status status = co_await join(*member.node);
  if (!status) {
    // Others may have been added meanwhile.
    co_await member.node->stop();
    std::erase_if(members_, [&](const auto& one) { return one.get() == &member; });
    std::erase(options_.plan, plan);
    co_return fail(std::move(status).error().context("adding " + plan.name));
  }
  CO_TRY_SYNC_STATUS(write_kept(false));
  say_where(member);
  if (on_change) on_change();
  co_return view_of(member);
}

Task<Result<Universe::NodeView>> Universe::start_again(Member& member) {
  if (member.node->state() != node::Node::State::stopped)
    co_return fail(ErrorCode::failed_precondition,
                   fmt::format("{} is {}", member.plan.name, name_of(member.node->state())));
  CO_TRY_STATUS(join(*member.node));
  member.killed = false;
  say_where(member);
  if (on_change) on_change();
  co_return view_of(member);
}

Task<Status> Universe::join(node::Node& node) {
  CO_TRY_STATUS(node.start());
  CO_TRY_STATUS(connect_to_others(node));
  co_return co_await wait_until(&Universe::what_is_missing_of, node.name());
}

Status Universe::write_kept(bool stopped) {
  if (options_.keep == Keep::no) return {};
  Kept kept{options_.plan, options_.preferred, stopped};
  if (http_port_ != 0) kept.ports.http = http_port_;
  if (const auto at = api()) kept.ports.api = at->port;
  if (const auto at = dns()) kept.ports.dns = at->port;
  options_.preferred = kept.ports;
  return replace_file(options_.data / "universe.json", to_json(kept).dump(2) + "\n");
}

void Universe::say_where(const Member& member) const {
  const NodeView view = view_of(member);
  std::string line =
      view.services.empty() ? "runs" : fmt::format("runs {}", fmt::join(view.services, ", "));
  if (view.http) line += fmt::format("; functions at http://{}", view.http->to_string());
  if (view.api) line += fmt::format("; repositories at http://{}", view.api->to_string());
  if (view.dns) line += fmt::format("; DNS at {}", view.dns->to_string());
  log_.named(view.name).info(line);
}

Task<void> Universe::stop() {
  ready_after_.reset();
  stopping_ = true;
  co_await chaos_.stop();  // a node that is paused could not stop
  log_book_->close();
  // Together: none needs another to stop.
  runtime::TaskGroup stopping(process_.loop());
  for (const auto& member : members_) stopping.spawn(member->node->stop());
  co_await stopping.join();
  runtime::Scope own(process_.loop());
  while (busy_ > 0) (void)co_await idle_.wait().in(own);
  // One that was being added may have come up meanwhile.
  runtime::TaskGroup late(process_.loop());
  for (const auto& member : members_) late.spawn(member->node->stop());
  co_await late.join();
}

std::size_t Universe::running() const {
  return static_cast<std::size_t>(std::ranges::count_if(members_, [](const auto& member) {
    return member->node->state() == node::Node::State::running;
  }));
}

Universe::NodeView Universe::view_of(const Member& member) const {
  const node::Node& node = *member.node;
  const bool running = node.state() == node::Node::State::running;
  const bool killed = member.killed && node.state() == node::Node::State::stopped;
  return {node.name(),
          node.id(),
          member.plan.services,
          killed ? "killed" : std::string(name_of(node.state())),
          running ? member.node->host().peers().size() : 0,
          node.addresses(),
          node.http(),
          node.dns(),
          node.api()};
}

std::vector<Universe::NodeView> Universe::nodes() const {
  std::vector<NodeView> out;
  for (const auto& member : members_) out.push_back(view_of(*member));
  return out;
}

std::optional<net::Endpoint> Universe::entry() const {
  for (const auto& member : members_) {
    if (const auto http = member->node->http()) return net::Endpoint{"127.0.0.1", http->port};
  }
  return std::nullopt;
}

std::optional<net::Endpoint> Universe::dns() const {
  for (const auto& member : members_) {
    if (const auto dns = member->node->dns()) return dns;
  }
  return std::nullopt;
}

std::optional<net::Endpoint> Universe::api() const {
  for (const auto& member : members_) {
    if (const auto api = member->node->api()) return api;
  }
  return std::nullopt;
}

Result<node::Node*> Universe::find(std::string_view which) {
  std::vector<node::Node*> running;
  for (const auto& member : members_) {
    if (member->node->name() == which || member->node->id().str() == which)
      return member->node.get();
    if (member->node->state() == node::Node::State::running && has(member->plan.services, which))
      running.push_back(member->node.get());
  }
  if (running.size() == 1) return running.front();
  std::vector<std::string> names;
  for (const node::Node* node : running) names.push_back(node->name());
  if (running.empty()) {
    for (const auto& member : members_) names.push_back(member->node->name());
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
  const Busy busy(*this);
  for (const auto& member : members_) member->killed = member->killed || member->node.get() == node;
  co_await node->kill();
  log_.named(node->name()).info("killed");
  if (on_change) on_change();
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
  for (const auto& member : members_) {
    if (member->node->state() != node::Node::State::running) continue;
    if (!found || member->plan.services.empty()) found = member->node.get();
  }
  return found;
}

}  // namespace tau::testnet
