#include "services/monkey/service.h"

#include <fmt/format.h>

#include <algorithm>

#include "services/tns/api.h"

namespace tau::monkey {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kPollMs = 25'000;  // below TakeJob's deadline
// While it builds, what it bids changes.
constexpr std::uint32_t kBusyPollMs = 5'000;
// Between attempts at a patrick that is connected and does not answer well.
constexpr Duration kRetryTime = 1s;
// A build is worth waiting for tns and patrick to come back; the lease ends sooner if it must.
constexpr Duration kPersistence = 30s;
// After the start, before it uses a core for a second: the node's other parts come first.
constexpr Duration kCalmTime = 2s;
constexpr std::size_t kErrorBytesMax = 16u << 10;  // 50 mistakes with their places

// Ends a group's tasks when the scope that they work for is cancelled.
class CancelWith final : private runtime::CancelHook {
 public:
  CancelWith(runtime::Scope& scope, runtime::TaskGroup& group) : group_(group) {
    if (scope.cancelled()) {
      group.cancel();
    } else {
      scope.add(*this);
    }
  }

 private:
  void on_cancel() override { group_.cancel(); }
  runtime::TaskGroup& group_;
};

bool passing(const Error& error) {
  return error.code() == ErrorCode::unavailable || error.code() == ErrorCode::deadline_exceeded;
}

BuilderOptions within_memory(const Options& options) {
  BuilderOptions builder = options.builder;
  builder.builds_max = sandboxes_that_fit(options);
  return builder;
}

}  // namespace

std::size_t jobs_that_fit(const Options& options) {
  const std::uint64_t fit = options.memory_bytes_max /
                            std::max<std::uint64_t>(options.builder.limits.memory_bytes_max, 1);
  return std::clamp<std::size_t>(fit, 1, std::max<std::size_t>(options.jobs_max, 1));
}

std::size_t sandboxes_that_fit(const Options& options) {
  const std::uint64_t fit = options.memory_bytes_max /
                            std::max<std::uint64_t>(options.builder.limits.memory_bytes_max, 1);
  const std::size_t wanted =
      std::max<std::size_t>({options.builder.builds_max, jobs_that_fit(options), std::size_t{1}});
  return std::clamp<std::size_t>(fit, 1, wanted);
}

Service::Service(runtime::Loop& loop, p2p::Host& host, command::Caller& caller, store::Kv& kv,
                 content::Exchange& exchange, process::Runner& runner, runtime::ThreadPool& pool,
                 Holders& holders, const p2p::NodeIdentity& identity,
                 const p2p::Admission& admission, Logger log, Options options)
    : loop_(loop),
      host_(host),
      caller_(caller),
      holders_(holders),
      identity_(identity),
      admission_(admission),
      log_(std::move(log)),
      options_(std::move(options)),
      cache_(kv),
      builder_(loop, exchange, runner, cache_, pool, within_memory(options_)),
      artifacts_(loop, exchange, pool, cache_, identity, options_.engine),
      slots_(loop, jobs_that_fit(options_)),
      changed_(loop) {}

Service::~Service() { CHECK(!tasks_); }

Task<Status> Service::start() {
  CHECK(!tasks_);
  CO_TRY_STATUS(cache_.load());
  tasks_ = std::make_unique<runtime::TaskGroup>(loop_);
  peers_changed_ = std::make_shared<runtime::Signal*>(&changed_);
  host_.on_peer([held = peers_changed_](const PeerId&, bool) {
    if (*held) (*held)->notify_all();
  });
  tasks_->spawn(prepare());
  tasks_->spawn(watch_patricks());
  co_return Status{};
}

Task<void> Service::stop() {
  if (!tasks_) co_return;
  *peers_changed_ = nullptr;
  co_await tasks_->stop();
  tasks_.reset();
  served_.clear();
}

// Not a condition of the start: each job says it again to the person who pushed, and works as soon
// as the machine was set right.
Task<void> Service::prepare() {
  const Status prepared = co_await builder_.prepare();
  if (!prepared && prepared.error().code() != ErrorCode::cancelled)
    log_.error("no job can be built here: " + prepared.error().message());
  for (const auto& toolchain : builder_.toolchains()) log_.info("builds " + toolchain);
  for (const auto& why : builder_.missing_toolchains()) log_.info(why);
  if (!prepared || !co_await runtime::sleep_for(kCalmTime)) co_return;
  const Status warm = co_await builder_.warm_up();
  if (!warm && warm.error().code() != ErrorCode::cancelled)
    log_.info("builds go with a cold cache: " + warm.error().message());
}

