// What monkeys ask of the patrick that leads: jobs, leases, logs.
#include <algorithm>

#include "services/patrick/service.h"

namespace tau::patrick {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kWaitMsMax = 30'000;
// As many as a monkey may have builds at once; each costs a stream and a timer.
constexpr std::ptrdiff_t kPollsOfMonkeyMax = 64;
constexpr std::size_t kErrorBytesMax = 16u << 10;  // a page of compiler errors; the log has all
// Between attempts to begin to lead: the election may be over already.
constexpr Duration kLeadAgain = 50ms;
// What others have of a lost monkey's log is fetched, if they answer at once.
constexpr Duration kLastWordsTime = 1s;

std::string shortened(std::string text) {
  if (text.size() <= kErrorBytesMax) return text;
  text.resize(kErrorBytesMax);
  while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0x80)) text.pop_back();
  return text + "\n[shortened: the build log has all of it]";
}

}  // namespace

// ---- who leads ---------------------------------------------------------------------------------

void Service::leads_anew() {
  ++turns_;
  leading_.reset();
  leases_.clear();
  changed_meanwhile_ = true;
  changed_.notify_all();
}

// The group's answer comes after everything that was decided before, and says in which term: only
// then is it known who holds what. Each gets a whole lease: what an earlier leader promised is
// less.
Task<bool> Service::begin_leading() {
  const std::uint64_t turn = turns_;
  JobsCommand lead = command();
  lead.lead = true;
  const auto answer = co_await decide(std::move(lead), Repeat::no);
  if (!answer || turn != turns_ || !group_.is_leader()) co_return false;
  leading_ = answer->term;
  for (const JobRecord* record : jobs().building())
    leases_.begin(record->job.id, record->fence, loop_.now());
  log_.info("gives jobs: " + std::to_string(jobs().building().size()) + " are being built");
  changed_meanwhile_ = true;
  changed_.notify_all();
  co_return true;
}

Task<void> Service::watch_leading() {
  for (;;) {
    if (group_.is_leader() && !leading_) {
      if (!co_await to_the_end(begin_leading()) && !co_await runtime::sleep_for(kLeadAgain))
        co_return;
      continue;
    }
    if (!co_await changed_.wait()) co_return;
  }
}

Result<std::uint64_t> Service::term() const {
  if (leading_) return *leading_;
  const auto leader = group_.leader();
  return fail(ErrorCode::unavailable,
              leader && *leader != host_.id()
                  ? "patrick " + leader->str() + " leads: ask it"
                  : "no patrick leads at the moment: a majority of them must reach each other");
}

// ---- polls -------------------------------------------------------------------------------------

std::shared_ptr<Service::Poll> Service::best_poll(const JobRecord& job) const {
  // A poll outlives its connection for a while.
  const auto there = caller_.peers_with_role("monkey");
  std::vector<Bidder> bidders;
  for (const auto& [order, poll] : polls_)
    if (!poll->chosen && std::ranges::find(there, poll->bidder.monkey) != there.end())
      bidders.push_back(poll->bidder);
  const auto best = best_bid(bidders, job);
  return best ? polls_.at(bidders[*best].order) : nullptr;
}

void Service::end_polls(const PeerId& monkey) {
  for (const auto& [order, poll] : polls_) {
    if (poll->chosen || poll->bidder.monkey != monkey) continue;
    poll->chosen = true;
    poll->end(std::nullopt);
  }
}

Task<Status> Service::give_jobs() {
  CO_TRY(const auto permit, giving_.acquire());
  while (leading_) {
    const JobRecord* job = jobs().next();
    const auto poll = job ? best_poll(*job) : nullptr;
    if (!poll) break;
    poll->chosen = true;
    const JobId id = job->job.id;
    const std::uint64_t fence = job->fence + 1;
    log_.info("job " + id.str() + " goes to monkey " + poll->bidder.monkey.str() + ", lease " +
              std::to_string(fence) + " (bid " + std::to_string(score(poll->bidder, *job)) + ")");
    JobsCommand take = command();
    take.take = LeaseOf{id, job->fence, poll->bidder.monkey};
    const auto answer = co_await decide(std::move(take), Repeat::no);
    if (answer) {
      auto record = co_await taken(id, fence);
      if (record) {
        poll->end(*std::move(record));
      } else {
        poll->end(fail(std::move(record).error()));
      }
      continue;
    }
    if (answer.error().code() == ErrorCode::aborted ||
        answer.error().code() == ErrorCode::not_found) {
      poll->end(std::nullopt);
      continue;
    }
    // Whether it was given is not known: if so, its lease ends unused.
    poll->end(fail(answer.error()));
    co_return fail(answer.error());
  }
  co_return Status{};
}

