#include "p2p/simulated/kademlia.h"

#include <algorithm>
#include <bit>
#include <chrono>

#include "crypto/ed25519.h"

namespace tau::p2p::simulated {
namespace {

using namespace std::chrono_literals;
using What = KadRequest::What;

constexpr Duration kRefreshThrottle = 500ms;
constexpr Duration kRecordFor = 48h, kPublishEvery = 12h;
// Type and level of a message; and a peer in it, whom others have dialed.
constexpr std::size_t kHeadBytes = 4;
constexpr std::size_t kPeerBytes = field_bytes(
    field_bytes(kPeerIdBytes) + field_bytes(kAddressBytes) + field_bytes(kDialedAddressBytes) + 2);

}  // namespace

Place place_of(BytesView name) {
  const auto digest = crypto::sha256(name);
  Place place{};
  for (std::size_t i = 0; i < digest.size(); ++i) place[i / 8] = place[i / 8] << 8 | digest[i];
  return place;
}

void Kademlia::start() {
  published_ = ground_.kad_now();
  refresh_later();
}

void Kademlia::stop() {
  for (auto& [id, query] : std::exchange(queries_, {}))
    if (query.done) query.done({query.found.begin(), query.found.end()});
}

// The number of bits that two places share, from the other end: 255 for the far half.
std::size_t Kademlia::bucket_of(const Place& place) const {
  const Place d = distance(ground_.place_of_host(own_), place);
  for (std::size_t i = 0; i < d.size(); ++i)
    if (d[i] != 0) return 255 - (i * 64 + static_cast<std::size_t>(std::countl_zero(d[i])));
  return 0;
}

void Kademlia::connected(Number peer) {
  auto& bucket = buckets_[bucket_of(ground_.place_of_host(peer))];
  if (const auto it = std::ranges::find(bucket, peer, &Entry::peer); it != bucket.end()) {
    it->connected = true;
    return;
  }
  if (bucket.size() >= kBucketSize) {
    // Who has gone makes room, the longest away first.
    const auto gone = std::ranges::find(bucket, false, &Entry::connected);
    if (gone == bucket.end()) return;
    bucket.erase(gone);
  }
  bucket.push_back({peer});
  if (known() < kBucketSize) refresh_soon();
}

void Kademlia::disconnected(Number peer) {
  auto& bucket = buckets_[bucket_of(ground_.place_of_host(peer))];
  const auto it = std::ranges::find(bucket, peer, &Entry::peer);
  if (it != bucket.end()) it->connected = false;
  std::vector<std::uint64_t> waiting;
  for (const auto& [id, query] : queries_) {
    const auto asked =
        query.candidates.find(distance(query.request->target, ground_.place_of_host(peer)));
    if (asked != query.candidates.end() && asked->second.asked == Asked::waiting)
      waiting.push_back(id);
  }
  for (const std::uint64_t id : waiting) failed(id, peer);
}

std::vector<Number> Kademlia::closest(const Place& target, std::optional<Number> except) const {
  std::vector<std::pair<Place, Number>> all;
  for (const auto& bucket : buckets_)
    for (const Entry& entry : bucket)
      if (entry.peer != except)
        all.emplace_back(distance(target, ground_.place_of_host(entry.peer)), entry.peer);
  const std::size_t wanted = std::min(all.size(), kBucketSize);
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(wanted), all.end());
  std::vector<Number> out;
  for (std::size_t i = 0; i < wanted; ++i) out.push_back(all[i].second);
  return out;
}

void Kademlia::aim(Query& query, const Place& target) {
  KadRequest request{What::find_node, target, query.key, 0};
  if (query.purpose == Purpose::find) request.what = What::get_providers;
  // A place is looked for by something that hashes to it.
  const bool of_peer = query.purpose == Purpose::refresh || query.purpose == Purpose::look;
  const std::size_t key = of_peer ? kPeerIdBytes : std::max<std::size_t>(query.key.size(), 1);
  request.bytes = framed_bytes(kHeadBytes + field_bytes(key));
  query.request = std::make_shared<const KadRequest>(std::move(request));
  query.candidates.clear();
  query.waiting = query.no_progress = 0;
  query.stalled = false;
  for (const Number peer : closest(target, std::nullopt))
    query.candidates.emplace(distance(target, ground_.place_of_host(peer)), Candidate{peer});
}

