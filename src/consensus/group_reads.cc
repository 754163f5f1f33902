// Group: what members ask each other beside Raft's own messages: proposals for the leader, how far
// a reader must have applied, whether a leader still leads; and sleep.
#include <algorithm>
#include <chrono>
#include <utility>

#include "consensus/group_core.h"

namespace tau::consensus {
namespace {

using namespace std::chrono_literals;

constexpr Duration kAskMax = 8s;
constexpr std::size_t kAnsweringMax = 1024;  // at once, each a proposal or a read of another member
constexpr unsigned kPipeline = 1;            // libraft's name for "follows without gaps"

}  // namespace

void Group::hear(const PeerId& from, Frame frame) {
  if (!core_ || !core_->running || removed_) return;
  Core& core = *core_;
  if (frame.removed) return hear_removed(from, *frame.removed);
  if (frame.sleep) return hear_sleep(from, *frame.sleep);
  const bool member = core.find(from) != nullptr;
  if (!member && (frame.hello || frame.vote_request) && hear_stranger(from, frame)) return;
  if (member) core.heard[from] = loop_.now();
  // The answer to the last heartbeat before the sleep.
  if (asleep_ && frame.append_answer && frame.append_answer->rejected == 0 &&
      frame.append_answer->term == core.raft.current_term)
    return;
  wake();
  if (frame.hello) return;  // the leader's next heartbeat is the answer
  if (frame.ask) {
    if (!member || core.tasks.running() > kAnsweringMax) {
      log_.debug("group " + options_.name + ": no answer for " + from.str());
      return;
    }
    core.tasks.spawn(answer(from, *std::move(frame.ask)));
    return;
  }
  if (frame.answer) {
    const auto it = core.asked.find(frame.answer->id);
    if (it == core.asked.end() || it->second.of != from) return;
    it->second.answer.set(*std::move(frame.answer));
    core.asked.erase(it);
    return;
  }
  if (frame.confirm) {
    Frame reply;
    reply.confirmed = Confirmed{core.raft.current_term, frame.confirm->round};
    groups_.send(from, options_.name, std::move(reply));
    return;
  }
  if (frame.confirmed) return count_confirmed(from, *frame.confirmed);
  if (frame.append_answer && frame.append_answer->term == core.raft.current_term)
    core.followed[from] = loop_.now();
  const std::optional<Append> head =
      frame.append ? std::optional(Append{frame.append->term, 0, 0, frame.append->commit, {}})
                   : std::nullopt;
  if (frame.append && !frame.append->entries.empty()) core.last_work = loop_.now();
  core.io.receive(number_of(from), from, std::move(frame));
  if (!core_ || !core.running || !head) return;
  if (head->term != core.raft.current_term || leader() != from) return;
  if (core.next_word && last_applied() >= core.next_word_commit)
    core.word = std::exchange(core.next_word, std::nullopt);
  if (!core.next_word) {
    core.next_word = loop_.now();
    core.next_word_commit = head->commit;
  }
}

Task<Result<Answer>> Group::ask(PeerId leader, std::optional<Bytes> command) {
  Core& core = *core_;
  const std::uint64_t id = core.next_ask++;
  const runtime::OneShot<Answer> answered(loop_);
  core.asked.emplace(id, Core::Asked{leader, answered});
  Frame frame;
  frame.ask = Ask{id, std::move(command)};
  Result<Answer> result =
      fail(ErrorCode::unavailable, "the leader " + leader.str() + " of group " + options_.name +
                                       " is not connected; try again");
  if (groups_.send(leader, options_.name, std::move(frame))) {
    result =
        co_await runtime::with_deadline(kAskMax, "the leader of group " + options_.name,
                                        [](runtime::OneShot<Answer> shot) -> Task<Result<Answer>> {
                                          co_return co_await shot;
                                        }(answered));
  }
  core.asked.erase(id);  // our caller is counted in under_way_: the core outlives it
  if (!result) {
    if (result.error().code() == ErrorCode::deadline_exceeded) co_return fail(no_leader());
    co_return fail(std::move(result).error());
  }
  if (!result->answer && !result->index)
    co_return fail(error_code_from(result->code).value_or(ErrorCode::unknown), result->message);
  co_return result;
}

Task<void> Group::answer(PeerId from, Ask ask) {
  const std::uint64_t id = ask.id;
  ++under_way_;
  auto result = co_await runtime::with_deadline(kAskMax, "the group", answer_here(std::move(ask)));
  --under_way_;
  changed_signal_.notify_all();
  Frame frame;
  frame.answer.emplace();
  if (result) {
    frame.answer = *std::move(result);
  } else {
    frame.answer->code = static_cast<std::uint64_t>(result.error().code());
    frame.answer->message = result.error().message();
  }
  frame.answer->id = id;
  groups_.send(from, options_.name, std::move(frame));
}

Task<Result<Answer>> Group::answer_here(Ask ask) {
  if (!is_leader())  // once only: two members with old beliefs must not pass it round and round
    co_return fail(ErrorCode::unavailable,
                   groups_.host().id().str() + " does not lead any more; ask again");
  Answer answer;
  if (!ask.command) {
    CO_TRY(answer.index, read_index());
    co_return answer;
  }
  if (ask.command->size() > kCommandSizeMax)
    co_return fail(ErrorCode::invalid_argument, "the command is too large");
  CO_TRY(answer.answer, propose_here(*std::move(ask.command)));
  co_return answer;
}

// The leader's commit index when the question came, given out once a majority has said that it knew
// no later term then: nobody else can have acknowledged anything before the question.
Task<Result<std::uint64_t>> Group::read_index() {
  Core& core = *core_;
  const std::uint64_t term = core.raft.current_term;
  const auto leads = [&] { return is_leader() && core.raft.current_term == term; };
  while (leads() && core.settled_term != term) CO_TRY_STATUS(changed_signal_.wait());
  if (!leads()) co_return fail(no_leader());
  const std::uint64_t index = core.raft.commit_index;
  if (members().voters.size() == 1) co_return index;
  const std::uint64_t round = core.round + 1;  // one that begins after now
  if (!std::exchange(core.confirm_due, true)) {
    loop_.post([this, alive = std::weak_ptr(core.alive)] {
      if (alive.expired()) return;
      core_->confirm_due = false;
      ++core_->round;
      send_confirm();
    });
  }
  ++core.readers;
  Status waited;
  while (waited && leads() && core.confirmed_round < round)
    waited = co_await changed_signal_.wait();
  --core.readers;
  if (!waited) co_return fail(std::move(waited).error());
  if (!leads()) co_return fail(no_leader());
  co_return index;
}

void Group::send_confirm() {
  Core& core = *core_;
  if (!is_leader()) return;
  for (const PeerId& voter : members().voters) {
    if (voter == groups_.host().id()) continue;
    Frame frame;
    frame.confirm = Confirm{core.raft.current_term, core.round};
    groups_.send(voter, options_.name, std::move(frame));
  }
}

void Group::count_confirmed(const PeerId& from, const Confirmed& confirmed) {
  Core& core = *core_;
  if (!is_leader() || confirmed.term != core.raft.current_term || confirmed.round > core.round)
    return;
  core.followed[from] = loop_.now();
  auto& last = core.confirmed[from];
  last = std::max(last, confirmed.round);
  std::vector<std::uint64_t> rounds;
  for (const PeerId& voter : members().voters) {
    const auto it = core.confirmed.find(voter);
    rounds.push_back(voter == groups_.host().id() ? core.round
                     : it != core.confirmed.end() ? it->second
                                                  : 0);
  }
  if (rounds.empty()) return;
  std::ranges::sort(rounds, std::greater<>());
  core.confirmed_round = std::max(core.confirmed_round, rounds[rounds.size() / 2]);
  changed_signal_.notify_all();
}

Task<Status> Group::read_barrier() {
  CO_TRY_SYNC_STATUS(usable());
  wake();
  core_->last_work = loop_.now();
  ++under_way_;
  auto done = co_await barrier_here();
  --under_way_;
  changed_signal_.notify_all();
  co_return done;
}

// A read may be asked again, so one that meets an election waits for its end.
Task<Status> Group::barrier_here() {
  const Duration limit = 3 * groups_.options().election;
  const TimePoint until = loop_.now() + limit;
  Result<std::uint64_t> index = fail(no_leader());
  for (;;) {
    CO_TRY_SYNC_STATUS(running());
    const auto now_leader = leader();
    if (is_leader()) {
      index = co_await runtime::with_deadline(limit, "a majority", read_index());
    } else if (now_leader) {
      auto answer = co_await ask(*now_leader, std::nullopt);
      if (answer) {
        index = answer->index.value_or(0);
      } else {
        index = fail(std::move(answer).error());
      }
    }
    if (index) break;
    const auto code = index.error().code();
    if (code != ErrorCode::unavailable && code != ErrorCode::deadline_exceeded)
      co_return fail(std::move(index).error());
    if (loop_.now() >= until) co_return fail(no_leader());
    CO_TRY_STATUS(runtime::sleep_for(groups_.options().heartbeat));
  }
  const auto applied = co_await runtime::with_deadline(kAskMax, "applying", wait_applied(*index));
  if (!applied && applied.error().code() == ErrorCode::deadline_exceeded)
    co_return fail(ErrorCode::unavailable,
                   "this member of group " + options_.name + " is still catching up; try again");
  co_return applied;
}

Task<Status> Group::wait_applied(std::uint64_t index) {
  while (last_applied() < index) {
    CO_TRY_SYNC_STATUS(running());
    CO_TRY_STATUS(changed_signal_.wait());
  }
  co_return Status{};
}

// When a majority of the voters last followed this leader.
std::optional<TimePoint> Group::majority_heard() const {
  const Core& core = *core_;
  std::vector<TimePoint> times;
  for (const PeerId& voter : members().voters) {
    const auto it = core.followed.find(voter);
    if (voter == groups_.host().id()) {
      times.push_back(loop_.now());
    } else {
      times.push_back(it != core.followed.end() ? it->second : TimePoint{Duration::min()});
    }
  }
  if (times.empty()) return std::nullopt;
  std::ranges::sort(times, std::greater<>());
  const TimePoint at = times[times.size() / 2];
  if (at.since_start == Duration::min()) return std::nullopt;
  return at;
}

std::optional<Duration> Group::age() const {
  if (!core_ || !core_->running || removed_) return std::nullopt;
  const Core& core = *core_;
  if (is_leader()) {
    if (core.settled_term != core.raft.current_term) return std::nullopt;
    const auto heard = majority_heard();
    if (!heard) return std::nullopt;
    return loop_.now() - *heard;
  }
  const bool whole = core.next_word && last_applied() >= core.next_word_commit;
  const auto word = whole ? core.next_word : core.word;
  if (!word) return std::nullopt;
  // A leader steps down after one to two election timeouts without a majority: as old may be what
  // it believed when it spoke.
  return loop_.now() - *word + 2 * groups_.options().election;
}

void Group::tick() {
  if (!core_ || !core_->running || removed_) return;
  core_->io.tick();
  if (!core_ || !core_->running) return;
  if (core_->readers > 0) send_confirm();  // what was lost on the way
  say_hello();
  maybe_sleep();
}

std::vector<PeerId> Group::companions() const {
  if (!core_ || !core_->running || removed_) return {};
  return core_->slept_with;
}

void Group::wake() {
  if (!asleep_ || removed_ || !core_) return;
  asleep_ = false;
  core_->io.start_clock();
  core_->awake_since = core_->last_work = loop_.now();
  core_->slept_with.clear();
  groups_.part_woke();
}

// Nothing under way, everybody who lives has everything and knows that it is committed.
void Group::maybe_sleep() {
  Core& core = *core_;
  const raft& r = core.raft;
  if (asleep_ || loop_.now() - core.last_work < groups_.options().sleep_after) return;
  std::vector<PeerId> company;
  if (r.configuration.n > 0) {
    if (!is_leader() || under_way_ > 0 || !core.waiting.empty() || !core.applying.empty()) return;
    const std::uint64_t last = core.disk.next_index() - 1;
    if (core.settled_term != r.current_term || r.commit_index != last || r.last_applied != last ||
        r.last_stored != last || r.configuration_uncommitted_index != 0 || core.change ||
        r.transfer || r.snapshot.pending.term != 0)
      return;
    std::size_t live_voters = 0, voters = 0;
    for (unsigned i = 0; i < r.configuration.n; ++i) {
      const raft_server& server = r.configuration.servers[i];
      const PeerId peer(server.address);
      const bool self = peer == groups_.host().id();
      const bool live = self || is_live(peer);
      voters += server.role == RAFT_VOTER;
      live_voters += server.role == RAFT_VOTER && live;
      if (self || !live || server.role == RAFT_SPARE) continue;
      const raft_progress& progress = r.leader_state.progress[i];
      if (progress.match_index != last || progress.state != kPipeline) return;
      company.push_back(peer);
    }
    if (live_voters <= voters / 2) return;
    for (const PeerId& peer : company) {
      Frame frame;
      frame.sleep = Sleep{r.current_term, last};
      groups_.send(peer, options_.name, std::move(frame));
    }
  }
  core.slept_with = std::move(company);
  asleep_ = true;
  core.io.stop_clock();
}

void Group::hear_sleep(const PeerId& from, const Sleep& sleep) {
  Core& core = *core_;
  const raft& r = core.raft;
  if (asleep_ || core.find(from) == nullptr || r.state != RAFT_FOLLOWER ||
      r.current_term != sleep.term || leader() != from || r.last_stored != sleep.last_index ||
      r.last_applied != sleep.last_index || core.disk.next_index() != sleep.last_index + 1 ||
      under_way_ > 0)
    return;
  core.slept_with = {from};
  asleep_ = true;
  core.io.stop_clock();
}

}  // namespace tau::consensus