// When leadership was lost on the way, what was decided may not be here yet.
Task<Result<JobRecord>> Service::taken(JobId job, std::uint64_t fence) {
  for (int i = 0; i < 2; ++i) {
    const JobRecord* record = jobs().find(job);
    if (record && record->state == JobState::building && record->fence == fence) co_return *record;
    CO_TRY_STATUS(group_.read_barrier());
  }
  co_return fail(ErrorCode::unavailable, "job " + job.str() + " went on meanwhile");
}

// Jobs that become free while monkeys wait.
Task<void> Service::watch_jobs() {
  for (;;) {
    while (std::exchange(changed_meanwhile_, false)) {
      const auto given = co_await to_the_end(give_jobs());
      if (!given) log_.warning("giving out jobs: " + given.error().to_string());
    }
    if (!co_await changed_.wait()) co_return;
  }
}

// Its connection ended between the decision and the answer.
Task<void> Service::give_back(JobRecord record) {
  const JobId job = record.job.id;
  JobsCommand back = command();
  back.give_back = LeaseOf{job, record.fence, *record.monkey};
  const auto given = co_await to_the_end(decide(std::move(back), Repeat::yes));
  if (!given) log_.warning("job " + job.str() + ": " + given.error().to_string());
}

Task<Status> Service::end_of(std::shared_ptr<Poll> poll) {
  while (!poll->given) CO_TRY_STATUS(poll->ended.wait());
  co_return Status{};
}

Task<Result<TakeJob::Response>> Service::handle(command::Peer peer, TakeJob::Request request) {
  Bidder bidder{peer.id, request.bid.value_or(Bid{}), next_poll_};
  CO_TRY_SYNC_STATUS(check_bid(bidder.bid));
  if (request.bid) end_polls(peer.id);
  const auto of_monkey = std::ranges::count_if(
      polls_, [&](const auto& one) { return one.second->bidder.monkey == peer.id; });
  if (of_monkey >= kPollsOfMonkeyMax)
    co_return fail(ErrorCode::resource_exhausted,
                   "this monkey waits for jobs " + std::to_string(of_monkey) + " times already");
  const TimePoint until =
      loop_.now() + std::chrono::milliseconds(std::min(request.wait_ms, kWaitMsMax));
  const auto poll = std::make_shared<Poll>(loop_, std::move(bidder));
  polls_.emplace(next_poll_++, poll);
  (void)co_await to_the_end(give_jobs());  // what failed is in poll->given
  runtime::Scope& scope = co_await runtime::current_scope();
  while (!poll->given && !scope.cancelled() && loop_.now() < until)
    (void)co_await runtime::with_deadline(until - loop_.now(), "poll", poll->ended.wait());
  polls_.erase(poll->bidder.order);
  if (poll->chosen) (void)co_await to_the_end(end_of(poll));
  if (!poll->given) {
    // A monkey of this very node that is told to end must not take it for an ordinary silence.
    if (scope.cancelled()) co_return fail(ErrorCode::cancelled, "the monkey is gone");
    co_return TakeJob::Response{};
  }
  CO_TRY_SYNC(auto given, std::move(*poll->given));
  if (!given) co_return TakeJob::Response{};
  if (scope.cancelled()) {
    tasks_->spawn(give_back(*std::move(given)));
    co_return fail(ErrorCode::cancelled, "the monkey is gone");
  }
  co_return TakeJob::Response{
      identity_.sign(given->job), given->fence,
      static_cast<std::uint32_t>(options_.lease / std::chrono::milliseconds(1))};
}

// ---- leases ------------------------------------------------------------------------------------

// Good only if this patrick still leads: a majority is asked, so that no other has begun to by the
// time from which the monkey counts.
Task<Status> Service::renew(JobId job, PeerId monkey, std::uint64_t fence) {
  CO_TRY_SYNC(const std::uint64_t mine, term());
  CO_TRY_SYNC_STATUS(jobs().check_lease(job, monkey, fence));
  if (!leases_.renew(job, fence, loop_.now()))
    co_return fail(ErrorCode::unavailable, "this lease is being ended; ask again");
  CO_TRY_STATUS(group_.read_barrier());
  if (leading_ == mine) co_return Status{};
  co_return fail(ErrorCode::unavailable, "this patrick leads no more: ask the others");
}

Task<Status> Service::begin_publishing(PeerId monkey, RenewLease::Request request) {
  CO_TRY_SYNC(const std::uint64_t mine, term());
  (void)mine;
  CO_TRY_SYNC_STATUS(jobs().check_lease(request.job, monkey, request.fence));
  JobsCommand publish = command();
  publish.publish = LeaseOf{request.job, request.fence, monkey};
  CO_TRY(const auto answer, decide(std::move(publish), Repeat::yes));
  (void)answer;
  co_return co_await renew(request.job, monkey, request.fence);
}

