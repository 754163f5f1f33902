#include "node/mesh.h"

#include <algorithm>

namespace tau::node {
namespace {

using namespace std::chrono_literals;

constexpr Duration kDialMax = 5s;
constexpr Duration kFirstPause = 500ms;  // of a bootstrap node that does not answer
constexpr Duration kLongestPause = 30s;
// A node that has been away this long joins again by its own bootstrap.
constexpr Duration kForgetAfter = 10min;
// In a large network.
constexpr std::size_t kAFew = 8;            // nodes to be told of at once
constexpr Duration kAskEvery = 30s;         // some peer, whom it knows
constexpr Duration kRejoinEvery = 10min;    // by bootstrap: halves that were parted find each other
constexpr Duration kBetweenRounds = 200ms;  // what happens meanwhile is looked at together

bool ends_in(const std::string& address, const PeerId& peer) {
  return address.size() <= kAddressBytesMax && address.starts_with('/') &&
         address.ends_with("/p2p/" + peer.str());
}

Roles own_roles(const p2p::Host& host) {
  const auto certificate = host.certificate_of(host.id());
  return certificate ? roles_of(certificate->roles) : Roles{0};
}

}  // namespace

struct Mesh::Watcher {
  Mesh* mesh = nullptr;
};

Mesh::Mesh(runtime::Loop& loop, p2p::Host& host, command::Router& router, command::Caller& caller,
           std::vector<std::string> bootstrap, Logger log)
    : loop_(loop),
      host_(host),
      router_(router),
      caller_(caller),
      bootstrap_(std::move(bootstrap)),
      log_(std::move(log)),
      known_(host.id(), own_roles(host)),
      watcher_(std::make_shared<Watcher>()),
      look_(loop),
      tasks_(loop) {}

Mesh::~Mesh() { watcher_->mesh = nullptr; }

Task<Status> Mesh::start() {
  watcher_->mesh = this;
  router_.serve(kMeshProtocol, *this, MeshCommands{});
  host_.on_peer([watcher = watcher_](const PeerId& peer, bool connected) {
    if (watcher->mesh) watcher->mesh->met(peer, connected);
  });
  host_.reach_by([watcher = watcher_](const PeerId& peer) {
    return watcher->mesh ? watcher->mesh->where(peer) : std::nullopt;
  });
  for (const PeerId& peer : host_.peers()) met(peer, true);
  for (const std::string& address : bootstrap_) tasks_.spawn(join_by(address));
  tasks_.spawn(keep_dialing());
  tasks_.spawn(keep_asking());
  co_return Status{};
}

Task<void> Mesh::stop() {
  watcher_->mesh = nullptr;
  co_await router_.unserve(kMeshProtocol);
  co_await tasks_.stop();
}

// In a small network, who is not connected is being dialed already.
std::optional<std::vector<std::string>> Mesh::where(const PeerId& peer) {
  if (!known_.sparse()) return std::nullopt;
  const auto* node = known_.find(peer);
  return node ? node->addresses : std::vector<std::string>();
}

Roles Mesh::proven_roles(const PeerId& peer) const {
  const auto certificate = host_.certificate_of(peer);
  return certificate ? roles_of(certificate->roles) : Roles{0};
}

void Mesh::learn(const PeerId& peer, std::vector<std::string> addresses, Roles roles) {
  std::erase_if(addresses, [&](const std::string& address) { return !ends_in(address, peer); });
  if (addresses.empty()) return;
  if (addresses.size() > kNodeAddressesMax) addresses.resize(kNodeAddressesMax);
  const std::size_t before = known_.nodes().size();
  auto* node = known_.learn(peer, roles, loop_.now());
  if (!node) return;
  const bool fresh = node->addresses.empty() || known_.nodes().size() != before;
  node->addresses = std::move(addresses);
  if (fresh || !known_.sparse()) look_.notify_all();
}

void Mesh::met(const PeerId& peer, bool connected) {
  if (!known_.met(peer, proven_roles(peer), connected, loop_.now())) return;
  if (!connected) {
    look_.notify_all();
  } else if (host_.id() < peer) {
    tasks_.spawn(greet(peer));  // the other one hears of us by it
  }
}

Task<void> Mesh::greet(PeerId peer) { (void)co_await introduce(peer); }

bool Mesh::wants(const PeerId& peer) {
  known_.choose();
  const auto* node = known_.find(peer);
  return node && (node->chosen || host_.is_protected(peer));
}

Task<bool> Mesh::introduce(PeerId peer) {
  Introduce::Request request{host_.addresses()};
  if (known_.sparse()) {
    request.wanted = wants(peer);
    request.at_most = kAFew;
  }
  auto answer = co_await caller_.call<Introduce>(peer, kMeshProtocol, std::move(request));
  if (!answer) {
    log_.debug("introduction to " + peer.str() + ": " + answer.error().message());
    co_return false;
  }
  if (answer->nodes.size() > kToldNodesMax + 1) answer->nodes.resize(kToldNodesMax + 1);
  for (KnownNode& node : answer->nodes) {
    const auto* known = known_.find(node.peer);
    const bool itself = node.peer == peer;
    // What a node says of itself, on its own connection, is better than hearsay.
    if (!itself && known && known->connected) continue;
    const Roles roles =
        itself ? proven_roles(peer) : roles_of(node.roles.value_or(std::vector<std::string>()));
    learn(node.peer, std::move(node.addresses), roles);
  }
  if (auto* node = known_.find(peer)) node->wants_us = answer->wanted.value_or(true);
  co_return true;
}

Task<Result<Introduce::Response>> Mesh::handle(command::Peer peer, Introduce::Request request) {
  learn(peer.id, std::move(request.addresses), roles_of(peer.certificate.roles));
  if (auto* node = known_.find(peer.id)) node->wants_us = request.wanted.value_or(true);
  const auto at_most = static_cast<std::size_t>(
      std::min<std::uint64_t>(request.at_most.value_or(kToldNodesMax), kToldNodesMax));
  Introduce::Response response{connected_nodes(peer.id, at_most)};
  const auto own = host_.certificate_of(host_.id());
  response.nodes.push_back({host_.id(), host_.addresses(),
                            own ? std::optional(names_of(roles_of(own->roles))) : std::nullopt});
  if (known_.sparse()) response.wanted = wants(peer.id);
  co_return response;
}

std::vector<KnownNode> Mesh::connected_nodes(const PeerId& except, std::size_t at_most) {
  std::vector<KnownNode> nodes;
  for (const auto* item : known_.some_connected(at_most)) {
    const auto& [peer, node] = *item;
    if (peer != except && !node.addresses.empty())
      nodes.push_back({peer, node.addresses, names_of(node.roles)});
  }
  return nodes;
}

Task<void> Mesh::keep_dialing() {
  runtime::Scope& scope = co_await runtime::current_scope();
  while (!scope.cancelled()) {
    const TimePoint next = dial_wanted();
    (void)co_await runtime::with_deadline(next - loop_.now(), "the next dial", look_.wait());
    if (known_.sparse() && !co_await runtime::sleep_for(kBetweenRounds)) co_return;
  }
}

TimePoint Mesh::dial_wanted() {
  const TimePoint now = loop_.now();
  known_.forget_before(now - kForgetAfter);
  known_.choose();
  TimePoint next = now + kLongestPause;
  for (auto& [peer, node] : known_.nodes()) {
    if (!node.chosen || node.dialing || node.connected || node.addresses.empty()) continue;
    if (node.try_again <= now) {
      node.dialing = true;
      tasks_.spawn(dial(peer));
    } else {
      next = std::min(next, node.try_again);
    }
  }
  const auto spare = [this](const PeerId& peer) { return host_.is_protected(peer); };
  for (const PeerId& peer : known_.surplus(now, spare)) host_.disconnect(peer);
  return next;
}

Task<void> Mesh::dial(PeerId peer) {
  const auto* known = known_.find(peer);
  const std::vector<std::string> addresses = known ? known->addresses : std::vector<std::string>();
  bool reached = false;
  for (const std::string& address : addresses) {
    const auto dialed =
        co_await runtime::with_deadline(kDialMax, "dialing " + address, host_.connect(address));
    if (dialed) {
      reached = true;
      break;
    }
    log_.debug(dialed.error().message());
  }
  if (auto* node = known_.find(peer)) node->dialing = false;
  if (!reached) known_.failed(peer, loop_.now());
  look_.notify_all();
}

// In a large network nobody hears of everybody at once.
Task<void> Mesh::keep_asking() {
  while (co_await runtime::sleep_for(kAskEvery)) {
    if (!known_.sparse()) continue;
    const auto some = known_.some_connected(1);
    if (!some.empty()) (void)co_await introduce(PeerId(some.front()->first));
  }
}

Task<void> Mesh::join_by(std::string address) {
  runtime::Scope& scope = co_await runtime::current_scope();
  Duration pause = kFirstPause;
  bool said = false;
  while (!scope.cancelled()) {
    const auto joined =
        co_await runtime::with_deadline(kDialMax, "dialing " + address, host_.connect(address));
    if (scope.cancelled()) co_return;
    bool introduced = false;
    if (joined) {
      learn(*joined, {address}, proven_roles(*joined));
      introduced = co_await introduce(*joined);
      if (introduced) pause = kFirstPause;
    } else {
      if (!said) log_.warning("bootstrap: " + joined.error().message() + "; trying on");
      said = true;
      pause = std::min<Duration>(pause * 2, kLongestPause);
    }
    // Joined or not, asked again: a bootstrap node is never forgotten, and knows who came since.
    // One that is starting does not answer yet, and soon will.
    if (joined && !introduced) pause = std::min<Duration>(pause * 2, kLongestPause);
    const Duration rest = known_.sparse() ? kRejoinEvery : kLongestPause;
    if (!co_await runtime::sleep_for(introduced ? rest : pause)) co_return;
  }
}

}  // namespace tau::node
