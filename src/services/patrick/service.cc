#include "services/patrick/service.h"

#include <algorithm>

#include "content/unixfs.h"

namespace tau::patrick {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kWaitMsMax = 30'000;
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
                 const p2p::NodeIdentity& identity, Logger log)
    : loop_(loop),
      router_(router),
      caller_(caller),
      store_(kv),
      blocks_(blocks),
      provider_(provider),
      identity_(identity),
      log_(std::move(log)),
      deciding_(loop, 1),
      changed_(loop) {}

Service::~Service() { CHECK(!running_); }

Task<Status> Service::start() {
  if (running_) co_return Status{};
  CO_TRY(auto loaded, store_.load());
  jobs_ = Jobs();
  for (auto& branch : loaded.branches) jobs_.restore(std::move(branch));
  for (auto& job : loaded.jobs) jobs_.restore(std::move(job), loop_.now());
  running_ = true;
  tasks_ = std::make_unique<runtime::TaskGroup>(loop_);
  tasks_->spawn(watch_leases());
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

Task<Result<std::optional<JobRecord>>> Service::decide_take(PeerId monkey) {
  CO_TRY(const auto permit, deciding_.acquire());
  Change change = jobs_.take(monkey, loop_.wall_unix_ms());
  if (change.jobs.empty()) co_return std::optional<JobRecord>();
  JobRecord taken = change.jobs.front();
  CO_TRY_STATUS(commit(std::move(change)));
  co_return std::optional(std::move(taken));
}

Task<Result<TakeJob::Response>> Service::handle(command::Peer peer, TakeJob::Request request) {
  const TimePoint until =
      loop_.now() + std::chrono::milliseconds(std::min(request.wait_ms, kWaitMsMax));
  for (;;) {
    CO_TRY(auto taken, to_the_end(decide_take(peer.id)));
    if (taken) {
      co_return TakeJob::Response{
          identity_.sign(taken->job), taken->fence,
          static_cast<std::uint32_t>(kLease / std::chrono::milliseconds(1))};
    }
    CO_TRY(const bool more, wait_for_change(until));
    if (!more) co_return TakeJob::Response{};
  }
}

Task<Result<RenewLease::Response>> Service::handle(command::Peer peer,
                                                   RenewLease::Request request) {
  CO_TRY_SYNC_STATUS(jobs_.renew(request.job, peer.id, request.fence, loop_.now()));
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
  CO_TRY_SYNC(Change change, jobs_.finish(request, monkey, loop_.wall_unix_ms()));
  co_return co_await commit(std::move(change));
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

}  // namespace tau::patrick