Task<void> Service::watch_patricks() {
  for (;;) {
    for (const auto& patrick : caller_.peers_with_role(patrick::kRole))
      if (served_.insert(patrick).second) tasks_->spawn(serve(patrick));
    if (!co_await changed_.wait()) co_return;
  }
}

patrick::Bid Service::bid() const {
  const std::size_t slots = jobs_that_fit(options_);
  const std::uint64_t used = building_ * options_.builder.limits.memory_bytes_max;
  const std::uint64_t free = options_.memory_bytes_max - std::min(used, options_.memory_bytes_max);
  patrick::Bid bid;
  bid.slots = static_cast<std::uint32_t>(slots - std::min(building_, slots));
  bid.memory_mib = static_cast<std::uint32_t>(std::min<std::uint64_t>(free >> 20, 1u << 30));
  bid.load_percent = options_.load_percent ? options_.load_percent() : 0;
  bid.warm.assign(warm_.begin(), warm_.end());
  return bid;
}

// Takes jobs from one patrick while it is connected: one poll at a time, when one more job fits, so
// that each bid says what is free at its time.
Task<void> Service::serve(PeerId patrick) {
  for (;;) {
    bool waited = true;
    while (waited && building_ >= jobs_that_fit(options_))
      waited = (co_await changed_.wait()).has_value();
    if (!waited) break;
    const std::uint32_t wait_ms = building_ > 0 ? kBusyPollMs : kPollMs;
    auto answer =
        co_await caller_.call<patrick::TakeJob>(patrick, patrick::kProtocol, {wait_ms, bid()});
    if (!answer) {
      if (answer.error().code() == ErrorCode::cancelled) break;
      const auto peers = caller_.peers_with_role(patrick::kRole);
      if (std::ranges::find(peers, patrick) == peers.end()) break;  // watch_patricks starts anew
      log_.debug("take a job: " + answer.error().to_string());
      if (!co_await runtime::sleep_for(kRetryTime)) break;
      continue;
    }
    if (!answer->job) {
      if (!co_await runtime::yield()) break;
      continue;
    }
    auto opened = p2p::open_node_signed<patrick::Job>(admission_, patrick::kRole, *answer->job,
                                                      loop_.wall_unix_ms());
    if (!opened) {
      log_.warning("a job that is not patrick's: " + opened.error().to_string());
      if (!co_await runtime::sleep_for(kRetryTime)) break;
      continue;
    }
    ++building_;
    tasks_->spawn(work({patrick, std::move(*answer->job), std::move(opened->record), answer->fence,
                        std::chrono::milliseconds(answer->lease_ms)}));
  }
  served_.erase(patrick);
  changed_.notify_all();
}

Task<void> Service::work(Taken taken) {
  co_await build_under_lease(std::move(taken));
  --building_;
  changed_.notify_all();
}

// Who leads may have died, or leads no more: then another does, or will in a moment.
template <class C>
Task<Result<typename C::Response>> Service::ask(Taken& taken, typename C::Request request,
                                                Duration deadline) {
  const PeerId first = taken.patrick;
  auto answer = co_await caller_.call<C>(first, patrick::kProtocol, request, deadline);
  if (answer || !passing(answer.error())) co_return answer;
  for (const PeerId& other : caller_.peers_with_role(patrick::kRole)) {
    if (other == first) continue;
    auto next = co_await caller_.call<C>(other, patrick::kProtocol, request, deadline);
    if (!next && passing(next.error())) continue;
    taken.patrick = other;
    co_return next;
  }
  co_return answer;
}

Task<Result<std::uint64_t>> Service::append_log(Taken& taken, std::string text,
                                                std::uint64_t offset) {
  const std::uint64_t end = offset + text.size();
  CO_TRY(const auto kept,
         ask<patrick::AppendLog>(taken, {taken.job.id, taken.fence, std::move(text), offset}));
  co_return kept.size.value_or(end);
}

