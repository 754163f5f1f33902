#include "services/patrick/service.h"

#include <algorithm>

#include "content/unixfs.h"

namespace tau::patrick {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kWaitMsMax = 30'000;
// Clocks of people's machines are off by minutes at times.
constexpr std::int64_t kOrderAgeMaxMs = 10 * 60 * 1000;
// An election takes 0.6 to 1.2 s, a second one follows when votes are split.
constexpr Duration kElectionsTime = 3s;
constexpr Duration kDecideAgain = 50ms;
constexpr Duration kFreshTime = 2s;  // then a question is answered with what is here
// A disk that failed a write is given a moment, and one that fails again more.
constexpr Duration kMendAfter = 1s;
constexpr Duration kMendAgain = 5s;
constexpr std::size_t kAwayMax = 256;

consensus::Group::Options group_options(const p2p::Host& host, std::vector<PeerId> founders) {
  consensus::Group::Options options;
  options.name = "patrick";
  options.voters = std::move(founders);
  if (options.voters.empty()) options.voters.push_back(host.id());
  options.stamped = true;
  return options;
}

consensus::Keeper::Options keeper_options(const Options& options) {
  consensus::Keeper::Options keeper;
  keeper.policy.voters = options.founders.size() >= 5 ? 5 : 3;
  keeper.pace = options.keeper_pace;
  keeper.grace = options.keeper_grace;
  return keeper;
}

bool is_passing(const Error& error) {
  return error.code() == ErrorCode::unavailable || error.code() == ErrorCode::deadline_exceeded;
}

}  // namespace

Service::Service(runtime::Loop& loop, p2p::Host& host, command::Router& router,
                 command::Caller& caller, store::Kv& kv, content::Exchange& exchange,
                 Provider& provider, Random& random, const p2p::NodeIdentity& identity, Logger log,
                 Options options)
    : loop_(loop),
      host_(host),
      router_(router),
      caller_(caller),
      exchange_(exchange),
      provider_(provider),
      identity_(identity),
      log_(std::move(log)),
      options_(std::move(options)),
      kv_(store::with_prefix(kv, "raft/")),
      groups_(loop, host, random, log_, {.name = "patrick", .role = std::string(kRole)}),
      group_(groups_, *kv_, group_options(host, options_.founders), machine_),
      keeper_(groups_, group_, keeper_options(options_)),
      logs_(loop, caller, kv, [this] { return others(); }),
      leases_(options_.lease),
      giving_(loop, 1),
      changed_(loop),
      hurt_(loop) {
  machine_.on_change([this](const Change& change) { applied(change); });
  group_.on_leading([this] { leads_anew(); });
  group_.on_removed([this] { hurt_.notify_all(); });
  group_.on_broken([this] { hurt_.notify_all(); });
}

Service::~Service() { CHECK(!running_); }

Task<Status> Service::start() {
  if (running_) co_return Status{};
  CO_TRY(const auto older, logs_.store().load_older());
  const bool has_older = !older.branches.empty() || !older.jobs.empty();
  const bool alone = options_.founders.empty() || options_.founders == std::vector{host_.id()};
  if (has_older && !alone)
    co_return fail(ErrorCode::failed_precondition,
                   "this node has " + std::to_string(older.jobs.size()) +
                       " jobs from when it was the network's only patrick: start it once without "
                       "consensus.patricks, so that it takes them over, and let the others join");
  machine_.reset();
  started_ = loop_.now();
  tasks_ = std::make_unique<runtime::TaskGroup>(loop_);
  running_ = true;
  stopped_ = false;
  logs_.start();
  self_ = std::make_shared<Service*>(this);
  host_.on_peer([held = self_](const PeerId& peer, bool connected) {
    Service* self = *held;
    if (!self) return;
    if (connected) self->away_since_.erase(peer);
    if (!connected && self->away_since_.size() < kAwayMax)
      self->away_since_[peer] = self->loop_.now();
  });
  Status status = groups_.start();
  if (status) status = co_await group_.start();
  if (status && has_older) status = co_await take_over_older();
  // One that decides alone gives jobs from the first question on.
  if (status && group_.is_leader()) (void)co_await begin_leading();
  if (status) {
    keeper_.start();
    tasks_->spawn(mend());
    tasks_->spawn(watch_leading());
    tasks_->spawn(watch_leases());
    tasks_->spawn(watch_jobs());
    router_.serve(kProtocol, *this, Commands{});
    serving_ = true;
    status = co_await provider_.start(*this);
  }
  if (!status) co_await stop();
  co_return status;
}

