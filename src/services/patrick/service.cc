#include "services/patrick/service.h"

#include <algorithm>

#include "content/unixfs.h"

namespace tau::patrick {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kWaitMsMax = 30'000;
// As many as a monkey may have builds at once; each costs a stream and a timer.
constexpr std::ptrdiff_t kPollsOfMonkeyMax = 64;
// Clocks of people's machines are off by minutes at times.
constexpr std::int64_t kOrderAgeMaxMs = 10 * 60 * 1000;
constexpr std::size_t kErrorBytesMax = 16u << 10;  // a page of compiler errors; the log has all

// A decision, once begun, is not cut short: memory and disk would differ.
template <class T>
Task<T> to_the_end(Task<T> task) {
  runtime::Scope own((co_await runtime::current_scope()).loop());
  co_return co_await std::move(task).in(own);
}

std::string shortened(std::string text) {
  if (text.size() <= kErrorBytesMax) return text;
  text.resize(kErrorBytesMax);
  while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0x80)) text.pop_back();
  return text + "\n[shortened: the build log has all of it]";
}

}  // namespace

Service::Service(runtime::Loop& loop, command::Router& router, command::Caller& caller,
                 store::Kv& kv, store::BlockStore& blocks, Provider& provider,
                 const p2p::NodeIdentity& identity, Logger log, Options options)
    : loop_(loop),
      router_(router),
      caller_(caller),
      store_(kv),
      blocks_(blocks),
      provider_(provider),
      identity_(identity),
      log_(std::move(log)),
      options_(options),
      jobs_(options.lease),
      deciding_(loop, 1),
      changed_(loop) {}

Service::~Service() { CHECK(!running_); }

Task<Status> Service::start() {
  if (running_) co_return Status{};
  CO_TRY(auto loaded, store_.load());
  jobs_ = Jobs(options_.lease);
  for (auto& branch : loaded.branches) jobs_.restore(std::move(branch));
  for (auto& job : loaded.jobs) jobs_.restore(std::move(job), loop_.now());
  running_ = true;
  tasks_ = std::make_unique<runtime::TaskGroup>(loop_);
  tasks_->spawn(watch_leases());
  tasks_->spawn(watch_jobs());
  router_.serve(kProtocol, *this, Commands{});
  auto provided = co_await provider_.start(*this);
  if (!provided) co_await stop();
  co_return provided;
}

Task<void> Service::stop() {
  if (!running_) co_return;
  co_await provider_.stop();
  co_await router_.unserve(kProtocol);
  co_await tasks_->stop();
  running_ = false;
}

Task<Status> Service::commit(Change change) {
  if (change.empty()) co_return Status{};
  CO_TRY_STATUS(store_.write(change));
  jobs_.apply(change, loop_.now());
  for (const auto& record : change.jobs) {
    if (record.ended()) store_.forget_tail(record.job.id);
    log_.debug("job " + record.job.id.str() + " seq " + std::to_string(record.job.seq) + " of " +
               record.job.branch + ": " + std::string(name_of(record.state)));
  }
  for (const auto& job : change.dropped) store_.forget_tail(job);
  changed_meanwhile_ = true;
  changed_.notify_all();
  co_return Status{};
}

Task<Result<bool>> Service::wait_for_change(TimePoint until) {
  const Duration left = until - loop_.now();
  if (left <= Duration::zero()) co_return false;
  const auto woken = co_await runtime::with_deadline(left, "long poll", changed_.wait());
  if (!woken && woken.error().code() == ErrorCode::cancelled) co_return fail(woken.error());
  co_return true;
}

Task<void> Service::watch_leases() {
  for (;;) {
    // Without a lease there is nothing to watch until something changes; an hour is as good as
    // ever.
    const auto next = jobs_.next_expiry().value_or(loop_.now() + 1h);
    if (next <= loop_.now()) {
      const auto expired = co_await to_the_end(decide_expire());
      if (!expired) {
        log_.warning("ending leases: " + expired.error().to_string());
        if (!co_await runtime::sleep_for(1s)) co_return;
      }
    }
    if (!co_await wait_for_change(jobs_.next_expiry().value_or(loop_.now() + 1h))) co_return;
  }
}