// Builds under the lease: when it is lost, the build is cancelled, and nobody is told anything.
Task<void> Service::build_under_lease(Taken taken) {
  runtime::Scope& outer = co_await runtime::current_scope();
  log_.info(
      fmt::format("job {} (seq {}, {})", taken.job.id.str(), taken.job.seq, taken.job.branch));
  BuildLog log(loop_, [this, &taken](std::string text, std::uint64_t offset) {
    return append_log(taken, std::move(text), offset);
  });
  std::optional<Result<codec::Cid>> outcome;
  {
    runtime::TaskGroup beside(loop_);
    const CancelWith end_log(outer, beside);
    runtime::Scope build(loop_, outer);
    beside.spawn(log.run());
    runtime::TaskGroup renewing(loop_);
    renewing.spawn(renew(taken, build));
    outcome = co_await build_and_publish(taken, log).in(build);
    if (!*outcome && outcome->error().code() == ErrorCode::cancelled) {
      co_await renewing.stop();
      co_await beside.stop();
      log_.info("job " + taken.job.id.str() + ": given up");
      co_return;
    }
    if (!*outcome) log.line("failed: " + outcome->error().message().substr(0, 200));
    log.finish();
    co_await beside.join();
    co_await report(taken, std::move(*outcome), log.sent());
    co_await renewing.stop();
  }
}

// A renewal stays open at patrick for a third of the lease: so it learns within a moment that the
// job was cancelled or is another's. While no patrick can be reached that leads, the build goes on
// for a while beyond the lease: a patrick that restarts finds it, and confirm() comes before
// anything is published.
Task<void> Service::renew(Taken& taken, runtime::Scope& build) {
  const Duration every = std::max<Duration>(taken.lease / 3, 100ms);
  const auto every_ms = static_cast<std::uint32_t>(every / 1ms);
  TimePoint good_until = loop_.now() + taken.lease;
  bool silent = false;
  for (;;) {
    const TimePoint asked = loop_.now();
    const auto renewed = co_await ask<patrick::RenewLease>(
        taken, {taken.job.id, taken.fence, every_ms, {}}, 2 * every);
    if (renewed) {
      if (std::exchange(silent, false))
        log_.info("job " + taken.job.id.str() + ": patrick is back, and the lease holds");
      good_until = asked + taken.lease;
      const Duration left = asked + every - loop_.now();
      if (left > Duration::zero() && !co_await runtime::sleep_for(left)) co_return;
      continue;
    }
    if (renewed.error().code() == ErrorCode::cancelled) co_return;
    if (passing(renewed.error()) && loop_.now() < good_until + kPersistence) {
      if (!std::exchange(silent, true))
        log_.info("job " + taken.job.id.str() + ": patrick is silent; the build goes on");
      if (!co_await runtime::sleep_for(std::min<Duration>(every, kRetryTime))) co_return;
      continue;
    }
    log_.info("job " + taken.job.id.str() + ": lease lost: " + renewed.error().to_string());
    build.cancel();
    co_return;
  }
}

// The last look before publishing: patrick writes down that this monkey publishes, or says that the
// job is not its any more. Then everything built is dropped.
Task<Status> Service::confirm(Taken& taken) {
  const TimePoint give_up = loop_.now() + taken.lease + kPersistence;
  for (;;) {
    const auto confirmed =
        co_await ask<patrick::RenewLease>(taken, {taken.job.id, taken.fence, {}, true});
    if (confirmed) co_return Status{};
    if (!passing(confirmed.error()) || loop_.now() >= give_up) {
      log_.info("job " + taken.job.id.str() +
                ": the result comes too late and is dropped: " + confirmed.error().to_string());
      co_return fail(ErrorCode::cancelled, "the lease was lost");
    }
    CO_TRY_STATUS(runtime::sleep_for(kRetryTime));
  }
}

