#include "crdt/map.h"

#include <algorithm>

namespace tau::crdt {
namespace {

using namespace std::chrono_literals;

// Writes that wait for the disk: a second of them on a fast one.
constexpr std::size_t kQueueMax = 65'536;
constexpr std::size_t kQueueBytesMax = 16u << 20;
// Of one delta: with its signature, certificate and parents it stays below kDeltaSizeMax.
constexpr std::size_t kGroupKeysMax = kOperationsMax;
constexpr std::size_t kGroupBytesMax = 768u << 10;

template <class T>
Task<Result<T>> outcome(runtime::OneShot<T> shot) {
  co_return co_await shot;
}

bool is_name(const std::string& name) {
  static constexpr std::string_view kLetters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
  return !name.empty() && name.size() <= 64 &&
         name.find_first_not_of(kLetters) == std::string::npos;
}

std::size_t size_of(const store::Batch& batch) {
  std::size_t n = 0;
  for (const auto& o : batch.operations) n += o.key.size() + (o.value ? o.value->size() : 0) + 16;
  return n;
}

}  // namespace

struct Map::Waiting {
  store::Batch batch;
  std::size_t bytes = 0;
  runtime::OneShot<void> done;
};

struct Map::Listener {
  std::string prefix;
  Handler handler;
};

Map::Map(runtime::Loop& loop, p2p::Host& host, content::Exchange& exchange, store::Kv& kv,
         const p2p::NodeIdentity& identity, const p2p::Admission& admission, Random& random,
         MapOptions options, Logger log)
    : loop_(loop),
      host_(host),
      identity_(identity),
      admission_(admission),
      random_(random),
      options_(std::move(options)),
      log_(std::move(log)),
      topic_(Sync::protocol_of(options_.name)),
      reader_(admission, options_.name, options_.writers),
      state_(loop, kv, exchange.blocks(), random, identity.id(), options_.history),
      sync_({.loop = loop,
             .host = host,
             .exchange = exchange,
             .state = state_,
             .reader = reader_,
             .map = options_.name,
             .role = options_.writers,
             .snapshot_bytes_max = options_.snapshot_bytes_max,
             .apply = [this](std::vector<Arrived> a) { return apply(std::move(a)); },
             .on_changes = [this](const std::vector<Change>& changes) { tell(changes); }}),
      walk_({.loop = loop,
             .exchange = exchange,
             .state = state_,
             .reader = reader_,
             .apply = [this](std::vector<Arrived> a) { return apply(std::move(a)); },
             .ask = [this](const PeerId& peer) { pull(peer); }}),
      writes_(loop),
      say_(loop),
      pulls_(loop),
      self_(std::make_shared<Map*>(nullptr)),
      tasks_(loop) {}

Map::~Map() { CHECK(!running_); }

Task<Status> Map::start() {
  CHECK(!running_);
  if (!is_name(options_.name) || options_.writers.empty() || options_.history.deltas_max < 8)
    co_return fail(ErrorCode::invalid_argument,
                   "a replicated map has a name of 1 to 64 letters, digits, '-', '_' or '.', a "
                   "role that may write, and a history of at least 8 deltas");
  CO_TRY_STATUS(state_.load());
  CO_TRY_STATUS(sync_.start());
  CO_TRY_STATUS(walk_.start());
  running_ = true;
  *self_ = this;
  host_.subscribe(topic_, [self = self_](const PeerId& from, BytesView data) {
    if (*self) (*self)->hear(from, data);
  });
  host_.on_peer([self = self_](const PeerId& peer, bool connected) {
    if (*self && connected) (*self)->pull(peer);
  });
  for (const auto& peer : host_.peers()) pull(peer);
  news_ = !state_.heads().empty();
  tasks_.spawn(commit_all());
  tasks_.spawn(announce_all());
  tasks_.spawn(pull_all());
  co_return Status{};
}

Task<void> Map::stop() {
  if (std::exchange(running_, false)) *self_ = nullptr;
  co_await tasks_.stop();
  co_await walk_.stop();
  co_await sync_.stop();
  for (auto& waiting : std::exchange(queue_, {}))
    waiting->done.set(fail(ErrorCode::unavailable, "map " + options_.name + " was stopped"));
}

Map::Counters Map::counters() const {
  Counters out = counters_;
  out.sync = sync_.counters();
  out.walk = walk_.counters();
  return out;
}

bool Map::may_write() {
  // From memory, as a rule: it is asked for each write.
  const std::int64_t now = loop_.wall_unix_ms();
  const auto own = reader_.certificate(identity_.certificate(), now);
  if (!own) return false;
  const auto left = admission_.judge(*own, now);
  return left && left->has_role(options_.writers);
}

Status Map::check(const store::Batch& batch) {
  if (!running_) return fail(ErrorCode::unavailable, "map " + options_.name + " is not running");
  if (!may_write())
    return fail(ErrorCode::permission_denied, "this node may not write to map " + options_.name +
                                                  ": its certificate lacks the role " +
                                                  options_.writers +
                                                  ", has expired or was revoked");
  if (batch.operations.size() > kBatchKeysMax || size_of(batch) > kBatchBytesMax)
    return fail(ErrorCode::invalid_argument, "a write to map " + options_.name + " has at most " +
                                                 std::to_string(kBatchKeysMax) + " keys and " +
                                                 std::to_string(kBatchBytesMax) +
                                                 " bytes: split it");
  for (const auto& operation : batch.operations) {
    if (operation.key.empty() || operation.key.size() > kKeySizeMax)
      return fail(ErrorCode::invalid_argument,
                  "a key of map " + options_.name + " has 1 to " + std::to_string(kKeySizeMax) +
                      " bytes; this one has " + std::to_string(operation.key.size()));
    if (operation.value && operation.value->size() > kValueSizeMax)
      return fail(ErrorCode::invalid_argument,
                  "a value of map " + options_.name + " has at most " +
                      std::to_string(kValueSizeMax) +
                      " bytes: keep larger content as blocks, and its CID here");
  }
  return {};
}

Task<Status> Map::write(store::Batch batch) {
  CO_TRY_SYNC_STATUS(check(batch));
  if (batch.operations.empty()) co_return Status{};
  const std::size_t bytes = size_of(batch);
  if (queue_.size() >= kQueueMax || queue_bytes_ + bytes > kQueueBytesMax)
    co_return fail(ErrorCode::resource_exhausted,
                   "too many writes to map " + options_.name + " wait for the disk; try again");
  const auto waiting =
      std::make_shared<Waiting>(Waiting{std::move(batch), bytes, runtime::OneShot<void>(loop_)});
  queue_bytes_ += bytes;
  queue_.push_back(waiting);
  writes_.notify_all();
  co_return co_await waiting->done;
}

Task<Status> Map::put(std::string key, Bytes value) {
  store::Batch batch;
  batch.put(std::move(key), std::move(value));
  co_return co_await write(std::move(batch));
}

Task<Status> Map::erase(std::string key) {
  store::Batch batch;
  batch.erase(std::move(key));
  co_return co_await write(std::move(batch));
}

Task<void> Map::commit_all() {
  for (;;) {
    if (queue_.empty()) {
      if (!co_await writes_.wait()) co_return;
      continue;
    }
    const auto locked = co_await state_.lock.acquire();
    if (!locked) co_return;
    std::vector<std::shared_ptr<Waiting>> group;
    std::size_t keys = 0, bytes = 0;
    while (!queue_.empty()) {
      const auto& next = queue_.front();
      keys += next->batch.operations.size();
      bytes += next->bytes;
      if (!group.empty() && (keys > kGroupKeysMax || bytes > kGroupBytesMax)) break;
      queue_bytes_ -= next->bytes;
      group.push_back(next);
      queue_.pop_front();
    }
    const auto status = co_await commit(group);
    if (status) counters_.writes += group.size();
    for (auto& waiting : group) waiting->done.set(status);
  }
}

// One delta for all of them, with the lock held.
Task<Status> Map::commit(std::vector<std::shared_ptr<Waiting>> group) {
  CO_TRY_STATUS(state_.fresh());
  std::map<std::string, std::optional<Bytes>> last;
  for (auto& waiting : group)
    for (auto& operation : waiting->batch.operations)
      last.insert_or_assign(std::move(operation.key), std::move(operation.value));
  State::Transaction t(state_);
  Delta delta;
  for (auto& [key, value] : last) {
    CO_TRY(const Entry* entry, t.entry(key));
    Operation operation{key, std::move(value), {}};
    for (const auto& version : entry->versions()) operation.removes.push_back(version.dot);
    // Nobody has what is not there: nothing to say to others.
    if (operation.value || !operation.removes.empty())
      delta.operations.push_back(std::move(operation));
  }
  if (delta.operations.empty()) co_return Status{};
  delta.map = options_.name;
  delta.peer = identity_.id();
  delta.incarnation = state_.incarnation();
  delta.number = state_.context().of(state_.own()) + 1;
  delta.height = std::min(t.height() + 1, kNumberMax);
  delta.time_unix_ms = loop_.wall_unix_ms();
  delta.previous = state_.last_own();
  std::vector<Head> heads = t.heads();
  std::ranges::sort(heads, highest_first);
  if (heads.size() > kParentsMax) heads.resize(kParentsMax);
  for (auto& head : heads) delta.parents.push_back(std::move(head.link));
  CO_TRY_SYNC_STATUS(reader_.certificate(identity_.certificate(), delta.time_unix_ms));
  CO_TRY_SYNC(SealedDelta sealed, seal(identity_, std::move(delta)));
  CO_TRY_STATUS(t.apply(sealed, false));
  CO_TRY(const auto changes, state_.commit(std::move(t), store::Durability::synced));
  ++counters_.deltas;
  unannounced_.push_back(std::move(sealed));
  if (unannounced_.size() > kAnnouncedBlocksMax) unannounced_.pop_front();
  news_ = true;
  say_.notify_all();
  tell(changes);
  co_return Status{};
}

Task<Status> Map::apply(std::vector<Arrived> arrived) {
  CO_TRY(const auto locked, state_.lock.acquire());
  CO_TRY_STATUS(state_.fresh());
  State::Transaction t(state_);
  std::size_t n = 0;
  for (const auto& item : arrived) {
    n += !state_.known(item.delta.link());
    CO_TRY_STATUS(t.apply(item.delta, item.stored));
    if (item.pending) t.put_row("p/" + item.delta.cid.to_string(), std::nullopt);
  }
  if (t.empty()) co_return Status{};
  // Its writer has it on its disk; here it may be lost with a power cut, and is fetched again.
  CO_TRY(const auto changes, state_.commit(std::move(t), store::Durability::buffered));
  counters_.received += n;
  tell(changes);
  co_return Status{};
}

void Map::tell(const std::vector<Change>& changes) {
  std::erase_if(listeners_, [](const auto& listener) { return listener.expired(); });
  const auto listeners = listeners_;
  for (const auto& change : changes)
    for (const auto& weak : listeners)
      if (const auto listener = weak.lock(); listener && change.key.starts_with(listener->prefix))
        listener->handler(change);
}

Map::Subscription Map::subscribe(std::string prefix, Handler handler) {
  auto listener = std::make_shared<Listener>(Listener{std::move(prefix), std::move(handler)});
  listeners_.push_back(listener);
  return listener;
}

Task<Result<std::optional<Bytes>>> Map::get(std::string key) {
  CO_TRY(const Entry entry, state_.entry(std::move(key)));
  const Version* winner = entry.winner();
  if (!winner) co_return std::optional<Bytes>();
  co_return std::optional<Bytes>(winner->value);
}

Task<Result<Census>> Map::census() const {
  constexpr std::size_t kPage = 256;
  Census out;
  std::string after;
  for (;;) {
    CO_TRY(const auto page, state_.entries(after, kPage));
    for (const auto& [key, entry] : page) {
      Bytes text(out.digest.begin(), out.digest.end());
      text.insert(text.end(), key.begin(), key.end());
      text.push_back(0);
      const Bytes versions = encode(entry);
      text.insert(text.end(), versions.begin(), versions.end());
      out.digest = crypto::sha256(text);
      ++out.keys;
    }
    if (page.size() < kPage) co_return out;
    after = page.back().first;
    CO_TRY_STATUS(runtime::yield());
  }
}

Task<Result<std::vector<KeyValue>>> Map::list(std::string prefix, std::string after,
                                              std::size_t limit) {
  co_return co_await state_.list(std::move(prefix), std::move(after), limit);
}

}  // namespace tau::crdt
