// What the group of all patricks agrees on: Jobs, behind commands and answers that go through the
// consensus log. Deterministic; whoever proposes puts the wall clock in.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "consensus/state_machine.h"
#include "services/patrick/jobs.h"

namespace tau::patrick {

struct AcceptPush {
  ProjectId project;
  std::string repository, branch, commit;  // as in Push
  std::optional<Source> source;            // nothing: the branch was deleted
  codec::Signed registration;
  PeerId host;  // on whose disk the repository is
  static constexpr auto fields() {
    using R = AcceptPush;
    return std::tuple{
        codec::field("project", &R::project), codec::field("repository", &R::repository),
        codec::field("branch", &R::branch),   codec::field("commit", &R::commit),
        codec::field("source", &R::source),   codec::field("registration", &R::registration),
        codec::field("host", &R::host)};
  }
};
// A lease: to be taken (after `fence` takes), given back, or published under.
struct LeaseOf {
  JobId job;
  std::uint64_t fence = 0;
  PeerId monkey;
  static constexpr auto fields() {
    return std::tuple{codec::field("job", &LeaseOf::job), codec::field("fence", &LeaseOf::fence),
                      codec::field("monkey", &LeaseOf::monkey)};
  }
};
struct EndJob {
  FinishJob::Request end;
  PeerId monkey;
  static constexpr auto fields() {
    return std::tuple{codec::field("end", &EndJob::end), codec::field("monkey", &EndJob::monkey)};
  }
};
// Good only from the leader of that term: another may have renewed the lease since.
struct EndLease {
  JobId job;
  std::uint64_t fence = 0, term = 0;
  std::optional<std::uint64_t> log_bytes;
  static constexpr auto fields() {
    return std::tuple{codec::field("job", &EndLease::job), codec::field("fence", &EndLease::fence),
                      codec::field("term", &EndLease::term),
                      codec::field("log_bytes", &EndLease::log_bytes)};
  }
};
struct ClaimHost {
  ProjectId project;
  PeerId host;
  std::optional<PeerId> instead_of;
  static constexpr auto fields() {
    return std::tuple{codec::field("project", &ClaimHost::project),
                      codec::field("host", &ClaimHost::host),
                      codec::field("instead_of", &ClaimHost::instead_of)};
  }
};
struct NumberNext {
  ProjectId project;
  std::string branch;
  static constexpr auto fields() {
    return std::tuple{codec::field("project", &NumberNext::project),
                      codec::field("branch", &NumberNext::branch)};
  }
};

// One of them is there, besides the time.
struct JobsCommand {
  std::int64_t now_unix_ms = 0;
  // Who came to lead wants to know its term, and all that was decided before.
  std::optional<bool> lead = std::nullopt;
  std::optional<AcceptPush> push = std::nullopt;
  std::optional<LeaseOf> take = std::nullopt, give_back = std::nullopt, publish = std::nullopt;
  std::optional<EndJob> finish = std::nullopt;
  std::optional<EndLease> expire = std::nullopt;
  std::optional<CancelOrder> cancel = std::nullopt;
  std::optional<RetryOrder> retry = std::nullopt;
  std::optional<NumberNext> number = std::nullopt;
  std::optional<ClaimHost> host = std::nullopt;
  std::optional<BranchRecord> import_branch = std::nullopt;
  std::optional<JobRecord> import_job = std::nullopt;
  static constexpr auto fields() {
    using R = JobsCommand;
    return std::tuple{codec::field("now", &R::now_unix_ms),
                      codec::field("lead", &R::lead),
                      codec::field("push", &R::push),
                      codec::field("take", &R::take),
                      codec::field("give_back", &R::give_back),
                      codec::field("publish", &R::publish),
                      codec::field("finish", &R::finish),
                      codec::field("expire", &R::expire),
                      codec::field("cancel", &R::cancel),
                      codec::field("retry", &R::retry),
                      codec::field("number", &R::number),
                      codec::field("host", &R::host),
                      codec::field("import_branch", &R::import_branch),
                      codec::field("import_job", &R::import_job)};
  }
};

struct JobsAnswer {
  std::uint64_t code = 0;  // ErrorCode; 0: done
  std::string message;
  bool changed = false;  // false: it was so already
  std::uint64_t term = 0;
  // Of a push: its job (if any), its seq, and the words for who pushed. Of an order: the job as it
  // is now. Of a number: the seq.
  std::optional<JobId> job;
  std::uint64_t seq = 0;
  std::string note;
  std::optional<JobStatus> status;
  static constexpr auto fields() {
    using R = JobsAnswer;
    return std::tuple{codec::field("code", &R::code),       codec::field("message", &R::message),
                      codec::field("changed", &R::changed), codec::field("term", &R::term),
                      codec::field("job", &R::job),         codec::field("seq", &R::seq),
                      codec::field("note", &R::note),       codec::field("status", &R::status)};
  }
  Status status_code() const;
};

class Machine final : public consensus::StateMachine {
 public:
  // Behind a stamp (consensus/stamp.h).
  Bytes apply(BytesView stamped) override;
  Bytes snapshot() const override;
  Status restore(BytesView snapshot) override;

  const Jobs& jobs() const { return jobs_; }
  void reset() { jobs_ = Jobs(); }
  // Told of each change after it was made, and of a restored state with nothing.
  void on_change(std::function<void(const Change&)> handler) { on_change_ = std::move(handler); }

 private:
  Result<Change> decide(const JobsCommand& command, std::uint64_t term, JobsAnswer& answer) const;
  Result<Change> decide(const AcceptPush& push, std::int64_t now_unix_ms, JobsAnswer& answer) const;

  Jobs jobs_;
  std::function<void(const Change&)> on_change_;
};

}  // namespace tau::patrick
