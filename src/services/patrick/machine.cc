#include "services/patrick/machine.h"

#include "consensus/stamp.h"

namespace tau::patrick {
namespace {

struct Snapshot {
  std::uint64_t version = 1;
  Jobs::State jobs;
  static constexpr auto fields() {
    return std::tuple{codec::field("version", &Snapshot::version),
                      codec::field("jobs", &Snapshot::jobs)};
  }
};

void refuse(JobsAnswer& answer, const Error& error) {
  answer.code = static_cast<std::uint64_t>(error.code());
  answer.message = error.message();
}

}  // namespace

Status JobsAnswer::status_code() const {
  if (code == 0) return {};
  return fail(error_code_from(code).value_or(ErrorCode::unknown), message);
}

Result<Change> Machine::decide(const AcceptPush& push, std::int64_t now_unix_ms,
                               JobsAnswer& answer) const {
  TRY(const auto registration, auth::open_registration(push.registration));
  if (registration.project() != push.project)
    return fail(ErrorCode::permission_denied, "the registration is another project's");
  TRY(Change hosted, jobs_.host(push.project, push.host, std::nullopt));
  TRY(auto pushed, jobs_.push({push.project, push.repository, push.branch, push.commit},
                              push.source, registration, push.registration, now_unix_ms));
  if (!pushed.accepted.job.empty()) answer.job = pushed.accepted.job;
  answer.seq = pushed.accepted.seq;
  answer.note = pushed.accepted.note;
  pushed.change.host = std::move(hosted.host);
  return std::move(pushed.change);
}

Result<Change> Machine::decide(const JobsCommand& c, std::uint64_t term, JobsAnswer& answer) const {
  if (c.push) return decide(*c.push, c.now_unix_ms, answer);
  if (c.take) return jobs_.take(c.take->job, c.take->fence, c.take->monkey, c.now_unix_ms);
  if (c.give_back)
    return jobs_.give_back(c.give_back->job, c.give_back->monkey, c.give_back->fence);
  if (c.publish) return jobs_.begin_publishing(c.publish->job, c.publish->monkey, c.publish->fence);
  if (c.finish) return jobs_.finish(c.finish->end, c.finish->monkey, c.now_unix_ms);
  if (c.expire) {
    if (c.expire->term != term)
      return fail(ErrorCode::aborted, "who ended this lease leads no more");
    return jobs_.expire(c.expire->job, c.expire->fence, c.expire->log_bytes, c.now_unix_ms);
  }
  if (c.cancel) {
    answer.job = c.cancel->job;
    return jobs_.cancel(c.cancel->job, c.now_unix_ms);
  }
  if (c.retry) {
    TRY(auto retried, jobs_.retry(c.retry->job, c.retry->clean, c.now_unix_ms));
    answer.job = retried.job;
    return std::move(retried.change);
  }
  if (c.number) {
    TRY(Change change, jobs_.number(c.number->project, c.number->branch));
    answer.seq = change.branch->seq;
    return change;
  }
  if (c.host) return jobs_.host(c.host->project, c.host->host, c.host->instead_of);
  if (c.import_branch) return jobs_.import(*c.import_branch);
  if (c.import_job) return jobs_.import(*c.import_job);
  if (c.lead) return Change{};
  return fail(ErrorCode::invalid_argument, "a command that this program does not know");
}

Bytes Machine::apply(BytesView stamped) {
  JobsAnswer answer;
  const auto taken = consensus::take_stamp(stamped);
  const auto command = taken ? codec::from_cbor<JobsCommand>(taken->command)
                             : Result<JobsCommand>(fail(taken.error()));
  if (!command) {
    refuse(answer, command.error());
    return codec::to_cbor(answer);
  }
  answer.term = taken->stamp.term;
  const auto change = decide(*command, taken->stamp.term, answer);
  if (!change) {
    refuse(answer, change.error());
    return codec::to_cbor(answer);
  }
  answer.changed = !change->empty();
  if (answer.changed) jobs_.apply(*change);
  if (command->cancel || command->retry)
    if (const JobRecord* record = jobs_.find(*answer.job)) answer.status = record->status();
  if (answer.changed && on_change_) on_change_(*change);
  return codec::to_cbor(answer);
}

Bytes Machine::snapshot() const {
  Snapshot snapshot;
  snapshot.jobs = jobs_.state();
  return codec::to_cbor(snapshot);
}

Status Machine::restore(BytesView bytes) {
  TRY(Snapshot snapshot, codec::from_cbor<Snapshot>(bytes));
  if (snapshot.version != 1)
    return fail(ErrorCode::failed_precondition,
                "patrick's snapshot has format " + std::to_string(snapshot.version) +
                    ", which this program does not read: use the one that wrote it");
  jobs_.restore(std::move(snapshot.jobs));
  if (on_change_) on_change_(Change{});
  return {};
}

}  // namespace tau::patrick