Task<Status> Service::decide_expire() {
  CO_TRY(const auto permit, deciding_.acquire());
  Change change = jobs_.expire(loop_.now(), loop_.wall_unix_ms());
  for (const auto& record : change.jobs) {
    log_.info("job " + record.job.id.str() + ": the lease of its monkey is over");
    const std::string said = record.state == JobState::waiting
                                 ? "[its monkey was lost; the job waits for another]\n"
                                 : "[" + record.error + "]\n";
    CO_TRY_STATUS(store_.append_log(record.job.id, said));
    // It does not answer: what it polls for would be lost, too. It polls again if it lives.
    if (record.monkey) end_polls(*record.monkey);
  }
  co_return co_await commit(std::move(change));
}

// ---- pushes ----------------------------------------------------------------------------------

Task<Result<Service::Known>> Service::find_project(ProjectId project) {
  CO_TRY(auto found, caller_.call_any<auth::GetProject>(auth::kRole, auth::kProtocol, {project}));
  CO_TRY_SYNC(auto registration, auth::open_registration(found.registration));
  if (registration.project() != project)
    co_return fail(ErrorCode::data_loss,
                   "auth answered with another project than " + project.str());
  co_return Known{std::move(found.registration), std::move(registration)};
}

Task<Result<auth::Registration>> Service::registration(ProjectId project) {
  CO_TRY(auto known, find_project(std::move(project)));
  co_return std::move(known.registration);
}

std::string Service::known_commit(const ProjectId& project, const std::string& repository,
                                  const std::string& branch) const {
  const BranchRecord* record = jobs_.branch(project, branch);
  if (!record) return {};
  const auto it = record->sources.find(repository);
  return it == record->sources.end() ? std::string() : it->second.commit;
}

std::vector<std::string> Service::known_branches(const ProjectId& project,
                                                 const std::string& repository) const {
  return jobs_.branches_with(project, repository);
}

Task<Result<std::optional<Source>>> Service::source_of(const Push& push) {
  if (push.commit.empty()) co_return std::optional<Source>();
  if (!is_commit(push.commit))
    co_return fail(ErrorCode::invalid_argument, "a commit has 40 hex digits");
  if (known_commit(push.project, push.repository, push.branch) == push.commit)
    co_return Source{push.commit, {}};  // known: the decision will be that nothing changes
  CO_TRY(Bytes tar, provider_.archive(push.project, push.repository, push.commit));
  CO_TRY(const codec::Cid archive,
         content::add_file(blocks_, std::move(tar), store::Durability::synced));
  co_return Source{push.commit, archive};
}

Task<Result<Accepted>> Service::accept(Push push) {
  CO_TRY_SYNC_STATUS(check_branch(push.branch));
  CO_TRY(auto known, find_project(push.project));
  CO_TRY(auto source, source_of(push));
  co_return co_await to_the_end(decide_push(std::move(push), std::move(source), std::move(known)));
}

Task<Result<Accepted>> Service::decide_push(Push push, std::optional<Source> source, Known known) {
  CO_TRY(const auto permit, deciding_.acquire());
  if (source && !source->archive.valid() &&
      known_commit(push.project, push.repository, push.branch) != push.commit)
    co_return fail(ErrorCode::aborted, "the branch moved meanwhile; push again");
  CO_TRY_SYNC(auto pushed, jobs_.push(push, source, known.registration, known.signed_registration,
                                      loop_.wall_unix_ms()));
  const bool is_new = !pushed.change.jobs.empty();
  CO_TRY_STATUS(commit(std::move(pushed.change)));
  if (is_new) {
    log_.info(push.repository + " at " + push.commit.substr(0, 12) + ": " + pushed.accepted.note);
    CO_TRY_STATUS(store_.append_log(pushed.accepted.job,
                                    "[" + push.repository + " " + push.commit.substr(0, 12) +
                                        " pushed: " + pushed.accepted.note + "]\n"));
  }
  co_return std::move(pushed.accepted);
}

// ---- what monkeys ask ------------------------------------------------------------------------

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

