#include "content/exchange.h"

#include <deque>
#include <set>

#include "content/dag.h"
#include "runtime/channel.h"

namespace tau::content {
namespace {

using namespace std::chrono_literals;
using codec::Cid;
using store::Durability;

// Different blocks that are fetched at once, over all callers: 2 GiB if all were of the largest
// size and arrived together; a node that serves has a few tens.
constexpr std::size_t kFlightsMax = 1024;
// Of one DAG: keeps a link of 100 ms full with blocks of 256 KiB at 300 Mbit/s.
constexpr std::size_t kVisitsAtOnce = 16;
constexpr Duration kProvideLimit = 30s;

Task<Status> change(runtime::Signal& signal) { co_return co_await signal.wait(); }

class FetchingSource final : public BlockSource {
 public:
  FetchingSource(Exchange& exchange, Fetch how) : exchange_(exchange), how_(std::move(how)) {}
  Task<Result<Bytes>> block(Cid cid) override { co_return co_await exchange_.get(cid, how_); }

 private:
  Exchange& exchange_;
  Fetch how_;
};

}  // namespace

struct Exchange::Flight {
  std::shared_ptr<Session> session;
  std::vector<runtime::OneShot<Bytes>> waiters;
  runtime::Scope* scope = nullptr;  // while it flies
};

struct Exchange::Walk {
  Walk(runtime::Loop& loop, DagLimits l, std::shared_ptr<Session> s)
      : limits(l), session(std::move(s)), tasks(loop), changed(loop) {}
  DagLimits limits;
  std::shared_ptr<Session> session;
  runtime::TaskGroup tasks;
  runtime::Signal changed;
  std::deque<Cid> todo;
  std::set<Cid> seen;
  DagSize size;
  Status status;
};

Exchange::Exchange(runtime::Loop& loop, p2p::Host& host, store::BlockStore& blocks, Logger log)
    : loop_(loop),
      host_(host),
      blocks_(blocks),
      bitswap_(loop, host, blocks, std::move(log)),
      tasks_(loop) {}

void Exchange::start() { bitswap_.start(); }

Task<void> Exchange::stop() {
  co_await tasks_.stop();
  co_await bitswap_.stop();
}

Exchange::Counters Exchange::counters() const {
  return {local_hits_, fetches_, bitswap_.counters()};
}

std::unique_ptr<BlockSource> Exchange::source(Fetch how) {
  return std::make_unique<FetchingSource>(*this, std::move(how));
}

Task<Status> Exchange::put(std::vector<store::Block> blocks, Durability durability) {
  co_return co_await blocks_.put(std::move(blocks), durability);
}

Task<Status> Exchange::provide(Cid cid) {
  co_return co_await runtime::with_deadline(kProvideLimit, "announcing " + cid.to_string(),
                                            host_.provide(cid.multihash()));
}

std::shared_ptr<Session> Exchange::session_for(const Fetch& how) {
  auto session = std::make_shared<Session>(loop_, host_, bitswap_);
  session->add(how.hints);
  return session;
}

Task<Result<Bytes>> Exchange::get(Cid cid, Fetch how) {
  co_return co_await runtime::with_deadline(how.deadline, "fetching block " + cid.to_string(),
                                            get_in(cid, session_for(how), how.durability));
}

Task<Result<Bytes>> Exchange::get_in(Cid cid, std::shared_ptr<Session> session,
                                     Durability durability) {
  if (!cid.valid()) co_return fail(ErrorCode::invalid_argument, "a block has to have a CID");
  auto local = co_await blocks_.get(cid);
  if (!local && local.error().code() != ErrorCode::data_loss)
    co_return fail(std::move(local).error());
  Bytes data;
  if (local && *local) {
    ++local_hits_;
    if (durability == Durability::buffered) co_return **std::move(local);
    data = **std::move(local);
  } else {
    CO_TRY(data, join_flight(cid, std::move(session)));
    if (durability == Durability::buffered) co_return data;
  }
  CO_TRY_STATUS(blocks_.put({{cid, data}}, Durability::synced));
  co_return data;
}

Task<Result<Bytes>> Exchange::join_flight(Cid cid, std::shared_ptr<Session> session) {
  if (const auto it = flights_.find(cid.digest()); it != flights_.end()) {
    auto theirs = co_await wait_for(cid, it->second, join(*it->second));
    const bool done = theirs || (theirs.error().code() != ErrorCode::not_found &&
                                 theirs.error().code() != ErrorCode::unavailable);
    if (done) co_return theirs;
    // This caller may know peers that the other one did not.
    if (const auto next = flights_.find(cid.digest()); next != flights_.end())
      co_return co_await wait_for(cid, next->second, join(*next->second));
  }
  if (flights_.size() >= kFlightsMax)
    co_return fail(ErrorCode::resource_exhausted, "too many blocks are being fetched; try again");
  const auto flight = std::make_shared<Flight>();
  flight->session = std::move(session);
  flights_.emplace(cid.digest(), flight);
  const auto mine = join(*flight);
  tasks_.spawn(fly(cid, flight));
  co_return co_await wait_for(cid, flight, mine);
}

runtime::OneShot<Bytes> Exchange::join(Flight& flight) {
  const runtime::OneShot<Bytes> answer(loop_);
  flight.waiters.push_back(answer);
  return answer;
}

Task<Result<Bytes>> Exchange::wait_for(Cid cid, std::shared_ptr<Flight> flight,
                                       runtime::OneShot<Bytes> answer) {
  auto result = co_await answer;
  // The last one that gives up ends the fetch.
  std::erase_if(flight->waiters, [](const auto& waiter) { return waiter.is_set(); });
  if (flight->waiters.empty() && flight->scope) {
    land(cid, flight);
    flight->scope->cancel();
  }
  co_return result;
}

// Whoever wants the block from now on starts anew.
void Exchange::land(const Cid& cid, const std::shared_ptr<Flight>& flight) {
  const auto it = flights_.find(cid.digest());
  if (it != flights_.end() && it->second == flight) flights_.erase(it);
}

Task<void> Exchange::fly(Cid cid, std::shared_ptr<Flight> flight) {
  runtime::Scope scope(loop_, co_await runtime::current_scope());
  flight->scope = &scope;
  ++fetches_;
  auto data = co_await flight->session->get(cid).in(scope);
  if (data) {
    // Not in the scope: what has been fetched is kept even if nobody waits for it any more.
    const auto stored = co_await blocks_.put({{cid, *data}}, Durability::buffered);
    if (!stored) data = fail(stored.error());
  }
  flight->scope = nullptr;
  land(cid, flight);
  for (auto& waiter : std::exchange(flight->waiters, {})) waiter.set(data);
}

Task<Result<DagSize>> Exchange::get_dag(Cid root, Fetch how, DagLimits limits) {
  const Duration deadline = how.deadline;
  co_return co_await runtime::with_deadline(deadline, "fetching all below " + root.to_string(),
                                            walk(root, std::move(how), limits));
}

Task<Result<DagSize>> Exchange::walk(Cid root, Fetch how, DagLimits limits) {
  const auto walk = std::make_shared<Walk>(loop_, limits, session_for(how));
  walk->todo.push_back(root);
  walk->seen.insert(root);
  while (walk->status) {
    while (!walk->todo.empty() && walk->tasks.running() < kVisitsAtOnce) {
      const Cid next = walk->todo.front();
      walk->todo.pop_front();
      walk->tasks.spawn(visit(walk, next));
    }
    if (walk->tasks.running() == 0) {
      if (walk->todo.empty()) break;
      continue;
    }
    const auto changed = co_await change(walk->changed);
    if (!changed) walk->status = changed;
  }
  co_await walk->tasks.stop();
  if (!walk->status) co_return fail(walk->status.error());
  // The last write syncs all that were buffered before it.
  if (how.durability == Durability::synced) {
    CO_TRY_STATUS(get_in(root, walk->session, Durability::synced));
  }
  co_return walk->size;
}

Task<void> Exchange::visit(std::shared_ptr<Walk> walk, Cid cid) {
  const auto stop = [&](Error error) {
    if (walk->status) walk->status = fail(std::move(error));
    walk->changed.notify_all();
  };
  // What is here already is walked without waiting: let others have the loop in between.
  if (auto turn = co_await runtime::yield(); !turn) co_return stop(std::move(turn).error());
  auto data = co_await get_in(cid, walk->session, Durability::buffered);
  if (!data) co_return stop(std::move(data).error());
  auto& size = walk->size;
  size.blocks += 1;
  size.bytes += data->size();
  auto links = links_of(cid, *data);
  if (!links) co_return stop(std::move(links).error());
  for (const auto& link : *links)
    if (walk->seen.insert(link).second) walk->todo.push_back(link);
  if (walk->seen.size() > walk->limits.blocks_max || size.bytes > walk->limits.bytes_max)
    co_return stop(Error(ErrorCode::resource_exhausted,
                         "content has more than " + std::to_string(walk->limits.blocks_max) +
                             " blocks or " + std::to_string(walk->limits.bytes_max) + " bytes"));
  walk->changed.notify_all();
}

}  // namespace tau::content