std::uint64_t Kademlia::begin(Query query, const Place& target) {
  const std::uint64_t id = next_query_++;
  aim(query, target);
  queries_.emplace(id, std::move(query));
  ground_.call_after(kQueryLimit, [this, id] {
    if (const auto it = queries_.find(id); it != queries_.end()) {
      it->second.left.clear();
      it->second.refreshed = true;
      finish(id);
    }
  });
  advance(id);
  return id;
}

// Who is to be asked now; `over` when nobody needs to be any more.
std::optional<Number> Kademlia::next(Query& query, bool& over) const {
  const bool full = query.waiting >= (query.stalled ? kBucketSize : kParallel);
  bool all_answered = true;
  std::size_t answered = 0;
  for (auto& [far, candidate] : query.candidates) {
    switch (candidate.asked) {
      case Asked::waiting:
        if (full) return std::nullopt;
        all_answered = false;
        break;
      case Asked::answered:
        if (all_answered && ++answered >= kBucketSize) {
          over = true;
          return std::nullopt;
        }
        break;
      case Asked::not_yet:
        if (full) return std::nullopt;
        return candidate.peer;
      case Asked::failed:
        break;
    }
  }
  over = query.waiting == 0;
  return std::nullopt;
}

void Kademlia::advance(std::uint64_t id) {
  while (true) {
    const auto it = queries_.find(id);
    if (it == queries_.end()) return;
    Query& query = it->second;
    bool over = query.purpose == Purpose::find && query.found.size() >= query.at_most;
    const auto peer = over ? std::nullopt : next(query, over);
    if (over) return finish(id);
    if (!peer) return;
    ++query.waiting;
    query.candidates.at(distance(query.request->target, ground_.place_of_host(*peer))).asked =
        Asked::waiting;
    ground_.ask(*peer, id, query.request);
  }
}

void Kademlia::answered(std::uint64_t id, Number by, const KadAnswer& answer) {
  const auto it = queries_.find(id);
  if (it == queries_.end()) return;
  Query& query = it->second;
  const Place target = query.request->target;
  const auto candidate = query.candidates.find(distance(target, ground_.place_of_host(by)));
  if (candidate == query.candidates.end() || candidate->second.asked != Asked::waiting) return;
  candidate->second.asked = Asked::answered;
  --query.waiting;
  for (const Number provider : answer.providers) query.found.insert(provider);
  auto range = query.candidates.begin();
  std::advance(range, std::min(query.candidates.size(), kBucketSize) - 1);
  const Place far = range->first;
  bool progress = query.candidates.size() < kBucketSize;
  for (const Number peer : answer.closer) {
    if (peer == own_) continue;
    const Place d = distance(target, ground_.place_of_host(peer));
    if (query.candidates.emplace(d, Candidate{peer}).second && d < far) progress = true;
  }
  query.no_progress = progress ? 0 : query.no_progress + 1;
  query.stalled = !progress && (query.stalled || query.no_progress >= kParallel);
  advance(id);
}

void Kademlia::failed(std::uint64_t id, Number by) {
  const auto it = queries_.find(id);
  if (it == queries_.end()) return;
  Query& query = it->second;
  const auto candidate =
      query.candidates.find(distance(query.request->target, ground_.place_of_host(by)));
  if (candidate == query.candidates.end() || candidate->second.asked != Asked::waiting) return;
  candidate->second.asked = Asked::failed;
  --query.waiting;
  advance(id);
}

void Kademlia::finish(std::uint64_t id) {
  Query& query = queries_.at(id);
  if (query.purpose == Purpose::refresh) {
    if (!std::exchange(query.refreshed, true)) {
      // Then the buckets that are farther than the closest neighbour's.
      std::size_t first = 0;
      while (first < buckets_.size() && buckets_[first].empty()) ++first;
      for (std::size_t i = buckets_.size(); i-- > first + 1;) query.left.push_back(place_in(i));
    }
    if (!query.left.empty()) {
      const Place target = query.left.back();
      query.left.pop_back();
      aim(query, target);
      return advance(id);
    }
    refreshing_ = false;
  }
  const auto ended = queries_.extract(id);
  Query& last = ended.mapped();
  if (last.purpose == Purpose::provide) {
    KadRequest told{What::add_provider, last.request->target, last.key, 0};
    told.bytes = framed_bytes(kHeadBytes + field_bytes(last.key.size()) + kPeerBytes);
    const auto request = std::make_shared<const KadRequest>(std::move(told));
    std::size_t count = 0;
    for (const auto& [far, candidate] : last.candidates) {
      if (candidate.asked != Asked::answered || count++ >= kBucketSize) continue;
      ground_.ask(candidate.peer, 0, request);
    }
  }
  // The peer itself is the closest to its own place.
  if (last.purpose == Purpose::look && !last.candidates.empty()) {
    const auto& [far, closest] = *last.candidates.begin();
    if (far == Place{} && closest.asked == Asked::answered) last.found.insert(closest.peer);
  }
  if (last.done) last.done({last.found.begin(), last.found.end()});
}

