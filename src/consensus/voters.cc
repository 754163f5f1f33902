#include "consensus/voters.h"

#include <algorithm>
#include <array>
#include <utility>

namespace tau::consensus {
namespace {

// Pairs that share a host, an operator, a region; and the ranks.
using Cost = std::array<std::size_t, 4>;

bool has(const std::vector<const Candidate*>& set, const Candidate* candidate) {
  return std::ranges::find(set, candidate) != set.end();
}

Cost cost_of(const std::vector<const Candidate*>& set) {
  Cost cost{};
  for (std::size_t i = 0; i < set.size(); ++i) {
    cost[3] += static_cast<std::size_t>(set[i]->rank);
    for (std::size_t j = i + 1; j < set.size(); ++j) {
      cost[0] += !set[i]->host.empty() && set[i]->host == set[j]->host;
      cost[1] += set[i]->operated_by == set[j]->operated_by;
      cost[2] += set[i]->region == set[j]->region;
    }
  }
  return cost;
}

const Candidate* find(const std::vector<Candidate>& candidates, const PeerId& peer) {
  const auto it = std::ranges::find(candidates, peer, &Candidate::peer);
  return it == candidates.end() ? nullptr : &*it;
}

// Ranks as places in a row, which can be added up; all 0 where nobody is ranked.
std::vector<Candidate> in_order(std::vector<Candidate> candidates) {
  std::ranges::sort(candidates, {}, [](const Candidate& c) { return std::pair(c.rank, c.peer); });
  const bool ranked = !candidates.empty() && candidates.back().rank > 0;
  for (std::size_t i = 0; i < candidates.size(); ++i) candidates[i].rank = ranked ? i : 0;
  return candidates;
}

// The lowest cost; of equals one that is ready, then the first by its id.
void add_best(std::vector<const Candidate*>& set, const std::vector<const Candidate*>& from) {
  const Candidate* best = nullptr;
  std::pair<Cost, bool> best_rank;
  for (const Candidate* candidate : from) {
    if (has(set, candidate)) continue;
    auto with = set;
    with.push_back(candidate);
    const std::pair rank{cost_of(with), !candidate->ready};
    if (best && rank >= best_rank) continue;
    best = candidate;
    best_rank = rank;
  }
  if (best) set.push_back(best);
}

void drop_worst(std::vector<const Candidate*>& set) {
  std::size_t worst = 0;
  std::pair<bool, Cost> worst_rank;
  for (std::size_t i = 0; i < set.size(); ++i) {
    auto without = set;
    without.erase(without.begin() + static_cast<std::ptrdiff_t>(i));
    const std::pair rank{set[i]->live, cost_of(without)};  // the dead go first
    if (i > 0 && rank > worst_rank) continue;
    worst = i;
    worst_rank = rank;
  }
  set.erase(set.begin() + static_cast<std::ptrdiff_t>(worst));
}

// One exchange that shares less; false: there is none.
bool improve(std::vector<const Candidate*>& set, const std::vector<const Candidate*>& from) {
  const Cost now = cost_of(set);
  auto best = set;
  for (std::size_t i = 0; i < set.size(); ++i) {
    for (const Candidate* candidate : from) {
      if (!candidate->live || has(set, candidate)) continue;
      auto with = set;
      with[i] = candidate;
      if (cost_of(with) < cost_of(best)) best = with;
    }
  }
  if (cost_of(best) >= now) return false;
  set = std::move(best);
  return true;
}

// Up to `replicas` follow; where nodes are ranked, those that rank lowest. `ordered`: as in_order.
std::optional<MemberStep> next_replica(const Members& members,
                                       const std::vector<Candidate>& ordered,
                                       const std::vector<PeerId>& target,
                                       const VoterPolicy& policy) {
  using Kind = MemberStep::Kind;
  std::vector<const Candidate*> following;
  const Candidate* next = nullptr;
  for (const Candidate& candidate : ordered) {
    const bool stays =
        members.is_voter(candidate.peer) || std::ranges::binary_search(target, candidate.peer);
    if (stays) continue;
    if (members.has(candidate.peer)) {
      following.push_back(&candidate);
    } else if (candidate.live && !next) {
      next = &candidate;
    }
  }
  if (following.size() > policy.replicas) return MemberStep{Kind::remove, following.back()->peer};
  if (!next || policy.replicas == 0) return std::nullopt;
  const bool better = following.size() == policy.replicas && next->rank < following.back()->rank;
  if (following.size() < policy.replicas || better)
    return MemberStep{Kind::add_replica, next->peer};
  return std::nullopt;
}

}  // namespace

std::vector<PeerId> choose_voters(const std::vector<Candidate>& candidates,
                                  const std::vector<PeerId>& current, const VoterPolicy& policy) {
  const std::vector<Candidate> ordered = in_order(candidates);
  std::vector<const Candidate*> eligible, set, lost;
  for (const Candidate& candidate : ordered) {
    const bool votes = std::ranges::binary_search(current, candidate.peer);
    if (candidate.given_up && votes) lost.push_back(&candidate);
    if (candidate.given_up || !(candidate.live || votes)) continue;
    eligible.push_back(&candidate);
    if (votes) set.push_back(&candidate);
  }
  std::size_t want = std::min(policy.voters, eligible.size() + lost.size());
  if (want % 2 == 0 && want > 0 && !(want == 2 && current.size() == 2)) --want;
  while (set.size() > want) drop_worst(set);
  while (set.size() < want) {
    const std::size_t before = set.size();
    add_best(set, eligible);
    if (set.size() == before) break;
  }
  for (const Candidate* candidate : lost)
    if (set.size() < want) set.push_back(candidate);
  // Each exchange lowers the cost, so this ends.
  while (improve(set, eligible)) {
  }
  std::vector<PeerId> chosen;
  for (const Candidate* candidate : set) chosen.push_back(candidate->peer);
  std::ranges::sort(chosen);
  return chosen;
}

std::optional<MemberStep> next_step(const Members& members,
                                    const std::vector<Candidate>& candidates,
                                    const VoterPolicy& policy) {
  using Kind = MemberStep::Kind;
  if (!members.committed) return std::nullopt;
  const auto target = choose_voters(candidates, members.voters, policy);
  if (target.empty()) return std::nullopt;
  const auto live = [&](const PeerId& peer) {
    const Candidate* c = find(candidates, peer);
    return c && c->live;
  };
  const auto survives = [&](std::vector<PeerId> voters) {
    return static_cast<std::size_t>(std::ranges::count_if(voters, live)) > voters.size() / 2;
  };
  const auto without = [&](const PeerId& peer) {
    auto voters = members.voters;
    std::erase(voters, peer);
    return voters;
  };
  const auto wanted = [&](const PeerId& peer) { return std::ranges::binary_search(target, peer); };

  // What is to vote first follows; then one vote more, and one less.
  for (const PeerId& peer : target)
    if (!members.has(peer)) return MemberStep{Kind::add_replica, peer};
  if (members.voters.size() <= target.size()) {
    for (const PeerId& peer : target) {
      const Candidate* c = find(candidates, peer);
      if (members.is_voter(peer) || !c->live || !c->ready) continue;
      auto voters = members.voters;
      voters.push_back(peer);
      if (survives(voters)) return MemberStep{Kind::promote, peer};
    }
  }
  if (members.voters.size() > target.size()) {
    std::vector<PeerId> going;  // the dead before the living
    for (const PeerId& peer : members.voters)
      if (!wanted(peer)) going.push_back(peer);
    std::ranges::sort(going, {}, [&](const PeerId& peer) { return std::pair(live(peer), peer); });
    for (const PeerId& peer : going)
      if (survives(without(peer)))
        return MemberStep{live(peer) ? Kind::demote : Kind::remove, peer};
  }
  for (const PeerId& peer : members.replicas) {
    const Candidate* c = find(candidates, peer);
    if (c && c->given_up) return MemberStep{Kind::remove, peer};
  }
  return next_replica(members, in_order(candidates), target, policy);
}

}  // namespace tau::consensus
