#include "content/session.h"

#include <algorithm>

#include "runtime/channel.h"

namespace tau::content {
namespace {

using namespace std::chrono_literals;

// More than hold any one thing; the others of a large network are found by provider records.
constexpr std::size_t kMembersMax = 64;
// Of one block: duplicates cost traffic, a dead peer costs time.
constexpr std::size_t kAskedAtOnce = 3;
constexpr Duration kPatience = 500ms;  // then the next peer is asked as well
// A small network answers in milliseconds; then the connected peers are asked without it.
constexpr Duration kProviderLookupLimit = 1s;
constexpr std::size_t kProvidersMax = 8;
constexpr Duration kAnswerLimit = 20s;  // a block of 2 MiB at 1 Mbit/s

template <class T>
Task<Result<T>> next_of(runtime::Channel<T>& channel) {
  co_return co_await channel.receive();
}

}  // namespace

// Of one get. Shared with the asks, which end after it when they are cancelled.
struct Session::Race {
  Race(runtime::Loop& loop, codec::Cid wanted) : cid(wanted), answers(loop, kMembersMax) {}
  codec::Cid cid;
  runtime::Channel<Result<Bytes>> answers;
};

void Session::add(const std::vector<PeerId>& peers) {
  for (const auto& peer : peers) {
    if (members_.size() >= kMembersMax) return;
    if (peer == host_.id()) continue;
    if (std::ranges::any_of(members_, [&](const auto& m) { return m->peer == peer; })) continue;
    members_.push_back(std::make_shared<Member>(Member{peer}));
  }
}

std::size_t Session::dropped() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(members_, [](const auto& m) { return m->lied; }));
}

std::shared_ptr<Session::Member> Session::best(const std::set<PeerId>& asked) const {
  std::shared_ptr<Member> found;
  for (const auto& member : members_) {
    if (member->lied || asked.contains(member->peer) || !host_.certificate_of(member->peer))
      continue;
    if (!found ||
        std::pair(member->misses, member->in_flight) < std::pair(found->misses, found->in_flight))
      found = member;
  }
  return found;
}

Task<void> Session::ask(std::shared_ptr<Race> race, std::shared_ptr<Member> member) {
  ++member->in_flight;
  auto answer = co_await bitswap_.want(member->peer, race->cid, kAnswerLimit);
  --member->in_flight;
  if (answer) {
    member->misses = 0;
  } else if (answer.error().code() == ErrorCode::data_loss) {
    member->lied = true;
  } else if (answer.error().code() != ErrorCode::cancelled) {
    ++member->misses;
  }
  (void)race->answers.try_send(std::move(answer));
}

Task<void> Session::add_providers(codec::Cid cid) {
  const auto providers =
      co_await runtime::with_deadline(kProviderLookupLimit, "looking for providers",
                                      host_.find_providers(cid.multihash(), kProvidersMax));
  if (!providers) co_return;
  // Those that this node is not connected to, where the network is too large for that.
  runtime::TaskGroup reaching(loop_);
  for (const PeerId& peer : *providers)
    if (!host_.certificate_of(peer)) reaching.spawn(reach(peer));
  co_await reaching.join();
  add(*providers);
}

Task<void> Session::reach(PeerId peer) {
  (void)co_await runtime::with_deadline(kProviderLookupLimit, "reaching a provider",
                                        host_.reach(std::move(peer)));
}

Task<Result<Bytes>> Session::get(codec::Cid cid) {
  const auto race = std::make_shared<Race>(loop_, cid);
  runtime::TaskGroup asks(loop_);
  std::set<PeerId> asked;
  std::size_t waiting = 0;
  enum class Next { providers, everybody, nothing } next = Next::providers;
  Result<Bytes> result =
      fail(ErrorCode::unavailable, "no peer to ask for block " + cid.to_string() + " is connected");
  while (!result) {
    const auto member = waiting < kAskedAtOnce ? best(asked) : std::shared_ptr<Member>();
    if (member) {
      asked.insert(member->peer);
      ++waiting;
      asks.spawn(ask(race, member));
    } else if (waiting < kAskedAtOnce && next == Next::providers) {
      next = Next::everybody;
      co_await add_providers(cid);
      continue;
    } else if (waiting < kAskedAtOnce && next == Next::everybody) {
      next = Next::nothing;
      add(host_.peers());
      continue;
    } else if (waiting == 0) {
      break;
    }
    auto answer = co_await runtime::with_deadline(kPatience, "waiting", next_of(race->answers));
    if (!answer && answer.error().code() == ErrorCode::deadline_exceeded) continue;
    if (!answer) {
      result = fail(std::move(answer).error());
      break;
    }
    --waiting;
    if (*answer) result = std::move(*answer);
  }
  co_await asks.stop();
  if (!result && result.error().code() == ErrorCode::unavailable && !asked.empty())
    co_return fail(ErrorCode::not_found, "none of the " + std::to_string(asked.size()) +
                                             " connected peers that were asked has block " +
                                             cid.to_string());
  co_return result;
}

}  // namespace tau::content