Task<Result<RenewLease::Response>> Service::handle(command::Peer peer,
                                                   RenewLease::Request request) {
  const TimePoint until =
      loop_.now() + std::chrono::milliseconds(std::min(request.wait_ms.value_or(0), kWaitMsMax));
  if (request.publishing == true) {
    CO_TRY_STATUS(to_the_end(begin_publishing(peer.id, request)));
  } else {
    CO_TRY_STATUS(renew(request.job, peer.id, request.fence));
  }
  while (loop_.now() < until) {
    CO_TRY(const bool more, wait_for_change(until));
    if (!more) break;
    // Its own end of the job is no loss.
    const JobRecord* record = jobs().find(request.job);
    if (record && record->fence == request.fence && record->monkey == peer.id &&
        (record->state == JobState::succeeded || record->state == JobState::failed))
      break;
    CO_TRY_SYNC(const std::uint64_t mine, term());
    (void)mine;
    CO_TRY_SYNC_STATUS(jobs().check_lease(request.job, peer.id, request.fence));
  }
  co_return RenewLease::Response{};
}

Task<void> Service::watch_leases() {
  for (;;) {
    if (leading_) {
      for (const auto& held : leases_.over(loop_.now())) {
        leases_.end(held.job);  // from here on it is not renewed
        tasks_->spawn(end_lease(held, *leading_));
      }
    }
    // Without a lease there is nothing to watch until something changes; an hour is as good as
    // ever.
    if (!co_await wait_for_change(leases_.next_expiry().value_or(loop_.now() + 1h))) co_return;
  }
}

Task<void> Service::end_lease(LeaseBook::Held held, std::uint64_t mine) {
  JobsCommand expire = command();
  expire.expire = EndLease{held.job, held.fence, mine, std::nullopt};
  const auto size = co_await runtime::with_deadline(kLastWordsTime, "last words",
                                                    logs_.complete({held.job, held.fence}));
  if (size) expire.expire->log_bytes = *size;
  const auto ended = co_await to_the_end(decide(std::move(expire), Repeat::no));
  if (ended) {
    if (ended->changed) log_.info("job " + held.job.str() + ": the lease of its monkey is over");
    co_return;
  }
  if (ended.error().code() == ErrorCode::aborted) co_return;
  log_.warning("ending a lease: " + ended.error().to_string());
  const JobRecord* record = jobs().find(held.job);
  if (leading_ == mine && record && record->state == JobState::building &&
      record->fence == held.fence)
    leases_.begin(held.job, held.fence, loop_.now());
}

// ---- logs, and the end -------------------------------------------------------------------------

Task<Result<AppendLog::Response>> Service::handle(command::Peer peer, AppendLog::Request request) {
  if (request.text.size() > kLogAppendBytesMax)
    co_return fail(ErrorCode::invalid_argument, "more than 64 KiB of log in one call");
  CO_TRY_SYNC(const std::uint64_t mine, term());
  (void)mine;
  CO_TRY_SYNC_STATUS(jobs().check_lease(request.job, peer.id, request.fence));
  const auto size = co_await to_the_end(
      logs_.append({request.job, request.fence}, request.offset, std::move(request.text)));
  changed_.notify_all();
  if (!size) co_return fail(size.error());
  co_return AppendLog::Response{*size};
}

Task<Result<CopyLog::Response>> Service::handle(command::Peer, CopyLog::Request request) {
  if (request.text.size() > kLogAppendBytesMax)
    co_return fail(ErrorCode::invalid_argument, "more than 64 KiB of log in one call");
  const auto known = [&] {
    const JobRecord* record = jobs().find(request.job);
    return record && record->fence >= request.fence && request.fence > 0;
  };
  if (!known()) CO_TRY_STATUS(group_.read_barrier());
  if (!known()) co_return fail(ErrorCode::not_found, "no such lease is known here");
  CO_TRY(const std::uint64_t size, to_the_end(logs_.copy({request.job, request.fence},
                                                         request.offset, std::move(request.text))));
  changed_.notify_all();
  co_return CopyLog::Response{size};
}

Task<Result<LogPiece::Response>> Service::handle(command::Peer, LogPiece::Request request) {
  CO_TRY(auto text, logs_.piece({request.job, request.fence}, request.offset));
  co_return LogPiece::Response{std::move(text)};
}

// Any patrick may be told.
Task<Result<FinishJob::Response>> Service::handle(command::Peer peer, FinishJob::Request request) {
  request.error = shortened(std::move(request.error));
  if (request.log_bytes) {
    // Said of what was acknowledged; what nobody has is not waited for by readers.
    const Store::Section section{request.job, request.fence};
    auto size = co_await logs_.store().size(section);
    if (size && *size < *request.log_bytes && *size < kLogBytesMax)
      size = co_await logs_.complete(section);
    if (!size || *size < *request.log_bytes) request.log_bytes.reset();
  }
  JobsCommand finish = command();
  finish.finish = EndJob{request, peer.id};
  const auto ended = co_await to_the_end(decide(std::move(finish), Repeat::yes));
  if (ended) co_return FinishJob::Response{};
  log_.info("refused what monkey " + peer.id.str() + " says of job " + request.job.str() + ": " +
            ended.error().message());
  co_return fail(ended.error());
}

}  // namespace tau::patrick
