#include "crdt/sync.h"

#include <algorithm>

namespace tau::crdt {
namespace {

using namespace std::chrono_literals;

constexpr Duration kFrameLimit = 10s;  // 1 MiB at 1 Mbit/s
// A snapshot may have to be built first, from all that is kept.
constexpr Duration kAnswerLimit = 30s;
constexpr Duration kFetchLimit = 20s;
constexpr Duration kSnapshotLimit = 30min;  // 1 GiB at 5 Mbit/s
constexpr std::size_t kFetchedAtOnce = 16;
constexpr std::size_t kTakenAtOnce = 64;  // deltas of one transaction, at most 64 MiB
// Each round brings kListedMax deltas or a snapshot; who needs more is being led on.
constexpr int kRoundsMax = 1000;
// Between two snapshots at least; and of the time at most every tenth part.
constexpr Duration kBuildPause = 5s;
constexpr int kBuildShare = 10;
constexpr std::size_t kStreamsMax = 32;  // callers at a time; the next are told to come back

Task<void> nothing() { co_return; }

}  // namespace

struct Sync::Fetching {
  std::vector<Link> links;
  PeerId peer;
  std::vector<std::optional<SealedDelta>> found;
  std::size_t next = 0;
  Status status;
};

Sync::Sync(Parts parts)
    : parts_(std::move(parts)),
      pulling_(parts_.loop, 1),
      serving_(parts_.loop, 1),
      self_(std::make_shared<Sync*>(nullptr)),
      tasks_(parts_.loop) {}

Task<Status> Sync::start() {
  for (;;) {
    CO_TRY(const auto rows, parts_.state.kv().scan("o/", "", 256));
    if (rows.empty()) break;
    std::vector<codec::Cid> blocks;
    for (const auto& row : rows) {
      CO_TRY_SYNC(const auto cid, codec::Cid::parse(row.key.substr(2)));
      blocks.push_back(cid);
    }
    CO_TRY_STATUS(erase_snapshot(parts_.state, std::move(blocks)));
  }
  CO_TRY(const auto begun, parts_.state.kv().get("s"));
  if (begun) {
    CO_TRY_SYNC(const auto root, codec::Cid::from_bytes(*begun));
    CO_TRY_STATUS(merge(root));
  }
  running_ = true;
  *self_ = this;
  parts_.host.handle(protocol_of(parts_.map), [self = self_](std::unique_ptr<p2p::Stream> stream) {
    if (Sync* sync = *self; sync && sync->streams_ < kStreamsMax)
      sync->tasks_.spawn(sync->serve(std::move(stream)));
    return nothing();
  });
  co_return Status{};
}

Task<void> Sync::stop() {
  if (std::exchange(running_, false)) {
    *self_ = nullptr;
    parts_.host.handle(protocol_of(parts_.map), nullptr);
  }
  co_await tasks_.stop();
}

Task<void> Sync::serve(std::unique_ptr<p2p::Stream> stream) {
  ++streams_;
  ++counters_.served;
  auto frame = co_await runtime::with_deadline(kFrameLimit, "a request", read_frame(*stream));
  auto request = frame ? codec::from_cbor<SyncRequest>(*frame) : fail(std::move(frame).error());
  if (!request && request.error().code() == ErrorCode::invalid_argument)
    parts_.host.conduct().blame(stream->remote(), p2p::Misdeed::malformed,
                                "a request to catch up with " + parts_.map);
  if (request) {
    auto answered = co_await answer(std::move(*request));
    if (answered) {
      const auto sent = co_await runtime::with_deadline(
          kFrameLimit, "an answer", write_frame(*stream, codec::to_cbor(*answered)));
      if (sent) (void)co_await stream->close_write();
    } else {
      stream->reset();
    }
  }
  --streams_;
}

Task<Result<SyncAnswer>> Sync::answer(SyncRequest request) {
  CO_TRY_SYNC(const Context theirs, context_from(request.context));
  SyncAnswer out;
  const bool forced = request.snapshot.value_or(false);
  if (!forced && theirs.covers(parts_.state.folded())) {
    for (const auto& link : parts_.state.history_beyond(theirs, kListedMax))
      out.deltas.push_back(wire_link(link));
  } else {
    const Context covering = forced ? parts_.state.context() : parts_.state.folded();
    CO_TRY(out.snapshot, offer(covering));
  }
  co_return out;
}

// One that was built before serves as long as it covers what is asked for: what came after it is
// still in the history. Building holds up writes, so who asks often gets the old one for a while.
Task<Result<codec::Cid>> Sync::offer(const Context& covering) {
  CO_TRY(const auto turn, serving_.acquire());
  const TimePoint before = parts_.loop.now();
  if (offered_ && (offered_->context.covers(covering) || before < rebuild_at_))
    co_return offered_->root;
  CO_TRY(const auto locked, parts_.state.lock.acquire());
  if (offered_) CO_TRY_STATUS(erase_snapshot(parts_.state, offered_->blocks));
  offered_.reset();
  CO_TRY(offered_, build_snapshot(parts_.state, parts_.map));
  ++counters_.snapshots_built;
  const TimePoint now = parts_.loop.now();
  rebuild_at_ = now + std::max<Duration>(kBuildPause, kBuildShare * (now - before));
  co_return offered_->root;
}

Task<Result<SyncAnswer>> Sync::ask(PeerId peer, bool snapshot) {
  CO_TRY(const auto stream, parts_.host.open(peer, protocol_of(parts_.map)));
  SyncRequest request{.context = wire_context(parts_.state.context()), .snapshot = std::nullopt};
  if (snapshot) request.snapshot = true;
  CO_TRY_STATUS(write_frame(*stream, codec::to_cbor(request)));
  CO_TRY(const Bytes frame, read_frame(*stream));
  co_return codec::from_cbor<SyncAnswer>(frame);
}

Task<Status> Sync::pull(PeerId peer) {
  CO_TRY(const auto turn, pulling_.acquire());
  const auto certificate = parts_.host.certificate_of(peer);
  if (!certificate) co_return fail(ErrorCode::unavailable, peer.str() + " is not connected");
  if (!certificate->has_role(parts_.role))
    co_return fail(ErrorCode::permission_denied, peer.str() + " may not write here");
  ++counters_.pulls;
  bool snapshot = false;
  for (int round = 0; round < kRoundsMax; ++round) {
    CO_TRY(const SyncAnswer answered,
           runtime::with_deadline(kAnswerLimit, "asking " + peer.str() + " what is new",
                                  ask(peer, std::exchange(snapshot, false))));
    if (answered.snapshot) {
      CO_TRY_STATUS(take_snapshot(*answered.snapshot, peer));
      continue;
    }
    CO_TRY_SYNC(auto links, links_from(answered.deltas, kListedMax));
    std::erase_if(links, [&](const Link& link) { return parts_.state.known(link); });
    if (links.empty()) co_return Status{};
    for (std::size_t i = 0; i < links.size(); i += kTakenAtOnce) {
      const auto from = links.begin() + static_cast<std::ptrdiff_t>(i);
      const auto n = static_cast<std::ptrdiff_t>(std::min(kTakenAtOnce, links.size() - i));
      const auto taken = co_await take(std::vector<Link>(from, from + n), peer);
      snapshot = !taken && taken.error().code() == ErrorCode::not_found;
      if (snapshot) break;
      CO_TRY_SYNC_STATUS(taken);
    }
  }
  co_return fail(ErrorCode::invalid_argument, peer.str() + " never comes to an end");
}

Task<Status> Sync::take(std::vector<Link> links, PeerId peer) {
  const auto fetching = std::make_shared<Fetching>();
  fetching->links = std::move(links);
  fetching->peer = std::move(peer);
  fetching->found.resize(fetching->links.size());
  runtime::TaskGroup workers(parts_.loop);
  for (std::size_t i = 0; i < kFetchedAtOnce; ++i) workers.spawn(fetch(fetching));
  co_await workers.join();
  if (!fetching->status) co_return fetching->status;
  std::vector<Arrived> arrived;
  for (auto& found : fetching->found)
    if (found) arrived.push_back({.delta = std::move(*found), .stored = true});
  counters_.deltas_pulled += arrived.size();
  co_return co_await parts_.apply(std::move(arrived));
}

Task<void> Sync::fetch(std::shared_ptr<Fetching> fetching) {
  while (fetching->next < fetching->links.size() && fetching->status) {
    const std::size_t i = fetching->next++;
    const codec::Cid cid = fetching->links[i].cid;
    // Gossip may have brought it meanwhile.
    if (parts_.state.known(fetching->links[i])) continue;
    auto block =
        co_await parts_.exchange.get(cid, {.hints = {fetching->peer}, .deadline = kFetchLimit});
    auto opened = block ? parts_.reader.open(cid, std::move(*block)) : fail(block.error());
    if (!opened) {
      if (block) (void)co_await parts_.state.blocks().erase(cid);
      fetching->status = fail(std::move(opened).error());
      co_return;
    }
    fetching->found[i] = std::move(*opened);
  }
}

Task<Status> Sync::take_snapshot(codec::Cid root, PeerId peer) {
  content::DagLimits limits;
  limits.bytes_max = parts_.snapshot_bytes_max;
  CO_TRY_STATUS(parts_.exchange.get_dag(
      root, {.hints = {peer}, .deadline = kSnapshotLimit, .durability = store::Durability::synced},
      limits));
  const auto checked = co_await check_snapshot(parts_.state, root, parts_.map);
  if (!checked) {
    (void)co_await parts_.state.blocks().erase(root);
    co_return fail(checked.error());
  }
  CO_TRY_SYNC(const Context theirs, context_from(checked->context));
  if (parts_.state.context().covers(theirs) && parts_.state.folded().covers(theirs))
    co_return fail(ErrorCode::invalid_argument, peer.str() + " offers what is known already");
  store::Batch batch;
  batch.put("s", root.to_bytes());
  CO_TRY_STATUS(parts_.state.kv().write(std::move(batch), store::Durability::synced));
  co_return co_await merge(root);
}

Task<Status> Sync::merge(codec::Cid root) {
  CO_TRY(const auto checked, check_snapshot(parts_.state, root, parts_.map));
  {
    CO_TRY(const auto locked, parts_.state.lock.acquire());
    CO_TRY_STATUS(parts_.state.fresh());
    CO_TRY_STATUS(merge_snapshot(parts_.state, checked, parts_.on_changes));
    ++counters_.snapshots_merged;
  }
  // Chunks may be those that are offered here, too; then a new one is built when one is needed.
  if (offered_) CO_TRY_STATUS(erase_snapshot(parts_.state, offered_->blocks));
  offered_.reset();
  for (const auto& chunk : checked.chunks) CO_TRY_STATUS(parts_.state.blocks().erase(chunk));
  co_return co_await parts_.state.blocks().erase(root);
}

}  // namespace tau::crdt
