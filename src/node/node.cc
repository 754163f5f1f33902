#include "node/node.h"

#include <algorithm>
#include <set>

#include "content/exchange.h"
#include "http/json.h"
#include "http/router.h"
#include "node/announcer.h"
#include "node/formats.h"
#include "node/hoarders.h"
#include "node/mesh.h"
#include "node/names_api.h"
#include "node/node_api.h"
#include "node/user_api.h"
#include "services/auth/service.h"
#include "services/hoarder/service.h"
#include "services/monkey/service.h"
#include "services/patrick/service.h"
#include "services/seer/service.h"
#include "services/substrate/service.h"
#include "services/tns/client.h"
#include "services/tns/service.h"
#include "store/block_store.h"

namespace tau::node {
namespace {

// Where a node with an `api` listener offers the API for users.
constexpr std::string_view kUserApiPrefix = "/v1/cloud";

// What DNS gives for the substrate. "Every address" (0.0.0.0) is none that others could use.
std::vector<std::string> announced_addresses(const Options& options) {
  if (!options.http_announce.empty()) return options.http_announce;
  std::vector<std::string> out = {options.http_address};
  out.insert(out.end(), options.http_more_addresses.begin(), options.http_more_addresses.end());
  std::erase_if(out, [](const auto& address) { return address == "0.0.0.0" || address == "::"; });
  return out;
}

Status check_announced(const Options& options) {
  const std::vector<std::string> addresses = announced_addresses(options);
  if (addresses.size() > seer::kAddressesMax)
    return fail(ErrorCode::invalid_argument, "http.announce: DNS gives at most " +
                                                 std::to_string(seer::kAddressesMax) +
                                                 " addresses for one node");
  for (const std::string& address : addresses)
    if (!net::Endpoint::parse(net::Endpoint{address, 1}.to_string()))
      return fail(ErrorCode::invalid_argument,
                  "http.announce: \"" + address + "\" is not an IP address");
  return {};
}

// They go into records, which hold names of DNS only.
Status check_dns_names(const Options& options) {
  if (auto fine = tns::check_host(options.network_suffix); !fine)
    return fail(std::move(fine).error().context("network.suffix"));
  for (const std::string& issuer : options.dns_issuers)
    if (auto fine = tns::check_host(issuer); !fine)
      return fail(std::move(fine).error().context("dns.issuers"));
  return {};
}

using StopPart = std::move_only_function<Task<void>()>;

}  // namespace

std::string_view name_of(Node::State state) {
  switch (state) {
    case Node::State::made:
      return "made";
    case Node::State::starting:
      return "starting";
    case Node::State::running:
      return "running";
    case Node::State::stopping:
      return "stopping";
    case Node::State::stopped:
      return "stopped";
  }
  return "?";
}

// Destroyed in reverse: what is below stands on what is above.
struct Node::Parts {
  explicit Parts(runtime::Loop& loop) : served(loop) {}

  std::shared_ptr<void> data;  // the claim on the folder: released last
  std::optional<p2p::Admission> admission;
  std::unique_ptr<p2p::Host> host;
  std::unique_ptr<store::Kv> kv;
  std::optional<command::Router> router;
  std::optional<command::Caller> caller;
  std::optional<store::BlockStore> blocks;
  std::optional<content::Exchange> exchange;
  std::optional<Mesh> mesh;
  std::unique_ptr<store::Kv> credentials_kv;
  std::optional<Credentials> credentials;

  std::unique_ptr<store::Kv> tns_kv, auth_kv, seer_kv, hoarder_kv, patrick_kv, monkey_kv,
      substrate_kv;
  std::optional<tns::Client> names;
  std::optional<tns::Service> tns;
  std::optional<auth::Service> auth;
  std::optional<seer::Service> seer;
  GitHost git;
  std::optional<patrick::Service> patrick;
  std::optional<hoarder::Service> hoarder;
  std::optional<Hoarders> hoarders;
  std::optional<monkey::Service> monkey;
  std::optional<substrate::Service> substrate;

