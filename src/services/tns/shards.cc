#include "services/tns/shards.h"

#include <algorithm>
#include <utility>

#include "crypto/ed25519.h"

namespace tau::tns {
namespace {

constexpr std::size_t kAskedMax = 3;          // nodes for one question: a bound on its time
constexpr std::size_t kLookedAtMax = 16;      // nodes that are asked what they hold
constexpr std::size_t kMembersKnownMax = 20;  // of a shard; many more than it has
constexpr Duration kLookAgain = std::chrono::seconds(1);
constexpr std::string_view kCountKey = "shards";
constexpr std::string_view kOnePrefix = "raft/";  // of networks that were founded with one group

struct Count {
  std::uint64_t count = 0;
  static constexpr auto fields() { return std::tuple{codec::field("count", &Count::count)}; }
};

std::uint64_t first_word(const crypto::Sha256& digest) {
  std::uint64_t n = 0;
  for (std::size_t i = 0; i < 8; ++i) n = n << 8 | digest[i];
  return n;
}

std::string prefix_of(std::size_t shard, std::size_t count) {
  return count == 1 ? std::string(kOnePrefix) : "shard/" + std::to_string(shard) + "/";
}
// The count is in the name: nodes that disagree on it never speak of the same group.
std::string group_of(std::size_t shard, std::size_t count) {
  return count == 1 ? "tns" : "shard-" + std::to_string(shard) + "-of-" + std::to_string(count);
}

}  // namespace

std::size_t shard_of(std::string_view key, std::size_t count) {
  CHECK(count > 0);
  return static_cast<std::size_t>(first_word(crypto::sha256(as_bytes(key))) % count);
}

std::uint64_t rank_of(std::size_t shard, const PeerId& peer) {
  return first_word(crypto::sha256(as_bytes(std::to_string(shard) + "/" + peer.str())));
}

std::vector<PeerId> founders_of(std::size_t shard, std::vector<PeerId> founders,
                                std::size_t voters) {
  std::ranges::sort(founders, {}, [&](const PeerId& p) { return std::pair(rank_of(shard, p), p); });
  if (founders.size() > voters) founders.resize(voters);
  return founders;
}

Shards::Shards(runtime::Loop& loop, p2p::Host& host, command::Caller& caller, store::Kv& kv,
               Random& random, Logger log, Options options)
    : loop_(loop),
      host_(host),
      caller_(caller),
      kv_(kv),
      log_(std::move(log)),
      options_(std::move(options)),
      groups_(loop, host, random, log_, {.name = "tns", .role = std::string(kRole)}) {
  if (options_.founders.empty()) options_.founders.push_back(host.id());
}
Shards::~Shards() { CHECK(!tasks_); }

Task<Result<std::size_t>> Shards::read_count() {
  CO_TRY(const auto bytes, kv_.get(std::string(kCountKey)));
  if (bytes) {
    const auto kept = codec::from_cbor<Count>(*bytes);
    if (!kept || kept->count == 0 || kept->count > kShardsMax)
      co_return fail(ErrorCode::data_loss,
                     "the number of shards on the disk cannot be read: restore "
                     "this node's data, or replace it by a new tns node");
    co_return static_cast<std::size_t>(kept->count);
  }
  // Founded before there were shards: one group, which goes on as the only one.
  CO_TRY(const auto old, kv_.scan(std::string(kOnePrefix), "", 1));
  if (!old.empty()) co_return 1;
  const bool founds = std::ranges::find(options_.founders, host_.id()) != options_.founders.end();
  co_return founds ? options_.count : 0;
}

Task<Status> Shards::start() {
  if (tasks_) co_return Status{};
  if (options_.count == 0 || options_.count > kShardsMax)
    co_return fail(ErrorCode::invalid_argument,
                   "a network has 1 to " + std::to_string(kShardsMax) + " shards");
  CO_TRY_SYNC_STATUS(groups_.start());
  tasks_ = std::make_unique<runtime::TaskGroup>(loop_);
  Status started = co_await begin();
  if (!started) co_await stop();
  co_return started;
}

Task<Status> Shards::begin() {
  CO_TRY(const std::size_t count, read_count());
  if (count > 0) co_return co_await open(count);
  tasks_->spawn(join());
  co_return Status{};
}

Task<Status> Shards::open(std::size_t count) {
  CO_TRY(const auto kept, kv_.get(std::string(kCountKey)));
  if (!kept) {
    store::Batch batch;
    batch.put(std::string(kCountKey), codec::to_cbor(Count{count}));
    CO_TRY_STATUS(kv_.write(std::move(batch), store::Durability::synced));
  }
  std::vector<Part> parts;
  for (std::size_t i = 0; i < count; ++i) {
    Shard::Options options;
    options.group = group_of(i, count);
    options.keeper = options_.keeper;
    options.limits = Names::Limits::of(count);
    if (count > 1) {
      options.founders = founders_of(i, options_.founders, options.keeper.policy.voters);
      options.keeper.policy.replicas = kReplicas;
      options.keeper.rank = [i](const PeerId& peer) { return rank_of(i, peer); };
    } else {
      options.founders = options_.founders;
    }
    Part part{store::with_prefix(kv_, prefix_of(i, count)), nullptr};
    part.shard = std::make_unique<Shard>(groups_, *part.kv, log_, std::move(options));
    parts.push_back(std::move(part));
  }
  shards_ = std::move(parts);
  Status first_failure;
  runtime::TaskGroup starting(loop_);
  for (std::size_t i = 0; i < count; ++i) starting.spawn(start_part(i, first_failure));
  co_await starting.join();
  co_return first_failure;
}

Task<void> Shards::start_part(std::size_t shard, Status& first_failure) {
  Status started = co_await shards_[shard].shard->start();
  if (!started && first_failure) first_failure = std::move(started);
}

// A node that joins learns from the others how many shards there are.
Task<void> Shards::join() {
  while (shards_.empty()) {
    for (const PeerId& peer : caller_.peers_with_role(kRole)) {
      if (peer == host_.id()) continue;
      const auto told = co_await caller_.call<GetShards>(peer, kShardsProtocol, {});
      if (!told || told->count == 0 || told->count > kShardsMax) continue;
      const Status opened = co_await open(static_cast<std::size_t>(told->count));
      if (!opened) log_.warning("the shards do not start: " + opened.error().to_string());
      co_return;
    }
    if (!co_await runtime::sleep_for(kLookAgain)) co_return;
  }
}

Task<void> Shards::stop() {
  if (tasks_) co_await tasks_->stop();
  tasks_.reset();
  runtime::TaskGroup stopping(loop_);
  for (auto& part : shards_) stopping.spawn(part.shard->stop());
  co_await stopping.join();
  shards_.clear();
  known_.clear();
  co_await groups_.stop();
}

const Shard* Shards::held(std::size_t shard) const {
  CHECK(shard < shards_.size());
  const Shard& part = *shards_[shard].shard;
  return part.group().members().index > 0 && !part.group().removed() ? &part : nullptr;
}

GetShards::Response Shards::held() const {
  GetShards::Response out{count(), {}};
  for (std::size_t i = 0; i < count(); ++i) {
    const Shard* part = held(i);
    if (!part) continue;
    auto members = part->group().members();
    out.held.push_back(
        {i, std::move(members.voters), std::move(members.replicas), part->group().leader()});
  }
  return out;
}

bool Shards::decides() const {
  bool any = false;
  for (std::size_t i = 0; i < count(); ++i) {
    const Shard* part = held(i);
    if (!part) continue;
    if (!part->group().leader()) return false;
    any = true;
  }
  return any;
}

std::size_t Shards::voters() const {
  std::size_t fewest = 0;
  for (std::size_t i = 0; i < count(); ++i) {
    const Shard* part = held(i);
    if (!part) continue;
    const std::size_t n = part->group().members().voters.size();
    fewest = fewest == 0 ? n : std::min(fewest, n);
  }
  return fewest;
}

bool Shards::is_passing(const Error& error) {
  const ErrorCode code = error.code();
  return code == ErrorCode::unavailable || code == ErrorCode::deadline_exceeded ||
         code == ErrorCode::data_loss || code == ErrorCode::unimplemented;
}

Error Shards::no_holder(std::size_t shard) const {
  if (count() == 0)
    return Error(ErrorCode::unavailable,
                 "this tns node has just joined and has met no other that knows the registry");
  return Error(ErrorCode::unavailable, "no tns node that holds shard " + std::to_string(shard) +
                                           " of the registry is connected");
}

// Those that are known to hold it; then the others, in the order in which they should.
std::vector<PeerId> Shards::holders(std::size_t shard) const {
  std::vector<PeerId> peers = caller_.peers_with_role(kRole);
  const auto it = known_.find(shard);
  if (it != known_.end()) {
    for (const PeerId& member : it->second)
      if (!std::ranges::binary_search(peers, member) && host_.reachable(member))
        peers.insert(std::ranges::lower_bound(peers, member), member);
  }
  std::erase(peers, host_.id());
  const auto rank = [&](const PeerId& peer) {
    const bool known = it != known_.end() && std::ranges::binary_search(it->second, peer);
    return std::tuple(!known, rank_of(shard, peer), peer);
  };
  std::ranges::sort(peers, {}, rank);
  if (peers.size() > kAskedMax) peers.resize(kAskedMax);
  return peers;
}

// Asks the others what they hold. False: it was done a moment ago.
Task<bool> Shards::look_around() {
  if (looked_ && loop_.now() - *looked_ < kLookAgain) co_return false;
  looked_ = loop_.now();
  std::size_t asked = 0;
  for (const PeerId& peer : caller_.peers_with_role(kRole)) {
    if (peer == host_.id() || ++asked > kLookedAtMax) continue;
    const auto told = co_await caller_.call<GetShards>(peer, kShardsProtocol, {});
    if (!told || told->count != count()) continue;
    for (const auto& held : told->held) {
      if (held.shard >= count()) continue;
      std::vector<PeerId> members = held.voters;
      members.insert(members.end(), held.replicas.begin(), held.replicas.end());
      std::ranges::sort(members);
      if (members.size() <= kMembersKnownMax)
        known_[static_cast<std::size_t>(held.shard)] = std::move(members);
    }
  }
  co_return true;
}

Task<Result<Bytes>> Shards::propose(std::size_t shard, Bytes command) {
  if (count() == 0) co_return fail(no_holder(shard));
  if (held(shard)) co_return co_await shards_[shard].shard->propose(std::move(command));
  CO_TRY(auto response,
         ask<ProposeTo>(shard, kShardsProtocol, ProposeTo::Request{shard, std::move(command)}));
  co_return std::move(response.answer);
}

}  // namespace tau::tns