Task<void> Service::stop() {
  if (!running_) co_return;
  running_ = false;
  *self_ = nullptr;
  co_await provider_.stop();
  if (std::exchange(serving_, false)) co_await router_.unserve(kProtocol);
  co_await tasks_->stop();
  co_await logs_.stop();
  co_await keeper_.stop();
  co_await group_.stop();
  co_await groups_.stop();
  leads_anew();
}

// Told again after a crash in the middle, it comes to the same: what is known stays.
Task<Status> Service::take_over_older() {
  CO_TRY(auto older, logs_.store().load_older());
  log_.info("taking over " + std::to_string(older.jobs.size()) + " jobs and " +
            std::to_string(older.branches.size()) + " branches of an earlier program");
  std::ranges::sort(older.jobs, {}, &JobRecord::order);
  for (const auto& branch : older.branches) {
    JobsCommand hosted = command(), import = command();
    hosted.host = ClaimHost{branch.project, host_.id(), std::nullopt};
    import.import_branch = branch;
    CO_TRY_STATUS(decide(std::move(hosted), Repeat::yes));
    CO_TRY_STATUS(decide(std::move(import), Repeat::yes));
  }
  for (const auto& job : older.jobs) {
    JobsCommand import = command();
    import.import_job = job;
    import.import_job->log = std::vector<LogPart>{{0, std::nullopt, ""}};
    CO_TRY_STATUS(decide(std::move(import), Repeat::yes));
  }
  co_return co_await logs_.store().erase_older(older);
}

void Service::applied(const Change& change) {
  for (const auto& record : change.jobs) {
    const JobId& id = record.job.id;
    if (record.state == JobState::building) {
      if (leading_ && (record.publishing == true || !leases_.has(id, record.fence)))
        leases_.begin(id, record.fence, loop_.now());
    } else {
      leases_.end(id);
      // It does not answer: what it polls for would be lost, too. It polls again if it lives.
      if (record.state == JobState::waiting && record.monkey) end_polls(*record.monkey);
      if (record.ended()) logs_.ended(id);
    }
    log_.debug("job " + id.str() + " seq " + std::to_string(record.job.seq) + " of " +
               record.job.branch + ": " + std::string(name_of(record.state)));
  }
  for (const auto& job : change.dropped) logs_.dropped(job);
  changed_meanwhile_ = true;
  changed_.notify_all();
}

JobsCommand Service::command() const {
  JobsCommand command;
  command.now_unix_ms = loop_.wall_unix_ms();
  return command;
}

Task<Result<JobsAnswer>> Service::decide(JobsCommand command, Repeat again) {
  const Bytes wanted = codec::to_cbor(command);
  const TimePoint give_up = loop_.now() + kElectionsTime;
  const auto passing = [](const Result<Bytes>& result) {
    return !result && (result.error().code() == ErrorCode::unavailable ||
                       result.error().code() == ErrorCode::data_loss);
  };
  Result<Bytes> bytes = co_await group_.propose(wanted);
  while (passing(bytes) && again == Repeat::yes && running_ && loop_.now() < give_up) {
    CO_TRY_STATUS(runtime::sleep_for(kDecideAgain));
    bytes = co_await group_.propose(wanted);
  }
  if (passing(bytes))
    co_return fail(ErrorCode::unavailable,
                   "the patricks decide nothing now: " + bytes.error().message());
  if (!bytes) co_return fail(std::move(bytes).error());
  CO_TRY_SYNC(JobsAnswer answer, codec::from_cbor<JobsAnswer>(*bytes));
  CO_TRY_SYNC_STATUS(answer.status_code());
  co_return answer;
}

// After a failed write a member decides nothing more: an order with a hole would be a lie. One that
// was removed is asked to follow again. Both begin with what the disk has.
Task<void> Service::mend() {
  for (;;) {
    while (!stopped_ && !group_.removed() && group_.health())
      if (!co_await hurt_.wait()) co_return;
    if (!co_await runtime::sleep_for(stopped_ ? kMendAgain : kMendAfter)) co_return;
    log_.info("the group of all patricks starts again here");
    const auto again = [](Service& s) -> Task<Status> {
      co_await s.group_.stop();
      s.leads_anew();
      s.machine_.reset();
      co_return co_await s.group_.start();
    };
    const Status started = co_await to_the_end(again(*this));
    stopped_ = !started;
    if (!started) log_.warning("it does not start: " + started.error().to_string());
  }
}