  std::optional<UserApi> user_api;
  std::optional<NodeApi> node_api;
  std::optional<NamesApi> names_api;
  http::Router user_routes;  // the same API at the root, for serve_user()
  http::Router api_routes;
  std::optional<http::Server> api;
  std::optional<net::Endpoint> api_at;
  std::set<runtime::Scope*> serving;  // requests of serve_user() under way
  runtime::Signal served;
  std::optional<Announcer> announcer;

  // What has started, for stopping in reverse.
  std::vector<std::pair<std::string_view, StopPart>> started;
};

Node::Node(Process& process, std::string name, Options options, p2p::NodeIdentity identity,
           p2p::Admission admission, Logger log)
    : process_(process),
      name_(std::move(name)),
      options_(std::move(options)),
      identity_(std::move(identity)),
      root_(admission.root()),
      log_(std::move(log)),
      ended_(process.loop()) {}

Node::~Node() { CHECK(!parts_); }

bool Node::runs(std::string_view service) const {
  return std::ranges::find(options_.services, service) != options_.services.end();
}

// Every part by name. Constructors do nothing yet; the database is opened because what stands on it
// needs it.
Task<Status> Node::build() {
  Parts& p = *parts_;
  runtime::Loop& loop = process_.loop();
  net::Network& network = process_.network(options_.http_address);

  // Anew at each start: what this node knows of revocations is what it kept on its disk.
  const p2p::Admission& admission = p.admission.emplace(root_, identity_.certificate());
  p.host = process_.make_host(identity_, admission, {options_.p2p_listen, options_.p2p_mdns},
                              log_.named(name_ + "/p2p"));
  CO_TRY(p.data, process_.claim_data(options_.data));
  CO_TRY(p.kv, process_.open_store(options_.data / "db"));
  CO_TRY_STATUS(bring_up_to_date(*p.kv, options_.services));
  p.router.emplace(loop, *p.host, log_.named(name_ + "/router"));
  p.caller.emplace(loop, *p.host, *p.router, process_.random());
  p.blocks.emplace(*p.kv);
  p.exchange.emplace(loop, *p.host, *p.blocks, log_.named(name_ + "/content"));
  p.mesh.emplace(loop, *p.host, *p.router, *p.caller, options_.p2p_bootstrap,
                 log_.named(name_ + "/mesh"));

  p.credentials_kv = store::with_prefix(*p.kv, "credentials/");
  p.credentials.emplace(loop, *p.host, *p.router, *p.caller, process_.random(), *p.credentials_kv,
                        admission, identity_, keep_certificate_,
                        log_.named(name_ + "/credentials"));
  tns::Client::Options asking;
  asking.accept_unproven = options_.substrate_accept_unproven;
  p.names.emplace(loop, *p.host, *p.caller, admission, log_.named(name_ + "/names"), asking);

  if (runs(tns::kRole)) {
    p.tns_kv = store::with_prefix(*p.kv, "tns/");
    tns::Service::Options options{options_.network_suffix};
    for (const std::string& voter : options_.consensus_voters)
      options.founders.emplace_back(PeerId(voter));
    p.tns.emplace(loop, *p.host, *p.router, *p.caller, *p.tns_kv, process_.random(), admission,
                  identity_, log_.named(name_ + "/tns"), std::move(options));
    p.tns->on_moved([&names = *p.names](const tns::Moved& moved) { names.note_moved(moved); });
  }
  if (runs(auth::kRole)) {
    p.auth_kv = store::with_prefix(*p.kv, "auth/");
    p.auth.emplace(*p.router, *p.caller, *p.auth_kv);
  }
  if (runs(seer::kRole)) {
    if (!options_.dns_listen)
      co_return fail(ErrorCode::invalid_argument, "seer needs dns.listen: it answers DNS there");
    CO_TRY_SYNC_STATUS(check_dns_names(options_));
    seer::Options options{*options_.dns_listen, options_.network_suffix};
    options.ttl_seconds = options_.dns_ttl;
    options.issuers = options_.dns_issuers;
    options.limits = {options_.dns_answers_per_second, options_.dns_negatives_per_second,
                      options_.dns_slip};
    p.seer_kv = store::with_prefix(*p.kv, "seer/");
    p.seer.emplace(seer::Roster::Parts{loop, *p.host, *p.exchange, *p.seer_kv, identity_, admission,
                                       process_.random()},
                   *p.router, *p.caller, network, std::move(options), log_.named(name_ + "/seer"));
  }

  if (runs(patrick::kRole)) {
    p.patrick_kv = store::with_prefix(*p.kv, "patrick/");
    p.git = process_.make_git_host(options_.data / "git", log_.named(name_ + "/git"));
    patrick::Options options{options_.patrick_lease};
    for (const std::string& founder : options_.consensus_patricks)
      options.founders.emplace_back(PeerId(founder));
    p.patrick.emplace(loop, *p.host, *p.router, *p.caller, *p.patrick_kv, *p.exchange,
                      *p.git.provider, process_.random(), identity_, log_.named(name_ + "/patrick"),
                      std::move(options));
    if (p.git.mount) p.git.mount(p.api_routes);
  }
  if (runs(hoarder::kRole)) {
    p.hoarder_kv = store::with_prefix(*p.kv, "hoarder/");
    p.hoarder.emplace(loop, *p.router, *p.exchange, *p.hoarder_kv, log_.named(name_ + "/hoarder"));
  }
  if (runs(monkey::kRole)) {
    p.monkey_kv = store::with_prefix(*p.kv, "monkey/");
    p.hoarders.emplace(loop, *p.caller, process_.random(), id());
    monkey::Options options;
    options.jobs_max = options_.monkey_concurrency;
    options.memory_bytes_max = options_.monkey_memory_total ? options_.monkey_memory_total->bytes
                                                            : process_.machine().memory_bytes / 2;
    options.load_percent = [&process = process_] { return process.machine().load_percent; };
    options.builder.suffix = options_.network_suffix;
    options.builder.limits.memory_bytes_max = options_.monkey_memory.bytes;
    options.builder.toolchains = options_.monkey_toolchains;
    options.builder.cache =
        options_.monkey_cache.empty() ? options_.data / "builds" : options_.monkey_cache;
    options.builder.go_proxy = options_.monkey_go_proxy;
    options.builder.limits.wall_time_max = options_.monkey_build_time;
    if (options_.monkey_compile_ahead) {
      CO_TRY_SYNC(options.engine, process_.engine());
    }
    p.monkey.emplace(loop, *p.host, *p.caller, *p.monkey_kv, *p.exchange, process_.runner(),
                     process_.pool(), *p.hoarders, identity_, admission,
                     log_.named(name_ + "/monkey"), std::move(options));
  }
  if (runs(substrate::kRole)) {
    CO_TRY_SYNC(vm::Engine * engine, process_.engine());
    CO_TRY_SYNC_STATUS(check_announced(options_));
    if (announced_addresses(options_).empty())
      log_.warning(
          "http.address is every address of this machine: DNS leaves this node out until "
          "http.announce says which ones others reach");
    substrate::Options options;
    const auto port = static_cast<std::uint16_t>(options_.http_port);
    options.listen = {{options_.http_address, port}};
    for (const std::string& more : options_.http_more_addresses)
      options.listen.push_back({more, port});
    if (options_.http_entry) options.listen.push_back({"127.0.0.1", port});
    options.plane.suffix = options_.network_suffix;
    options.ready.bytes_max = options_.substrate_compiled_cache.bytes;
    if (runs(monkey::kRole)) options.ready.trusted.push_back(id());
    for (const std::string& compiler : options_.substrate_trusted_compilers) {
      if (compiler == "network") {
        options.ready.trust_network = true;
      } else {
        options.ready.trusted.emplace_back(PeerId(compiler));
      }
    }
    p.substrate_kv = store::with_prefix(*p.kv, "substrate/");
    p.substrate.emplace(loop, *p.router, *p.names, *p.exchange, *p.substrate_kv, admission, *engine,
                        process_.pool(), process_.random(),
                        process_.planes(options_.http_threads, options_.http_address),
                        std::move(options), log_.named(name_ + "/substrate"));
  }
  p.user_api.emplace(loop, *p.caller,
                     UserApi::Options{options_.network_name, options_.network_suffix, kVersion});
  p.user_api->mount(p.user_routes, "");
  p.user_api->mount(p.api_routes, kUserApiPrefix);
  p.node_api.emplace(loop, name_, *p.host, *p.credentials).mount(p.api_routes);
  p.names_api.emplace(*p.caller).mount(p.api_routes);
  if (options_.api_listen)
    p.api.emplace(loop, http::fenced({}, p.api_routes.as_handler()), http::Server::Options{},
                  log_.named(name_ + "/api"));
  p.announcer.emplace(
      loop, *p.host, *p.caller, identity_, [this] { return announcement(); },
      log_.named(name_ + "/announcer"));
  co_return Status{};
}

// In order; what fails stops here, and the caller takes down what had started.
Task<Status> Node::start_parts() {
  Parts& p = *parts_;
  const auto started = [&p](std::string_view what, StopPart stop) {
    p.started.emplace_back(what, std::move(stop));
  };
  CO_TRY_STATUS(p.credentials->load());
  CO_TRY_STATUS(p.host->start());
  started("host", [&p] { return p.host->stop(); });
  p.credentials->start();
  started("credentials", [&p] { return p.credentials->stop(); });
  p.exchange->start();
  started("content", [&p] { return p.exchange->stop(); });
  p.names->start();
  started("names", [&p] { return p.names->stop(); });
  if (p.tns) {
    CO_TRY_STATUS(p.tns->start());
    started("tns", [&p] { return p.tns->stop(); });
  }
  if (p.auth) {
    CO_TRY_STATUS(p.auth->start());
    started("auth", [&p] { return p.auth->stop(); });
  }
  if (p.seer) {
    CO_TRY_STATUS(p.seer->start());
    started("seer", [&p] { return p.seer->stop(); });
  }
  if (p.patrick) {
    CO_TRY_STATUS(p.patrick->start());
    started("patrick", [&p] { return p.patrick->stop(); });
  }
  if (p.hoarder) {
    CO_TRY_STATUS(p.hoarder->start());
    started("hoarder", [&p] { return p.hoarder->stop(); });
  }
  if (p.monkey) {
    CO_TRY_STATUS(p.monkey->start());
    started("monkey", [&p] { return p.monkey->stop(); });
  }
  if (p.substrate) {
    CO_TRY_STATUS(p.substrate->start());
    started("substrate", [&p] { return p.substrate->stop(); });
  }
  if (p.api) {
    CO_TRY_SYNC(auto listener,
                process_.network(options_.api_listen->address).listen(*options_.api_listen));
    p.api_at = listener->local();
    if (p.patrick) p.patrick->set_git_base("http://" + p.api_at->to_string() + "/git");
    p.api->serve(std::move(listener));
    started("api", [&p] { return p.api->stop(); });
  }
  // Others learn of this node when it can serve.
  CO_TRY_STATUS(p.mesh->start());
  started("mesh", [&p] { return p.mesh->stop(); });
  p.announcer->start();
  started("announcer", [&p] { return p.announcer->stop(); });
  co_return Status{};
}

Task<Status> Node::start() {
  CHECK(state_ == State::made || state_ == State::stopped);
  state_ = State::starting;
  parts_ = std::make_unique<Parts>(process_.loop());
  Status status = co_await build();
  if (status) status = co_await start_parts();
  if (!status || state_ != State::starting) {
    const bool told_to_end = state_ != State::starting;
    co_await stop_parts(Manner::at_once);
    parts_.reset();
    state_ = State::stopped;
    ended_.notify_all();
    if (status && told_to_end)
      co_return fail(ErrorCode::cancelled, name_ + " was stopped while it started");
    co_return fail(std::move(status).error().context("starting " + name_));
  }
  state_ = State::running;
  co_return status;
}

Task<void> Node::stop() { return end(Manner::politely); }
Task<void> Node::kill() { return end(Manner::at_once); }

Task<void> Node::end(Manner manner) {
  runtime::Scope own(process_.loop());  // what stops is never left half stopped
  if (state_ == State::running) {
    state_ = State::stopping;
    co_await stop_parts(manner).in(own);
    parts_.reset();
    state_ = State::stopped;
    ended_.notify_all();
    co_return;
  }
  if (state_ == State::starting) state_ = State::stopping;  // start() sees it and takes down
  while (state_ == State::stopping) (void)co_await ended_.wait().in(own);
}

Task<void> Node::stop_parts(Manner manner) {
  Parts& p = *parts_;
  if (manner == Manner::politely && p.announcer) {
    co_await p.announcer->leave();
  } else if (p.host) {
    co_await p.host->stop();
  }
  for (runtime::Scope* request : std::set(p.serving)) request->cancel();
  while (!p.serving.empty()) (void)co_await p.served.wait();
  while (!p.started.empty()) {
    auto [what, stop] = std::move(p.started.back());
    p.started.pop_back();
    log_.debug("stopping " + std::string(what));
    co_await stop();
  }
}

seer::Announcement Node::announcement() const {
  seer::Announcement out;
  out.services = options_.services;
  if (const auto at = http()) {
    out.addresses = announced_addresses(options_);
    out.http_port = at->port;
  }
  out.multiaddrs = addresses();
  if (out.multiaddrs.size() > seer::kMultiaddrsMax) out.multiaddrs.resize(seer::kMultiaddrsMax);
  // Asked of the part itself: a node that is still starting answers DNS already.
  if (parts_->seer) out.dns = parts_->seer->dns().to_string();
  return out;
}

std::vector<std::string> Node::addresses() const {
  return parts_ && parts_->host ? parts_->host->addresses() : std::vector<std::string>{};
}

std::optional<net::Endpoint> Node::http() const {
  if (!parts_ || !parts_->substrate || parts_->substrate->endpoints().empty()) return std::nullopt;
  return parts_->substrate->endpoints().front();
}

std::optional<net::Endpoint> Node::dns() const {
  if (state_ != State::running || !parts_->seer) return std::nullopt;
  return parts_->seer->dns();
}

std::optional<net::Endpoint> Node::api() const {
  if (state_ != State::running) return std::nullopt;
  return parts_->api_at;
}

bool Node::decides() const {
  return state_ == State::running && (!parts_->tns || parts_->tns->shards().decides()) &&
         (!parts_->patrick || parts_->patrick->group().leader());
}

std::size_t Node::voters() const {
  if (state_ != State::running) return 0;
  if (parts_->tns) return parts_->tns->shards().voters();
  return parts_->patrick ? parts_->patrick->group().members().voters.size() : 0;
}

p2p::Host& Node::host() {
  CHECK(state_ == State::running);
  return *parts_->host;
}

command::Caller& Node::caller() {
  CHECK(state_ == State::running);
  return *parts_->caller;
}

command::Router& Node::router() {
  CHECK(state_ == State::running);
  return *parts_->router;
}

Credentials& Node::credentials() {
  CHECK(state_ == State::running);
  return *parts_->credentials;
}

Task<Status> Node::renew(Bytes certificate) {
  if (state_ != State::running) co_return fail(ErrorCode::unavailable, name_ + " is not running");
  co_return co_await parts_->credentials->renew(std::move(certificate));
}

Task<void> Node::serve_user(http::Request& request, http::ResponseWriter& response) {
  if (state_ != State::running) {
    response.send(
        http::error_response(Error(ErrorCode::unavailable, "node " + name_ + " does not run")));
    co_return;
  }
  Parts& p = *parts_;  // stop_parts() waits for us
  runtime::Scope& caller = co_await runtime::current_scope();
  runtime::Scope inner(process_.loop(), caller);
  p.serving.insert(&inner);
  co_await p.user_routes.handle(request, response).in(inner);
  p.serving.erase(&inner);
  p.served.notify_all();
}

Task<Status> Node::connect(std::string multiaddr) {
  if (state_ != State::running) co_return fail(ErrorCode::unavailable, name_ + " is not running");
  CO_TRY(const PeerId peer, parts_->host->connect(std::move(multiaddr)));
  (void)peer;
  co_return Status{};
}

}  // namespace tau::node
