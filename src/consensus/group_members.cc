// Group: who belongs to it, and how that changes while it runs.
#include <algorithm>
#include <utility>

#include "consensus/group_core.h"

namespace tau::consensus {
namespace {

std::unexpected<Error> not_now(std::string why) {
  return fail(ErrorCode::failed_precondition, std::move(why));
}

}  // namespace

bool Members::is_voter(const PeerId& peer) const {
  return std::ranges::binary_search(voters, peer);
}
bool Members::has(const PeerId& peer) const {
  return is_voter(peer) || std::ranges::binary_search(replicas, peer);
}

Members Group::members() const {
  Members out;
  if (!core_ || !core_->initialized) return out;
  const raft& r = core_->raft;
  out.committed = r.configuration_uncommitted_index == 0 && r.last_applied >= r.configuration_index;
  out.index = std::max(r.configuration_index, r.configuration_uncommitted_index);
  for (unsigned i = 0; i < r.configuration.n; ++i) {
    const raft_server& server = r.configuration.servers[i];
    (server.role == RAFT_VOTER ? out.voters : out.replicas).emplace_back(server.address);
  }
  std::ranges::sort(out.voters);
  std::ranges::sort(out.replicas);
  return out;
}

bool Group::is_ready(const PeerId& peer) const {
  if (!is_leader()) return false;
  const raft& r = core_->raft;
  const unsigned i = core_->index_of(peer);
  if (i >= r.configuration.n) return false;
  if (peer == groups_.host().id()) return true;
  constexpr std::uint64_t kLagMax = 256;  // a batch of proposals
  return r.configuration.servers[i].role != RAFT_SPARE &&
         r.leader_state.progress[i].match_index + kLagMax > r.last_stored &&
         r.leader_state.progress[i].match_index > 0;
}

// While a group sleeps its members say nothing in it; then what counts is whether their nodes do.
bool Group::is_live(const PeerId& peer) const {
  if (!core_ || !core_->running) return false;
  if (peer == groups_.host().id()) return true;
  const Duration within = 3 * groups_.options().election;
  if (asleep_ || loop_.now() - core_->awake_since < within) return !groups_.is_silent(peer, within);
  const auto it = core_->heard.find(peer);
  return it != core_->heard.end() && loop_.now() - it->second <= within;
}

Task<Status> Group::add_replica(PeerId peer) {
  const Members now = members();
  if (now.is_voter(peer)) co_return Status{};
  if (core_ && core_->find(peer) == nullptr) CO_TRY_STATUS(change(peer, Step::add));
  co_return co_await change(peer, Step::standby);
}
Task<Status> Group::promote(PeerId peer) { co_return co_await change(std::move(peer), Step::vote); }
Task<Status> Group::demote(PeerId peer) {
  co_return co_await change(std::move(peer), Step::standby);
}
Task<Status> Group::remove(PeerId peer) {
  co_return co_await change(std::move(peer), Step::remove);
}
Task<Status> Group::hand_over() { co_return co_await change(groups_.host().id(), Step::transfer); }

Task<Status> Group::change(PeerId peer, Step step) {
  CO_TRY_SYNC_STATUS(usable());
  if (!is_leader()) {
    const auto other = leader();
    if (!other) co_return fail(no_leader());
    co_return fail(ErrorCode::unavailable, "the members of group " + options_.name +
                                               " are changed at its leader, " + other->str());
  }
  if (core_->change) co_return not_now("another change of members is under way; try again");
  wake();
  core_->last_work = loop_.now();
  const auto mine = core_->change = std::make_shared<Change>(loop_);
  mine->core = core_.get();
  ++under_way_;
  auto done = co_await change_here(std::move(peer), step);
  if (core_->change == mine) core_->change.reset();
  if (mine->with_raft) core_->old_changes.push_back(mine);
  core_->last_work = loop_.now();
  --under_way_;
  changed_signal_.notify_all();
  co_return done;
}

// A change before an entry of the leader's own term is committed could give two leaders majorities
// that do not meet (the known gap of changing one member at a time).
Task<Status> Group::ready_to_change() {
  Core& core = *core_;
  const std::uint64_t term = core.raft.current_term;
  const auto leads = [&] { return is_leader() && core.raft.current_term == term; };
  while (leads() && core.settled_term != term) CO_TRY_STATUS(changed_signal_.wait());
  if (!leads()) co_return fail(no_leader());
  if (core.raft.configuration_uncommitted_index != 0 || core.raft.leader_state.promotee_id != 0)
    co_return not_now("an earlier change of members is not committed yet; try again");
  co_return Status{};
}

Status Group::survives(const std::vector<PeerId>& voters_after) const {
  const auto live = static_cast<std::size_t>(
      std::ranges::count_if(voters_after, [this](const PeerId& v) { return is_live(v); }));
  if (live > voters_after.size() / 2) return {};
  return not_now("group " + options_.name + " would have " + std::to_string(voters_after.size()) +
                 " voters of which " + std::to_string(live) +
                 " are live, which is no majority: bring one back first");
}

Task<Status> Group::change_here(PeerId peer, Step step) {
  Core& core = *core_;
  const auto mine = core.change;
  const PeerId& self = groups_.host().id();
  CO_TRY_STATUS(
      runtime::with_deadline(3 * groups_.options().election, "a majority", ready_to_change()));
  const Members now = members();
  const raft_server* server = core.find(peer);
  std::vector<PeerId> voters = now.voters;
  if (step == Step::add || step == Step::transfer) {
    if (step == Step::add && server) co_return Status{};
  } else if (!server) {
    if (step == Step::remove) co_return Status{};
    co_return fail(ErrorCode::not_found, peer.str() + " is not a member of group " + options_.name);
  } else if (step == Step::vote) {
    if (server->role == RAFT_VOTER) co_return Status{};
    if (!is_ready(peer))
      co_return not_now(peer.str() + " has not caught up with group " + options_.name);
    voters.push_back(peer);
  } else {
    if (step == Step::standby && server->role == RAFT_STANDBY) co_return Status{};
    std::erase(voters, peer);
    if (voters.empty()) co_return not_now("the last voter of group " + options_.name + " stays");
  }
  if (voters != now.voters) CO_TRY_SYNC_STATUS(survives(voters));
  const bool hands_over = step == Step::transfer || (peer == self && step != Step::vote);
  if (hands_over && now.voters.size() < 2)
    co_return not_now("group " + options_.name + " has no other voter to lead it");

  const int rv = submit_change(*mine, peer, hands_over ? Step::transfer : step);
  if (rv == RAFT_CANTCHANGE) co_return not_now("another change of members is under way; try again");
  if (rv != 0) co_return fail(raft_error(rv, core.raft.errmsg));
  // libraft gives up on a member that does not catch up, and a leader without a majority steps
  // down: this ends.
  CO_TRY_STATUS(mine->done);
  if (step == Step::transfer) co_return Status{};
  if (hands_over)
    co_return fail(ErrorCode::unavailable, "this member led group " + options_.name +
                                               " and has handed over; ask the new leader");
  if (step == Step::remove) {
    core.heard.erase(peer);
    Frame frame;
    frame.removed = Removed{core.raft.configuration_index};
    groups_.send(peer, options_.name, std::move(frame));
  }
  co_return Status{};
}

int Group::submit_change(Change& change, const PeerId& peer, Step step) {
  Core& core = *core_;
  change.with_raft = true;
  change.change.data = change.transfer.data = &change;
  const auto done = [](raft_change* request, int status) {
    auto& mine = *static_cast<Change*>(request->data);
    mine.with_raft = false;
    if (status == 0) {
      mine.done.set({});
    } else {
      mine.done.set(fail(raft_error(status, "the write failed")));
    }
  };
  int rv = 0;
  switch (step) {
    case Step::add:
      rv = raft_add(&core.raft, &change.change, number_of(peer), peer.str().c_str(), done);
      break;
    case Step::standby:
      rv = raft_assign(&core.raft, &change.change, number_of(peer), RAFT_STANDBY, done);
      break;
    case Step::vote:
      rv = raft_assign(&core.raft, &change.change, number_of(peer), RAFT_VOTER, done);
      break;
    case Step::remove:
      rv = raft_remove(&core.raft, &change.change, number_of(peer), done);
      break;
    case Step::transfer:
      rv = raft_transfer(&core.raft, &change.transfer, 0, [](RaftTransfer* request) {
        auto& mine = *static_cast<Change*>(request->data);
        mine.with_raft = false;
        Group& group = mine.core->group;
        if (group.is_leader()) {
          mine.done.set(not_now("no other voter of group " + group.options_.name +
                                " took over the lead; try again"));
        } else {
          mine.done.set({});
        }
      });
      break;
  }
  if (rv != 0) change.with_raft = false;
  return rv;
}

void Group::fail_change() {
  Core& core = *core_;
  if (core.change && !core.change->transfer.cb)
    core.change->done.set(fail(raft_error(RAFT_LEADERSHIPLOST, "")));
}

// A removed voter does not hear that it was, and asks for votes for ever. True: it is told, and not
// listened to.
bool Group::hear_stranger(const PeerId& from, const Frame& frame) {
  const Members now = members();
  if (!now.committed || now.index == 0) return false;
  if (frame.hello && frame.hello->servers_index >= now.index) return false;
  Frame reply;
  reply.removed = Removed{now.index};
  groups_.send(from, options_.name, std::move(reply));
  return true;
}

void Group::hear_removed(const PeerId& from, const Removed& removed) {
  const Members now = members();
  if (now.index == 0 || removed.servers_index <= now.index || removed_) return;
  log_.warning("this node was removed from group " + options_.name + ", says " + from.str());
  removed_ = true;
  caught_up_ = false;
  asleep_ = true;  // its clock stands: it asks for no more votes
  core_->io.stop_clock();
  fail_waiting();
  changed_signal_.notify_all();
  core_->disk.put_removed([this](const Status&) {
    if (on_removed_) loop_.post([handler = on_removed_] { handler(); });
  });
}

// Voters without a leader ask for votes; a replica asks only whether it still belongs.
void Group::say_hello() {
  Core& core = *core_;
  const Duration patience = 5 * groups_.options().election;
  const auto word = std::max(core.awake_since, std::max(core.word.value_or(TimePoint{}),
                                                        core.next_word.value_or(TimePoint{})));
  if (is_leader() || loop_.now() - word < patience || loop_.now() - core.last_hello < patience)
    return;
  core.last_hello = loop_.now();
  const Members now = members();
  for (const auto* list : {&now.voters, &now.replicas}) {
    for (const PeerId& peer : *list) {
      if (peer == groups_.host().id()) continue;
      Frame frame;
      frame.hello = Hello{now.index};
      groups_.send(peer, options_.name, std::move(frame));
    }
  }
}

}  // namespace tau::consensus