Logs::Copies Service::others() const {
  const consensus::Members members = group_.members();
  Logs::Copies copies{members.voters, members.voters.size() / 2 + 1};
  if (std::erase(copies.peers, host_.id()) > 0) --copies.wanted;
  return copies;
}

// What was decided before this node started must be here: what is not known yet is not unknown.
Task<Status> Service::ready() {
  if (group_.caught_up()) co_return Status{};
  const Status waited = co_await runtime::with_deadline(kElectionsTime, "the group of all patricks",
                                                        group_.wait_caught_up());
  if (waited || waited.error().code() == ErrorCode::cancelled) co_return waited;
  co_return fail(ErrorCode::unavailable,
                 "this patrick does not reach a majority of the others; nothing is taken now");
}

// Afterwards the jobs here hold all that was acknowledged anywhere before, or it says that not.
Task<Status> Service::settled_or_stale(std::optional<Staleness>& stale) {
  const Status fresh =
      co_await runtime::with_deadline(kFreshTime, "the other patricks", group_.read_barrier());
  if (fresh || !is_passing(fresh.error())) co_return fresh;
  if (!group_.caught_up()) co_return fresh;
  stale.emplace();
  if (const auto age = group_.age())
    stale->age_ms = static_cast<std::uint64_t>(std::max<Duration>(*age, {}) / 1ms);
  co_return Status{};
}

Task<Result<bool>> Service::wait_for_change(TimePoint until) {
  const Duration left = until - loop_.now();
  if (left <= Duration::zero()) co_return false;
  const auto woken = co_await runtime::with_deadline(left, "long poll", changed_.wait());
  if (!woken && woken.error().code() == ErrorCode::cancelled) co_return fail(woken.error());
  co_return true;
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
  const BranchRecord* record = jobs().branch(project, branch);
  if (!record) return {};
  const auto it = record->sources.find(repository);
  return it == record->sources.end() ? std::string() : it->second.commit;
}

std::vector<std::string> Service::known_branches(const ProjectId& project,
                                                 const std::string& repository) const {
  return jobs().branches_with(project, repository);
}

bool Service::is_gone(const PeerId& peer) const {
  const auto there = caller_.peers_with_role(kRole);
  if (std::ranges::find(there, peer) != there.end()) return false;
  const auto away = away_since_.find(peer);
  return loop_.now() - (away == away_since_.end() ? started_ : away->second) >=
         options_.keeper_grace;
}

Task<Status> Service::claim(ProjectId project) {
  const PeerId self = host_.id();
  const PeerId* known = jobs().host_of(project);
  if (known && *known == self) co_return Status{};
  JobsCommand claim = command();
  claim.host = ClaimHost{project, self, std::nullopt};
  if (known && is_gone(*known)) claim.host->instead_of = *known;
  CO_TRY(const auto answer, to_the_end(decide(std::move(claim), Repeat::yes)));
  if (answer.changed) log_.info("hosts the repositories of project " + project.str());
  co_return Status{};
}

struct Service::Spread {
  explicit Spread(runtime::Loop& loop) : changed(loop) {}
  std::size_t held = 0, asked = 0;
  runtime::Signal changed;
};

Task<void> Service::ask_to_hold(PeerId peer, codec::Cid archive, std::shared_ptr<Spread> spread) {
  const auto held = co_await caller_.call<HoldSource>(peer, kProtocol, {archive});
  if (held) ++spread->held;
  if (!held) log_.debug("patrick " + peer.str() + ": " + held.error().to_string());
  --spread->asked;
  spread->changed.notify_all();
}

// On the disks of a majority, so that it can be built whoever of them dies.
Task<Status> Service::spread(codec::Cid archive) {
  const Logs::Copies copies = others();
  const auto spread = std::make_shared<Spread>(loop_);
  for (const PeerId& peer : copies.peers) {
    ++spread->asked;
    tasks_->spawn(ask_to_hold(peer, archive, spread));
  }
  while (spread->held < copies.wanted && spread->asked > 0) CO_TRY_STATUS(spread->changed.wait());
  if (spread->held >= copies.wanted) co_return Status{};
  co_return fail(ErrorCode::unavailable,
                 "too few patricks are there to keep what was pushed: a majority must reach each "
                 "other");
}

