#include "node/mesh.h"

#include <algorithm>

namespace tau::node {
namespace {

using namespace std::chrono_literals;

constexpr Duration kDialMax = 5s;
constexpr Duration kFirstPause = 500ms;  // a node that restarts is back in this time
constexpr Duration kLongestPause = 30s;
// A node that has been away this long joins again by its own bootstrap.
constexpr Duration kForgetAfter = 10min;

bool ends_in(const std::string& address, const PeerId& peer) {
  return address.size() <= kAddressBytesMax && address.starts_with('/') &&
         address.ends_with("/p2p/" + peer.str());
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
  for (const PeerId& peer : host_.peers()) met(peer, true);
  for (const std::string& address : bootstrap_) tasks_.spawn(join_by(address));
  tasks_.spawn(keep_dialing());
  co_return Status{};
}

Task<void> Mesh::stop() {
  watcher_->mesh = nullptr;
  co_await router_.unserve(kMeshProtocol);
  co_await tasks_.stop();
}

void Mesh::learn(const PeerId& peer, std::vector<std::string> addresses) {
  if (peer == host_.id()) return;
  std::erase_if(addresses, [&](const std::string& address) { return !ends_in(address, peer); });
  if (addresses.empty()) return;
  if (addresses.size() > kNodeAddressesMax) addresses.resize(kNodeAddressesMax);
  auto it = known_.find(peer);
  if (it == known_.end()) {
    if (known_.size() >= kKnownNodesMax) return;
    it = known_.emplace(peer, Known{}).first;
    it->second.last_met = it->second.try_again = loop_.now();
  }
  it->second.addresses = std::move(addresses);
  look_.notify_all();
}

void Mesh::met(const PeerId& peer, bool connected) {
  auto it = known_.find(peer);
  if (it == known_.end()) {
    if (!connected || known_.size() >= kKnownNodesMax) return;
    it = known_.emplace(peer, Known{}).first;
  }
  Known& known = it->second;
  known.last_met = known.try_again = loop_.now();
  known.pause = Duration::zero();
  if (!connected) {
    look_.notify_all();
  } else if (host_.id() < peer) {
    tasks_.spawn(greet(peer));  // the other one hears of us by it
  }
}

Task<void> Mesh::greet(PeerId peer) { (void)co_await introduce(peer); }

Task<bool> Mesh::introduce(PeerId peer) {
  auto answer = co_await caller_.call<Introduce>(peer, kMeshProtocol, {host_.addresses()});
  if (!answer) {
    log_.debug("introduction to " + peer.str() + ": " + answer.error().message());
    co_return false;
  }
  if (answer->nodes.size() > kKnownNodesMax) answer->nodes.resize(kKnownNodesMax);
  const auto connected = host_.peers();
  for (KnownNode& node : answer->nodes) {
    // What a node says of itself, on its own connection, is better than hearsay.
    if (node.peer == peer || std::ranges::find(connected, node.peer) == connected.end())
      learn(node.peer, std::move(node.addresses));
  }
  co_return true;
}

Task<Result<Introduce::Response>> Mesh::handle(command::Peer peer, Introduce::Request request) {
  learn(peer.id, std::move(request.addresses));
  Introduce::Response response{connected_nodes(peer.id)};
  response.nodes.push_back({host_.id(), host_.addresses()});
  co_return response;
}

std::vector<KnownNode> Mesh::connected_nodes(const PeerId& except) const {
  std::vector<KnownNode> nodes;
  for (const PeerId& peer : host_.peers()) {
    const auto it = known_.find(peer);
    if (peer != except && it != known_.end() && !it->second.addresses.empty())
      nodes.push_back({peer, it->second.addresses});
  }
  return nodes;
}

Task<void> Mesh::keep_dialing() {
  runtime::Scope& scope = co_await runtime::current_scope();
  while (!scope.cancelled()) {
    const TimePoint now = loop_.now();
    const auto connected = host_.peers();
    std::erase_if(known_, [&](const auto& item) {
      return !item.second.dialing && now - item.second.last_met > kForgetAfter &&
             std::ranges::find(connected, item.first) == connected.end();
    });
    TimePoint next = now + kLongestPause;
    for (auto& [peer, known] : known_) {
      if (known.dialing || known.addresses.empty() ||
          std::ranges::find(connected, peer) != connected.end())
        continue;
      if (known.try_again <= now) {
        known.dialing = true;
        tasks_.spawn(dial(peer));
      } else {
        next = std::min(next, known.try_again);
      }
    }
    (void)co_await runtime::with_deadline(next - now, "the next dial", look_.wait());
  }
}

Task<void> Mesh::dial(PeerId peer) {
  const std::vector<std::string> addresses = known_[peer].addresses;
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
  Known& known = known_[peer];
  known.dialing = false;
  if (!reached) {
    known.pause = std::clamp<Duration>(known.pause * 2, kFirstPause, kLongestPause);
    known.try_again = loop_.now() + known.pause;
  }
  look_.notify_all();
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
      learn(*joined, {address});
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
    if (!co_await runtime::sleep_for(introduced ? kLongestPause : pause)) co_return;
  }
}

}  // namespace tau::node
