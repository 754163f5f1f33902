#include "services/hoarder/service.h"

#include <algorithm>

namespace tau::hoarder {
namespace {

using namespace std::chrono_literals;

// Each may have 16 blocks on their way: some tens of megabytes together.
constexpr std::size_t kHoldsAtOnce = 8;
// What does not fit is announced with the next round.
constexpr std::size_t kFreshMax = 1024;
// Provider records live 48 hours in stock nodes, 24 in older ones; half of that survives a missed
// round.
constexpr Duration kAnnounceEvery = 11h;
constexpr std::size_t kPage = 100;

Status check_root(const codec::Cid& root) {
  if (!root.valid())
    return fail(ErrorCode::invalid_argument, "the root of what is to be held has to be a CID");
  return {};
}

Task<Result<codec::Cid>> next_of(runtime::Channel<codec::Cid>& channel) {
  co_return co_await channel.receive();
}

}  // namespace

Service::Service(runtime::Loop& loop, command::Router& router, content::Exchange& exchange,
                 store::Kv& kv, Logger log)
    : loop_(loop),
      router_(router),
      exchange_(exchange),
      store_(kv),
      log_(std::move(log)),
      holds_(loop, kHoldsAtOnce),
      fresh_(loop, kFreshMax),
      tasks_(loop) {}

Task<Status> Service::start() {
  running_ = true;
  router_.serve(kProtocol, *this, Commands{});
  tasks_.spawn(announce());
  co_return Status{};
}

Task<void> Service::stop() {
  if (!running_) co_return;
  running_ = false;
  co_await router_.unserve(kProtocol);
  co_await tasks_.stop();
}

Task<Result<Held>> Service::handle(command::Peer peer, Hold::Request request) {
  CO_TRY_SYNC_STATUS(check_root(request.root));
  if (request.from.size() > kHintsMax)
    co_return fail(ErrorCode::invalid_argument,
                   "at most " + std::to_string(kHintsMax) + " peers can be named as holders");
  CO_TRY(const auto known, store_.get(request.root));
  if (known) co_return *known;
  CO_TRY(const auto permit, holds_.acquire());

  content::Fetch how;
  how.hints.push_back(peer.id);
  how.hints.insert(how.hints.end(), request.from.begin(), request.from.end());
  how.deadline = Hold::kDeadline;
  how.durability = store::Durability::synced;
  CO_TRY(const auto size,
         exchange_.get_dag(request.root, std::move(how),
                           {.blocks_max = kDagBlocksMax, .bytes_max = kDagBytesMax}));
  // The blocks are on the disk: only now the promise.
  const Held held{request.root, size.blocks, size.bytes, loop_.wall_unix_ms()};
  CO_TRY_STATUS(store_.put(held));
  log_.info("holds " + held.root.to_string() + ": " + std::to_string(held.blocks) + " blocks, " +
            std::to_string(held.bytes) + " bytes");
  (void)fresh_.try_send(held.root);
  co_return held;
}

Task<Result<command::Empty>> Service::handle(command::Peer, Release::Request request) {
  CO_TRY_SYNC_STATUS(check_root(request.root));
  CO_TRY_STATUS(store_.erase(request.root));
  co_return command::Empty{};
}

Task<Result<Holds::Response>> Service::handle(command::Peer, Holds::Request request) {
  CO_TRY_SYNC_STATUS(check_root(request.root));
  CO_TRY(auto held, store_.get(request.root));
  co_return Holds::Response{std::move(held)};
}

Task<Result<ListHeld::Response>> Service::handle(command::Peer, ListHeld::Request request) {
  CO_TRY(auto held, store_.list(request.after, std::min(request.limit, kListMax)));
  co_return ListHeld::Response{std::move(held)};
}

// One root at a time, so that a hoarder of thousands does not flood the network when it starts.
Task<void> Service::announce() {
  for (;;) {
    auto status = co_await announce_all();
    if (!status && status.error().code() == ErrorCode::cancelled) co_return;
    if (!status) log_.warning("announcing what is held: " + status.error().to_string());
    const TimePoint again = loop_.now() + kAnnounceEvery;
    while (loop_.now() < again) {
      const auto root = co_await runtime::with_deadline(again - loop_.now(),
                                                        "a round of announcing", next_of(fresh_));
      if (root) {
        co_await announce_one(*root);
      } else if (root.error().code() != ErrorCode::deadline_exceeded) {
        co_return;
      }
    }
  }
}

Task<Status> Service::announce_all() {
  std::optional<codec::Cid> after;
  for (;;) {
    CO_TRY(const auto page, store_.list(after, kPage));
    if (page.empty()) co_return Status{};
    for (const auto& held : page) co_await announce_one(held.root);
    after = page.back().root;
    CO_TRY_STATUS(runtime::yield());
  }
}

// Best effort: who looks for the content asks connected hoarders as well.
Task<void> Service::announce_one(codec::Cid root) {
  const auto status = co_await exchange_.provide(root);
  if (!status && status.error().code() != ErrorCode::cancelled)
    log_.debug("announcing " + root.to_string() + ": " + status.error().to_string());
}

}  // namespace tau::hoarder