Task<Result<codec::Cid>> Service::build_and_publish(Taken& taken, BuildLog& log) {
  const patrick::Job& job = taken.job;
  CO_TRY(const auto permit, slots_.acquire());
  CO_TRY_SYNC(auto registration, auth::open_registration(job.registration));
  if (registration.project() != job.project)
    co_return fail(ErrorCode::permission_denied,
                   "the job's registration is another project's; nothing is built");
  CO_TRY(Built built, builder_.build(job, std::move(registration), taken.patrick, log));
  std::erase(warm_, job.project);
  warm_.push_front(job.project);
  if (warm_.size() > patrick::kWarmMax) warm_.pop_back();

  Receipt receipt;
  receipt.job = job.id;
  receipt.project = job.project;
  receipt.branch = job.branch;
  receipt.seq = job.seq;
  receipt.deployment = built.deployment;
  receipt.hosts = std::move(built.hosts);
  receipt.functions = std::move(built.functions);
  TimePoint start = loop_.now();
  {
    runtime::TaskGroup beside(loop_);
    const CancelWith end_with(co_await runtime::current_scope(), beside);
    beside.spawn(compile_ahead(artifacts_, receipt.functions, log, receipt.compiled));
    auto holders = co_await hold(built.deployment);
    if (!holders) {
      co_await beside.stop();
      co_return fail(std::move(holders).error());
    }
    receipt.holders = std::move(*holders);
    co_await beside.join();
  }
  if (receipt.compiled) {
    const Status held = co_await holders_.hold_also(*receipt.compiled, receipt.holders);
    if (!held && held.error().code() == ErrorCode::cancelled) co_return fail(held.error());
    // Without it substrates compile for themselves.
    if (!held) {
      log.line("what was compiled ahead is not offered: " + held.error().message());
      receipt.compiled.reset();
    }
  }
  const auto took = [&] { return (loop_.now() - start) / std::chrono::milliseconds(1); };
  log.line(fmt::format("held by {} hoarder{} after {} ms", receipt.holders.size(),
                       receipt.holders.size() == 1 ? "" : "s", took()));
  receipt.built_unix_ms = loop_.wall_unix_ms();
  CO_TRY_SYNC_STATUS(check_receipt(receipt));
  CO_TRY_SYNC(const auto answered,
              tns::answered_hosts(options_.builder.suffix, job.branch, receipt.hosts));
  start = loop_.now();
  CO_TRY_STATUS(confirm(taken));
  CO_TRY_STATUS(publish(taken, receipt, tns::digest_of_hosts(answered)));
  log.line(fmt::format("published after {} ms", took()));
  for (const auto& host : answered) log.line("live at " + host);
  co_return built.deployment;
}

// A network that has just started may know no hoarder yet: no reason to lose a build.
Task<Result<std::vector<PeerId>>> Service::hold(codec::Cid deployment) {
  const TimePoint give_up = loop_.now() + kPersistence;
  for (;;) {
    auto held = co_await holders_.hold(deployment);
    if (held || !passing(held.error()) || loop_.now() >= give_up) co_return held;
    CO_TRY_STATUS(runtime::sleep_for(kRetryTime));
  }
}

// On failure there is nothing: substrates compile for themselves.
Task<void> Service::compile_ahead(ArtifactMaker& artifacts, std::vector<BuiltFunction> functions,
                                  BuildLog& log, std::optional<codec::Cid>& compiled) {
  auto made = co_await artifacts.make(std::move(functions), log);
  if (made) {
    compiled = *made;
  } else if (made.error().code() != ErrorCode::cancelled) {
    log.line("nothing was compiled ahead: " + made.error().message());
  }
}

Task<Status> Service::publish(Taken& taken, const Receipt& receipt, tns::HostsDigest answered) {
  const p2p::NodeSigned signed_receipt = identity_.sign(receipt);
  const p2p::NodeSigned head =
      identity_.sign(head_of(receipt, signed_receipt.record.body, answered));
  const TimePoint give_up = loop_.now() + kPersistence;
  for (;;) {
    const auto moved = co_await caller_.call_any<tns::Publish>(
        tns::kRole, tns::kProtocol, {taken.signed_job, signed_receipt, head});
    if (moved) co_return Status{};
    taken.overtaken = moved.error().code() == ErrorCode::failed_precondition;
    if (!passing(moved.error()) || loop_.now() >= give_up)
      co_return fail(Error(moved.error()).context("publish"));
    CO_TRY_STATUS(runtime::sleep_for(kRetryTime));
  }
}

Task<void> Service::report(Taken& taken, Result<codec::Cid> outcome, std::uint64_t log_bytes) {
  patrick::FinishJob::Request request;
  request.job = taken.job.id;
  request.fence = taken.fence;
  request.log_bytes = log_bytes;
  if (outcome) {
    request.deployment = *outcome;
  } else {
    request.error = outcome.error().message();
    if (taken.overtaken) request.overtaken = true;
    if (request.error.size() > kErrorBytesMax) {
      const auto line_end = request.error.rfind('\n', kErrorBytesMax);
      request.error.resize(line_end == std::string::npos ? kErrorBytesMax : line_end);
      request.error += "\n…";
    }
  }
  log_.info("job " + taken.job.id.str() + ": " +
            (outcome ? outcome->to_string() : "failed: " + outcome.error().message()));
  const TimePoint give_up = loop_.now() + kPersistence;
  for (;;) {
    const auto done = co_await ask<patrick::FinishJob>(taken, request);
    if (done || !passing(done.error()) || loop_.now() >= give_up) {
      if (!done) log_.warning("report job " + taken.job.id.str() + ": " + done.error().to_string());
      co_return;
    }
    if (!co_await runtime::sleep_for(kRetryTime)) co_return;
  }
}

}  // namespace tau::monkey