Task<Result<HoldSource::Response>> Service::handle(command::Peer peer,
                                                   HoldSource::Request request) {
  content::Fetch how;
  how.hints = {peer.id};
  how.deadline = HoldSource::kDeadline;
  how.durability = store::Durability::synced;
  content::DagLimits limits;
  limits.bytes_max = 2 * kArchiveBytesMax;  // with the nodes of the tree
  CO_TRY(const auto size, exchange_.get_dag(request.archive, how, limits));
  (void)size;
  co_return HoldSource::Response{};
}

Task<Result<std::optional<Source>>> Service::source_of(const Push& push) {
  if (push.commit.empty()) co_return std::optional<Source>();
  if (!is_commit(push.commit))
    co_return fail(ErrorCode::invalid_argument, "a commit has 40 hex digits");
  if (known_commit(push.project, push.repository, push.branch) == push.commit)
    co_return Source{push.commit, {}};  // known: the decision will be that nothing changes
  CO_TRY(Bytes tar, provider_.archive(push.project, push.repository, push.commit));
  CO_TRY(const codec::Cid archive,
         content::add_file(exchange_.blocks(), std::move(tar), store::Durability::synced));
  CO_TRY_STATUS(spread(archive));
  co_return Source{push.commit, archive};
}

Task<Result<Accepted>> Service::accept(Push push) {
  CO_TRY_SYNC_STATUS(check_branch(push.branch));
  CO_TRY_STATUS(ready());
  CO_TRY(auto known, find_project(push.project));
  CO_TRY(auto source, source_of(push));
  JobsCommand accept = command();
  accept.push = AcceptPush{push.project, push.repository,   push.branch,
                           push.commit,  std::move(source), std::move(known.signed_registration),
                           host_.id()};
  CO_TRY(auto answer, to_the_end(decide(std::move(accept), Repeat::yes)));
  if (answer.changed && answer.job)
    log_.info(push.repository + " at " + push.commit.substr(0, 12) + ": " + answer.note);
  co_return Accepted{answer.job.value_or(JobId()), answer.seq, std::move(answer.note)};
}

// ---- what everybody asks ---------------------------------------------------------------------

Task<Result<ListJobs::Response>> Service::handle(command::Peer, ListJobs::Request request) {
  ListJobs::Response response;
  CO_TRY_STATUS(settled_or_stale(response.stale));
  response.jobs = jobs().list(request.project, std::min<std::size_t>(request.limit, 100));
  co_return response;
}

Task<Result<GetJob::Response>> Service::handle(command::Peer, GetJob::Request request) {
  const TimePoint until =
      loop_.now() + std::chrono::milliseconds(std::min(request.wait_ms, kWaitMsMax));
  GetJob::Response response;
  CO_TRY_STATUS(settled_or_stale(response.stale));
  for (;;) {
    const JobRecord* record = jobs().find(request.job);
    if (!record && response.stale)
      co_return fail(ErrorCode::unavailable, "no job " + request.job.str() +
                                                 " is known here, and no majority of the "
                                                 "patricks answers");
    if (!record)
      co_return fail(ErrorCode::not_found, "no job " + request.job.str() + " is known here");
    response.job = record->status();
    if (!request.unless_state || record->state != *request.unless_state) co_return response;
    CO_TRY(const bool more, wait_for_change(until));
    if (!more) co_return response;
  }
}

// As it is here, or, when it is not, as a majority knows it.
Task<Result<JobRecord>> Service::look_for(JobId job) {
  if (!jobs().find(job)) CO_TRY_STATUS(group_.read_barrier());
  const JobRecord* record = jobs().find(job);
  if (record) co_return *record;
  co_return fail(ErrorCode::not_found, "no job " + job.str().substr(0, 64) +
                                           " is known here; `tau query builds` lists them");
}

