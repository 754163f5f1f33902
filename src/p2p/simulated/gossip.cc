#include "p2p/simulated/gossip.h"

#include <algorithm>
#include <chrono>

namespace tau::p2p::simulated {
namespace {

using namespace std::chrono_literals;
using What = GossipRpc::What;

constexpr std::size_t kMesh = 6, kMeshLow = 5, kMeshHigh = 12, kMeshOutboundMin = 2;
constexpr std::size_t kLazy = 6;
constexpr std::size_t kLazyShare = 4;  // a quarter of the neighbours outside of the mesh, if more
constexpr Duration kSeenFor = 60s, kBackoff = 60s, kPromise = 3s, kUnwanted = 3s;
constexpr Duration kBackoffSlack = Gossip::kHeartbeat;
constexpr int kRetransmissions = 3;
constexpr std::size_t kIhavesMax = 10, kIdsMax = 5000;
// Larger ones are announced by IDONTWANT, so that they do not come twice.
constexpr std::size_t kLargeBytes = 1000;
// The author's peer id as text and a sequence number of nanoseconds in decimal.
constexpr std::size_t kMessageIdBytes = kPeerIdTextBytes + 19;

}  // namespace

void Gossip::send(Number to, What what, std::vector<Topic> topics, std::vector<MessageId> ids,
                  std::shared_ptr<const GossipMessage> message) {
  std::size_t size = 0;
  for (const Topic topic : topics) {
    const std::size_t name = field_bytes(ground_.topic_bytes(topic));
    switch (what) {
      case What::subscribe:
        size += field_bytes(2 + name);
        break;
      case What::prune:
        size += field_bytes(field_bytes(name + 2));  // and the seconds of the backoff
        break;
      case What::ihave:
        size += name;
        break;
      default:
        size += field_bytes(field_bytes(name));
    }
  }
  size += ids.size() * field_bytes(kMessageIdBytes);
  if (!ids.empty()) size = field_bytes(field_bytes(size));
  if (message) size += field_bytes(message->bytes);
  GossipRpc rpc{what, std::move(topics), std::move(ids), std::move(message), framed_bytes(size)};
  ground_.send_gossip(to, std::make_shared<const GossipRpc>(std::move(rpc)));
}

void Gossip::connected(Number peer, bool dialed_by_us) {
  const auto [it, fresh] = neighbours_.try_emplace(peer);
  it->second.outbound = dialed_by_us;
  if (!fresh || mesh_.empty()) return;
  std::vector<Topic> topics;
  for (const auto& [topic, peers] : mesh_) topics.push_back(topic);
  send(peer, What::subscribe, std::move(topics), {});
}

void Gossip::disconnected(Number peer) {
  neighbours_.erase(peer);
  for (auto& [topic, peers] : mesh_) peers.erase(peer);
}

void Gossip::shuffle(std::vector<Number>& peers) {
  for (std::size_t i = peers.size(); i > 1; --i)
    std::swap(peers[i - 1], peers[ground_.gossip_random().below(i)]);
}

template <class Filter>
std::vector<Number> Gossip::some(Topic topic, std::size_t at_most, Filter filter) {
  std::vector<Number> found;
  for (const auto& [peer, neighbour] : neighbours_)
    if (neighbour.topics.contains(topic) && filter(peer, neighbour)) found.push_back(peer);
  if (found.size() > at_most) {
    shuffle(found);
    found.resize(at_most);
  }
  return found;
}

void Gossip::subscribe(Topic topic) {
  if (mesh_.contains(topic)) return;
  for (const auto& [peer, neighbour] : neighbours_) send(peer, What::subscribe, {topic}, {});
  std::set<Number>& peers = mesh_[topic];
  for (const Number peer :
       some(topic, kMesh, [&](Number p, const Neighbour&) { return !backing_off(topic, p, true); }))
    peers.insert(peer);
  for (const Number peer : peers) send(peer, What::graft, {topic}, {});
}

bool Gossip::see(MessageId id) {
  if (!seen_.emplace(id, ground_.gossip_now() + kSeenFor).second) return false;
  seen_order_.emplace_back(id, ground_.gossip_now() + kSeenFor);
  if (seen_order_.size() > kSeenMax) {
    seen_.erase(seen_order_.front().first);
    seen_order_.pop_front();
  }
  return true;
}

void Gossip::keep(const std::shared_ptr<const GossipMessage>& message) {
  if (cache_.try_emplace(message->id, Cached{message, {}}).second)
    history_[0].push_back(message->id);
}

// To every subscribed neighbour: a new message reaches most of a small network in one hop, and a
// topic that only others listen to needs no fanout.
void Gossip::publish(std::shared_ptr<const GossipMessage> message) {
  const auto to =
      some(message->topic, neighbours_.size(), [](Number, const Neighbour&) { return true; });
  if (to.empty()) return;  // forgotten, as rust-libp2p does
  see(message->id);
  keep(message);
  for (const Number peer : to) send(peer, What::publish, {}, {}, message);
}

bool Gossip::wants(const Neighbour& peer, MessageId id) const {
  return std::ranges::none_of(peer.unwanted, [&](const auto& u) { return u.first == id; });
}

void Gossip::heard(Number from, const std::shared_ptr<const GossipMessage>& message) {
  const MessageId id = message->id;
  const auto mesh = mesh_.find(message->topic);
  if (message->bytes > kLargeBytes && !seen_.contains(id) && mesh != mesh_.end()) {
    for (const Number peer : mesh->second)
      if (peer != from && peer != message->author) send(peer, What::idontwant, {}, {id});
  }
  if (!see(id)) return;
  promised_.erase(id);
  keep(message);
  if (mesh == mesh_.end()) return;
  // Before the owner hears of it: what it does may change the mesh.
  for (const Number peer : mesh->second) {
    if (peer == from || peer == message->author) continue;
    const auto neighbour = neighbours_.find(peer);
    if (neighbour != neighbours_.end() && wants(neighbour->second, id))
      send(peer, What::publish, {}, {}, message);
  }
  ground_.hear_gossip(*message);
}

void Gossip::offered(Number from, const GossipRpc& rpc) {
  Neighbour& neighbour = neighbours_.at(from);
  if (++neighbour.ihaves > kIhavesMax || !subscribed(rpc.topics.at(0))) return;
  std::vector<MessageId> wanted;
  for (const MessageId id : rpc.ids)
    if (!seen_.contains(id) && !promised_.contains(id)) wanted.push_back(id);
  if (wanted.size() > kIdsMax) wanted.resize(kIdsMax);
  if (wanted.empty()) return;
  for (const MessageId id : wanted) promised_[id] = {from, ground_.gossip_now() + kPromise};
  send(from, What::iwant, {}, std::move(wanted));
}

void Gossip::asked_for(Number from, const std::vector<MessageId>& ids) {
  for (const MessageId id : ids) {
    const auto cached = cache_.find(id);
    if (cached == cache_.end() || ++cached->second.asked[from] > kRetransmissions) continue;
    if (wants(neighbours_.at(from), id)) send(from, What::publish, {}, {}, cached->second.message);
  }
}

void Gossip::back_off(Topic topic, Number peer) {
  backoff_[{topic, peer}] = ground_.gossip_now() + kBackoff;
}

bool Gossip::backing_off(Topic topic, Number peer, bool with_slack) const {
  const auto it = backoff_.find({topic, peer});
  return it != backoff_.end() &&
         it->second + (with_slack ? kBackoffSlack : Duration{}) > ground_.gossip_now();
}

void Gossip::prune_to(Number to, Topic topic) {
  back_off(topic, to);
  send(to, What::prune, {topic}, {});
}

void Gossip::graft_from(Number from, Topic topic) {
  const auto mesh = mesh_.find(topic);
  if (mesh == mesh_.end() || mesh->second.contains(from)) return;
  const Neighbour& neighbour = neighbours_.at(from);
  if (backing_off(topic, from, false)) return prune_to(from, topic);
  if (!neighbour.topics.contains(topic)) return;
  if (mesh->second.size() >= kMeshHigh && !neighbour.outbound) return prune_to(from, topic);
  mesh->second.insert(from);
}

void Gossip::receive(Number from, const GossipRpc& rpc) {
  const auto it = neighbours_.find(from);
  if (it == neighbours_.end()) return;
  switch (rpc.what) {
    case What::subscribe:
      for (const Topic topic : rpc.topics) {
        it->second.topics.insert(topic);
        const auto mesh = mesh_.find(topic);
        if (mesh == mesh_.end() || mesh->second.size() >= kMeshLow ||
            backing_off(topic, from, true) || !mesh->second.insert(from).second)
          continue;
        send(from, What::graft, {topic}, {});
      }
      return;
    case What::graft:
      for (const Topic topic : rpc.topics) graft_from(from, topic);
      return;
    case What::prune:
      for (const Topic topic : rpc.topics) {
        const auto mesh = mesh_.find(topic);
        if (mesh == mesh_.end()) continue;
        mesh->second.erase(from);
        back_off(topic, from);
      }
      return;
    case What::publish:
      return heard(from, rpc.message);
    case What::ihave:
      return offered(from, rpc);
    case What::iwant:
      return asked_for(from, rpc.ids);
    case What::idontwant:
      for (const MessageId id : rpc.ids)
        if (it->second.unwanted.size() < kIdsMax)
          it->second.unwanted.emplace_back(id, ground_.gossip_now() + kUnwanted);
      return;
  }
}

bool Gossip::maintain(Topic topic, std::set<Number>& peers) {
  const std::set<Number> before = peers;
  const auto outbound = [&](Number peer) { return neighbours_.at(peer).outbound; };
  const auto may_join = [&](Number peer) {
    return !peers.contains(peer) && !backing_off(topic, peer, true);
  };
  const auto add = [&](const std::vector<Number>& chosen) {
    for (const Number peer : chosen) {
      peers.insert(peer);
      send(peer, What::graft, {topic}, {});
    }
  };
  if (peers.size() < kMeshLow)
    add(some(topic, kMesh - peers.size(), [&](Number p, const Neighbour&) { return may_join(p); }));
  if (peers.size() >= kMeshHigh) {
    std::vector<Number> order(peers.begin(), peers.end());
    shuffle(order);
    auto left_outbound = static_cast<std::size_t>(std::ranges::count_if(order, outbound));
    for (const Number peer : order) {
      if (peers.size() <= kMesh) break;
      if (outbound(peer) && left_outbound <= kMeshOutboundMin) continue;
      if (outbound(peer)) --left_outbound;
      peers.erase(peer);
      prune_to(peer, topic);
    }
  }
  if (peers.size() < kMeshLow) return peers != before;
  const auto have = static_cast<std::size_t>(std::ranges::count_if(peers, outbound));
  if (have < kMeshOutboundMin)
    add(some(topic, kMeshOutboundMin - have, [&](Number p, const Neighbour& neighbour) {
      return neighbour.outbound && may_join(p);
    }));
  return peers != before;
}

void Gossip::tell_of(Topic topic, const std::set<Number>& mesh) {
  std::vector<MessageId> ids;
  for (std::size_t i = 0; i < kTold; ++i)
    for (const MessageId id : history_[i])
      if (cache_.at(id).message->topic == topic) ids.push_back(id);
  if (ids.empty()) return;
  if (ids.size() > kIdsMax) ids.resize(kIdsMax);
  auto to = some(topic, neighbours_.size(),
                 [&](Number peer, const Neighbour&) { return !mesh.contains(peer); });
  shuffle(to);
  to.resize(std::min(to.size(), std::max(kLazy, to.size() / kLazyShare)));
  for (const Number peer : to) send(peer, What::ihave, {topic}, ids);
}

bool Gossip::heartbeat() {
  const TimePoint now = ground_.gossip_now();
  std::erase_if(backoff_, [&](const auto& b) { return b.second + kBackoffSlack < now; });
  std::erase_if(promised_, [&](const auto& p) { return p.second.second < now; });
  while (!seen_order_.empty() && seen_order_.front().second < now) {
    seen_.erase(seen_order_.front().first);
    seen_order_.pop_front();
  }
  for (auto& [peer, neighbour] : neighbours_) {
    neighbour.ihaves = 0;
    while (!neighbour.unwanted.empty() && neighbour.unwanted.front().second < now)
      neighbour.unwanted.pop_front();
  }
  bool changed = false;
  for (auto& [topic, peers] : mesh_) changed |= maintain(topic, peers);
  for (const auto& [topic, peers] : mesh_) tell_of(topic, peers);
  for (const MessageId id : history_.back()) cache_.erase(id);
  std::ranges::rotate(history_, history_.end() - 1);
  history_.front().clear();
  return changed || remembered() > 0;
}

std::vector<Number> Gossip::mesh_of(Topic topic) const {
  const auto it = mesh_.find(topic);
  if (it == mesh_.end()) return {};
  return {it->second.begin(), it->second.end()};
}

std::size_t Gossip::remembered() const {
  std::size_t n = seen_.size() + cache_.size() + backoff_.size() + promised_.size();
  for (const auto& [peer, neighbour] : neighbours_) n += neighbour.unwanted.size();
  return n;
}

}  // namespace tau::p2p::simulated