// Something that falls into the bucket, as far as a few draws find it.
Place Kademlia::place_in(std::size_t bucket) {
  Place drawn{};
  for (int tries = 0; tries < 16; ++tries) {
    for (auto& part : drawn) part = ground_.kad_random().next_u64();
    if (bucket_of(drawn) == bucket) break;
  }
  return drawn;
}

void Kademlia::refresh() {
  if (refreshing_) return;
  ++soon_;
  refresh_later();
  if (known() == 0) return;
  refreshing_ = true;
  begin({.purpose = Purpose::refresh}, ground_.place_of_host(own_));
}

void Kademlia::refresh_soon() {
  ground_.call_after(kRefreshThrottle, [this, mine = ++soon_] {
    if (mine == soon_) refresh();
  });
}

void Kademlia::refresh_later() {
  ground_.call_after(kRefreshEvery, [this, mine = ++later_] {
    if (mine != later_) return;
    const TimePoint now = ground_.kad_now();
    for (auto& [key, of_key] : providers_)
      std::erase_if(of_key, [&](const auto& p) { return p.second < now; });
    std::erase_if(providers_, [](const auto& p) { return p.second.empty(); });
    if (now - published_ >= kPublishEvery) {
      published_ = now;
      for (const Bytes& key : std::set<Bytes>(provided_)) provide(key, {});
    }
    refresh_later();
    refresh();
  });
}

void Kademlia::provide(Bytes key, Done done) {
  if (provided_.size() < kProvidedKeysMax) provided_.insert(key);
  remember(key, own_);
  const Place target = place_of(key);
  begin({.purpose = Purpose::provide, .key = std::move(key), .done = std::move(done)}, target);
}

void Kademlia::find(Bytes key, std::size_t at_most, Done done) {
  Query query{.purpose = Purpose::find, .at_most = at_most, .done = std::move(done)};
  for (const Number provider : providers_of(key)) query.found.insert(provider);
  const Place target = place_of(key);
  query.key = std::move(key);
  begin(std::move(query), target);
}

void Kademlia::look_for(Number peer, Done done) {
  begin({.purpose = Purpose::look, .done = std::move(done)}, ground_.place_of_host(peer));
}

void Kademlia::remember(const Bytes& key, Number provider) {
  const auto it = providers_.find(key);
  if (it == providers_.end() && providers_.size() >= kProvidedKeysMax) return;
  auto& of_key = it == providers_.end() ? providers_[key] : it->second;
  if (of_key.size() >= kProvidersOfKeyMax && !of_key.contains(provider)) return;
  of_key[provider] = ground_.kad_now() + kRecordFor;
}

std::vector<Number> Kademlia::providers_of(const Bytes& key) {
  std::vector<Number> out;
  const auto it = providers_.find(key);
  if (it == providers_.end()) return out;
  for (const auto& [provider, until] : it->second)
    if (until >= ground_.kad_now()) out.push_back(provider);
  return out;
}

std::optional<KadAnswer> Kademlia::receive(Number from, const KadRequest& request) {
  if (request.what == What::add_provider) {
    remember(request.key, from);
    return std::nullopt;
  }
  KadAnswer answer{closest(request.target, from), {}, 0};
  if (request.what == What::get_providers) answer.providers = providers_of(request.key);
  const std::size_t peers = answer.closer.size() + answer.providers.size();
  answer.bytes = framed_bytes(kHeadBytes + peers * kPeerBytes);
  return answer;
}

std::size_t Kademlia::known() const {
  std::size_t n = 0;
  for (const auto& bucket : buckets_) n += bucket.size();
  return n;
}

std::size_t Kademlia::remembered() const {
  std::size_t n = known() + provided_.size();
  for (const auto& [key, of_key] : providers_) n += of_key.size();
  for (const auto& [id, query] : queries_) n += query.candidates.size();
  return n;
}

}  // namespace tau::p2p::simulated