Task<Status> Service::decide_takes() {
  CO_TRY(const auto permit, deciding_.acquire());
  for (;;) {
    const JobRecord* job = jobs_.next();
    const auto poll = job ? best_poll(*job) : nullptr;
    if (!poll) co_return Status{};
    poll->chosen = true;
    Change change = jobs_.take(poll->bidder.monkey, loop_.wall_unix_ms());
    JobRecord taken = change.jobs.front();
    log_.info("job " + taken.job.id.str() + " goes to monkey " + poll->bidder.monkey.str() +
              ", lease " + std::to_string(taken.fence) + " (bid " +
              std::to_string(score(poll->bidder, *job)) + ")");
    if (auto written = co_await commit(std::move(change)); !written) {
      poll->end(fail(written.error()));
      co_return written;
    }
    poll->end(std::move(taken));
  }
}

// Jobs that become free while monkeys wait.
Task<void> Service::watch_jobs() {
  for (;;) {
    while (std::exchange(changed_meanwhile_, false)) {
      const auto taken = co_await to_the_end(decide_takes());
      if (!taken) log_.warning("giving out jobs: " + taken.error().to_string());
    }
    if (!co_await changed_.wait()) co_return;
  }
}

// Its connection ended between the decision and the answer.
Task<void> Service::give_back(JobRecord record) {
  const JobId job = record.job.id;
  const auto given = co_await to_the_end(decide_give_back(std::move(record)));
  if (!given) log_.warning("job " + job.str() + ": " + given.error().to_string());
}

