#include "consensus/keeper.h"

#include <algorithm>

namespace tau::consensus {

Keeper::Keeper(Groups& groups, Group& group, Options options)
    : groups_(groups), group_(group), options_(std::move(options)) {}

void Keeper::start() {
  if (tasks_) return;
  tasks_ = std::make_unique<runtime::TaskGroup>(groups_.loop());
  tasks_->spawn(run());
}

Task<void> Keeper::stop() {
  if (!tasks_) co_return;
  co_await tasks_->stop();
  tasks_.reset();
}

Task<void> Keeper::run() {
  while (co_await runtime::sleep_for(options_.pace)) {
    if (!group_.is_leader()) {  // what it counted meanwhile would be hearsay
      away_since_.clear();
      continue;
    }
    const auto done = co_await step();
    if (!done) groups_.log().debug("members of " + group_.name() + ": " + done.error().to_string());
  }
}

std::vector<Candidate> Keeper::candidates() {
  p2p::Host& host = groups_.host();
  const TimePoint now = groups_.loop().now();
  const Members members = group_.members();
  std::vector<PeerId> peers = host.peers();
  peers.push_back(host.id());
  for (const auto* list : {&members.voters, &members.replicas})
    peers.insert(peers.end(), list->begin(), list->end());
  std::ranges::sort(peers);
  const auto doubles = std::ranges::unique(peers);
  peers.erase(doubles.begin(), doubles.end());
  std::erase_if(seen_, [&](const auto& s) { return !std::ranges::binary_search(peers, s.first); });
  std::erase_if(away_since_,
                [&](const auto& a) { return !std::ranges::binary_search(peers, a.first); });

  std::vector<Candidate> out;
  for (const PeerId& peer : peers) {
    const auto certificate = host.certificate_of(peer);
    const bool certified = certificate && certificate->has_role(groups_.options().role);
    const bool member = members.has(peer);
    if (!certified && !member) continue;
    if (certified) seen_[peer] = *certificate;
    Candidate c;
    c.peer = peer;
    if (const auto it = seen_.find(peer); it != seen_.end()) {
      c.host = it->second.host;
      c.operated_by = it->second.operated_by;
      c.region = it->second.region;
    }
    if (options_.rank) c.rank = options_.rank(peer);
    c.live = certified && (!member || group_.is_live(peer));
    c.ready = member && group_.is_ready(peer);
    if (c.live) {
      away_since_.erase(peer);
    } else {
      c.given_up = now - away_since_.try_emplace(peer, now).first->second >= options_.grace;
    }
    out.push_back(std::move(c));
  }
  return out;
}

Task<Status> Keeper::step() {
  const auto next = next_step(group_.members(), candidates(), options_.policy);
  if (!next) co_return Status{};
  groups_.log().info("group " + group_.name() + ": a change of members, " + next->peer.str());
  switch (next->kind) {
    case MemberStep::Kind::add_replica:
      co_return co_await group_.add_replica(next->peer);
    case MemberStep::Kind::promote:
      co_return co_await group_.promote(next->peer);
    case MemberStep::Kind::demote:
      co_return co_await group_.demote(next->peer);
    case MemberStep::Kind::remove:
      co_return co_await group_.remove(next->peer);
  }
  co_return Status{};
}

}  // namespace tau::consensus