Task<Result<ReadLog::Response>> Service::handle(command::Peer, ReadLog::Request request) {
  const TimePoint until =
      loop_.now() + std::chrono::milliseconds(std::min(request.wait_ms, kWaitMsMax));
  for (;;) {
    CO_TRY(const JobRecord record, look_for(request.job));
    CO_TRY(std::string text, logs_.read(record, request.offset));
    if (!text.empty()) co_return ReadLog::Response{std::move(text), false};
    if (record.ended()) co_return ReadLog::Response{{}, true};
    CO_TRY(const bool more, wait_for_change(until));
    if (!more) co_return ReadLog::Response{};
  }
}

Task<Result<GitBase::Response>> Service::handle(command::Peer, GitBase::Request request) {
  if (request.project) {
    const PeerId* known = jobs().host_of(*request.project);
    if (known && *known != host_.id() && !is_gone(*known)) {
      const PeerId host = *known;
      auto found = co_await caller_.call<GitBase>(host, kProtocol, {});
      if (found) co_return std::move(*found);
      co_return fail(ErrorCode::unavailable,
                     "the repositories of project " + request.project->str() + " are at patrick " +
                         host.str() + ", which does not answer: " + found.error().message());
    }
  }
  if (git_base_.empty())
    co_return fail(ErrorCode::unavailable,
                   "this patrick hosts no repositories that can be reached");
  co_return GitBase::Response{git_base_};
}

// ---- what owners order -----------------------------------------------------------------------

// The order names the job, the job its project's owner; nothing else of it is believed before the
// signature is checked.
template <class Order>
Task<Result<Order>> Service::open_order(codec::Signed signed_order) {
  auto claimed = codec::from_cbor<Order>(signed_order.body);
  if (!claimed) co_return fail(std::move(claimed).error().context("the order"));
  CO_TRY(const JobRecord record, look_for(claimed->job));
  CO_TRY_SYNC(const auto registration, auth::open_registration(record.job.registration));
  const crypto::PublicKey owner(registration.genesis.owner);
  if (!codec::check_signature(owner, Order::kPurpose, signed_order))
    co_return fail(ErrorCode::permission_denied,
                   "only the owner of project " + record.job.project.str() +
                       " may do this: the order is signed with another key");
  CO_TRY_SYNC_STATUS(check_age(claimed->made_unix_ms));
  co_return *std::move(claimed);
}

Status Service::check_age(std::int64_t made_unix_ms) const {
  const std::int64_t now = loop_.wall_unix_ms();
  if (made_unix_ms <= now + kOrderAgeMaxMs && made_unix_ms >= now - kOrderAgeMaxMs) return {};
  return fail(ErrorCode::permission_denied, "the order was signed more than " +
                                                std::to_string(kOrderAgeMaxMs / 1000) + " s " +
                                                (made_unix_ms < now ? "ago" : "in the future") +
                                                " by this clock. Set your machine's clock");
}

Task<Result<JobStatus>> Service::obey(JobsCommand order) {
  CO_TRY(auto answer, to_the_end(decide(std::move(order), Repeat::yes)));
  if (!answer.status) co_return fail(ErrorCode::not_found, "the job is gone");
  if (answer.changed)
    log_.info("job " + answer.status->id.str() +
              " by its owner's order: " + std::string(name_of(answer.status->state)));
  co_return *std::move(answer.status);
}

Task<Result<CancelJob::Response>> Service::handle(command::Peer, CancelJob::Request request) {
  JobsCommand cancel = command();
  CO_TRY(cancel.cancel, open_order<CancelOrder>(std::move(request.order)));
  CO_TRY(auto status, obey(std::move(cancel)));
  co_return CancelJob::Response{std::move(status)};
}

Task<Result<RetryJob::Response>> Service::handle(command::Peer, RetryJob::Request request) {
  JobsCommand retry = command();
  CO_TRY(retry.retry, open_order<RetryOrder>(std::move(request.order)));
  CO_TRY(auto status, obey(std::move(retry)));
  co_return RetryJob::Response{std::move(status)};
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
  JobsCommand number = command();
  number.number = NumberNext{claimed->project, claimed->branch};
  CO_TRY(const auto answer, to_the_end(decide(std::move(number), Repeat::yes)));
  const NumberedRollback numbered{std::move(request.order), std::move(known.signed_registration),
                                  answer.seq};
  log_.info("branch " + claimed->branch + " of " + claimed->project.str() + " goes back to push " +
            std::to_string(claimed->to_seq) + ", as number " + std::to_string(numbered.seq));
  co_return NumberRollback::Response{identity_.sign(numbered)};
}

}  // namespace tau::patrick