Task<Status> Service::decide_give_back(JobRecord record) {
  CO_TRY(const auto permit, deciding_.acquire());
  co_return co_await commit(jobs_.give_back(record.job.id, *record.monkey, record.fence));
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
  (void)co_await to_the_end(decide_takes());  // what failed is in poll->given
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

Task<Status> Service::decide_publishing(PeerId monkey, RenewLease::Request request) {
  CO_TRY(const auto permit, deciding_.acquire());
  CO_TRY_SYNC(Change change, jobs_.begin_publishing(request.job, monkey, request.fence));
  CO_TRY_STATUS(commit(std::move(change)));
  co_return jobs_.renew(request.job, monkey, request.fence, loop_.now());
}

Task<Result<RenewLease::Response>> Service::handle(command::Peer peer,
                                                   RenewLease::Request request) {
  const TimePoint until =
      loop_.now() + std::chrono::milliseconds(std::min(request.wait_ms.value_or(0), kWaitMsMax));
  if (request.publishing == true) {
    CO_TRY_STATUS(to_the_end(decide_publishing(peer.id, request)));
  } else {
    CO_TRY_SYNC_STATUS(jobs_.renew(request.job, peer.id, request.fence, loop_.now()));
  }
  while (loop_.now() < until) {
    CO_TRY(const bool more, wait_for_change(until));
    if (!more) break;
    // Its own end of the job is no loss.
    const JobRecord* record = jobs_.find(request.job);
    if (record && record->fence == request.fence && record->monkey == peer.id &&
        (record->state == JobState::succeeded || record->state == JobState::failed))
      break;
    CO_TRY_SYNC_STATUS(jobs_.check_lease(request.job, peer.id, request.fence));
  }
  co_return RenewLease::Response{};
}

Task<Status> Service::decide_append(PeerId monkey, AppendLog::Request request) {
  CO_TRY(const auto permit, deciding_.acquire());
  CO_TRY_SYNC_STATUS(jobs_.check_lease(request.job, monkey, request.fence));
  CO_TRY_STATUS(store_.append_log(request.job, std::move(request.text)));
  changed_.notify_all();
  co_return Status{};
}

Task<Result<AppendLog::Response>> Service::handle(command::Peer peer, AppendLog::Request request) {
  if (request.text.size() > kLogAppendBytesMax)
    co_return fail(ErrorCode::invalid_argument, "more than 64 KiB of log in one call");
  CO_TRY_STATUS(to_the_end(decide_append(peer.id, std::move(request))));
  co_return AppendLog::Response{};
}

Task<Status> Service::decide_finish(PeerId monkey, FinishJob::Request request) {
  CO_TRY(const auto permit, deciding_.acquire());
  auto change = jobs_.finish(request, monkey, loop_.wall_unix_ms());
  if (!change) {
    log_.info("refused what monkey " + monkey.str() + " says of job " + request.job.str() + ": " +
              change.error().message());
    co_return fail(std::move(change).error());
  }
  co_return co_await commit(*std::move(change));
}

Task<Result<FinishJob::Response>> Service::handle(command::Peer peer, FinishJob::Request request) {
  request.error = shortened(std::move(request.error));
  CO_TRY_STATUS(to_the_end(decide_finish(peer.id, std::move(request))));
  co_return FinishJob::Response{};
}

// ---- what everybody asks ---------------------------------------------------------------------

Task<Result<ListJobs::Response>> Service::handle(command::Peer, ListJobs::Request request) {
  co_return ListJobs::Response{
      jobs_.list(request.project, std::min<std::size_t>(request.limit, 100))};
}

Task<Result<GetJob::Response>> Service::handle(command::Peer, GetJob::Request request) {
  const TimePoint until =
      loop_.now() + std::chrono::milliseconds(std::min(request.wait_ms, kWaitMsMax));
  for (;;) {
    const JobRecord* record = jobs_.find(request.job);
    if (!record)
      co_return fail(ErrorCode::not_found, "no job " + request.job.str() + " is known here");
    if (!request.unless_state || record->state != *request.unless_state)
      co_return GetJob::Response{record->status()};
    CO_TRY(const bool more, wait_for_change(until));
    if (more) continue;
    record = jobs_.find(request.job);
    if (record) co_return GetJob::Response{record->status()};
  }
}

Task<Result<ReadLog::Response>> Service::handle(command::Peer, ReadLog::Request request) {
  const TimePoint until =
      loop_.now() + std::chrono::milliseconds(std::min(request.wait_ms, kWaitMsMax));
  for (;;) {
    const JobRecord* record = jobs_.find(request.job);
    if (!record)
      co_return fail(ErrorCode::not_found, "no job " + request.job.str() + " is known here");
    const bool over = record->ended();  // before the read: nothing is appended to an ended job
    CO_TRY(std::string text, store_.read_log(request.job, request.offset));
    if (!text.empty()) co_return ReadLog::Response{std::move(text), false};
    if (over) co_return ReadLog::Response{{}, true};
    CO_TRY(const bool more, wait_for_change(until));
    if (!more) co_return ReadLog::Response{};
  }
}

Task<Result<GitBase::Response>> Service::handle(command::Peer, GitBase::Request) {
  if (git_base_.empty())
    co_return fail(ErrorCode::unavailable,
                   "this patrick hosts no repositories that can be reached");
  co_return GitBase::Response{git_base_};
}

// ---- what owners order -----------------------------------------------------------------------

// The order names the job, the job its project's owner; nothing else of it is believed before the
// signature is checked.
template <class Order>
Result<Order> Service::open_order(const codec::Signed& signed_order) const {
  auto claimed = codec::from_cbor<Order>(signed_order.body);
  if (!claimed) return fail(std::move(claimed).error().context("the order"));
  const JobRecord* record = jobs_.find(claimed->job);
  if (!record)
    return fail(ErrorCode::not_found, "no job " + claimed->job.str().substr(0, 64) +
                                          " is known here; `tau query builds` lists them");
  TRY(const auto registration, auth::open_registration(record->job.registration));
  const crypto::PublicKey owner(registration.genesis.owner);
  if (!codec::check_signature(owner, Order::kPurpose, signed_order))
    return fail(ErrorCode::permission_denied,
                "only the owner of project " + record->job.project.str() +
                    " may do this: the order is signed with another key");
  TRY_STATUS(check_age(claimed->made_unix_ms));
  return *std::move(claimed);
}

Status Service::check_age(std::int64_t made_unix_ms) const {
  const std::int64_t now = loop_.wall_unix_ms();
  if (made_unix_ms <= now + kOrderAgeMaxMs && made_unix_ms >= now - kOrderAgeMaxMs) return {};
  return fail(ErrorCode::permission_denied, "the order was signed more than " +
                                                std::to_string(kOrderAgeMaxMs / 1000) + " s " +
                                                (made_unix_ms < now ? "ago" : "in the future") +
                                                " by this clock. Set your machine's clock");
}

Task<Result<JobStatus>> Service::decide_cancel(CancelOrder order) {
  CO_TRY(const auto permit, deciding_.acquire());
  CO_TRY_SYNC(Change change, jobs_.cancel(order.job, loop_.wall_unix_ms()));
  if (!change.empty()) {
    log_.info("job " + order.job.str() + " is cancelled");
    CO_TRY_STATUS(store_.append_log(order.job, "[cancelled by the project's owner]\n"));
  }
  CO_TRY_STATUS(commit(std::move(change)));
  const JobRecord* record = jobs_.find(order.job);
  if (!record) co_return fail(ErrorCode::not_found, "the job is gone");
  co_return record->status();
}

Task<Result<CancelJob::Response>> Service::handle(command::Peer, CancelJob::Request request) {
  CO_TRY_SYNC(auto order, open_order<CancelOrder>(request.order));
  CO_TRY(auto status, to_the_end(decide_cancel(std::move(order))));
  co_return CancelJob::Response{std::move(status)};
}

Task<Result<JobStatus>> Service::decide_retry(RetryOrder order) {
  CO_TRY(const auto permit, deciding_.acquire());
  CO_TRY_SYNC(auto retried, jobs_.retry(order.job, order.clean, loop_.wall_unix_ms()));
  const bool is_new = !retried.change.empty();
  CO_TRY_STATUS(commit(std::move(retried.change)));
  const JobRecord* record = jobs_.find(retried.job);
  if (!record) co_return fail(ErrorCode::not_found, "the job is gone");
  JobStatus status = record->status();
  if (is_new) {
    log_.info("job " + order.job.str() + " is tried again: job " + retried.job.str());
    CO_TRY_STATUS(store_.append_log(
        retried.job, "[job " + order.job.str() + " once more, as build " +
                         std::to_string(status.seq) + " of branch " + status.branch + "]\n"));
  }
  co_return status;
}

Task<Result<RetryJob::Response>> Service::handle(command::Peer, RetryJob::Request request) {
  CO_TRY_SYNC(auto order, open_order<RetryOrder>(request.order));
  CO_TRY(auto status, to_the_end(decide_retry(std::move(order))));
  co_return RetryJob::Response{std::move(status)};
}

Task<Result<std::uint64_t>> Service::decide_seq(ProjectId project, std::string branch) {
  CO_TRY(const auto permit, deciding_.acquire());
  const BranchRecord* known = jobs_.branch(project, branch);
  if (!known)
    co_return fail(ErrorCode::not_found, "nothing was ever pushed to branch " + branch +
                                             " of project " + project.str() + " here");
  Change change;
  change.branch = *known;
  const std::uint64_t seq = ++change.branch->seq;
  CO_TRY_STATUS(commit(std::move(change)));
  co_return seq;
}

Task<Result<NumberRollback::Response>> Service::handle(command::Peer,
                                                       NumberRollback::Request request) {
  const auto claimed = codec::from_cbor<RollbackOrder>(request.order.body);
  if (!claimed) co_return fail(Error(claimed.error()).context("the order"));
  CO_TRY(Known known, find_project(claimed->project));
  const crypto::PublicKey owner(known.registration.genesis.owner);
  if (!codec::check_signature(owner, RollbackOrder::kPurpose, request.order))
    co_return fail(ErrorCode::permission_denied,
                   "only the owner of project " + claimed->project.str() +
                       " may do this: the order is signed with another key");
  CO_TRY_SYNC_STATUS(check_age(claimed->made_unix_ms));
  NumberedRollback numbered{std::move(request.order), std::move(known.signed_registration), 0};
  CO_TRY(numbered.seq, to_the_end(decide_seq(claimed->project, claimed->branch)));
  log_.info("branch " + claimed->branch + " of " + claimed->project.str() + " goes back to push " +
            std::to_string(claimed->to_seq) + ", as number " + std::to_string(numbered.seq));
  co_return NumberRollback::Response{identity_.sign(numbered)};
}

}  // namespace tau::patrick
