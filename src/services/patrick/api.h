// patrick on the wire: pushes become jobs, monkeys take them.
//
// patrick keeps for each (project, branch) the source vector {repository -> commit} and gives each
// accepted push the next seq. A job builds a whole vector. A monkey holds a job by a lease with a
// fencing number; what comes with an older number is refused.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "codec/cid.h"
#include "command/command.h"
#include "p2p/node_signed.h"
#include "services/auth/api.h"

namespace tau::patrick {

struct Source {
  std::string commit;  // 40 hex digits
  codec::Cid archive;  // UnixFS file: the tar of that commit
  static constexpr auto fields() {
    return std::tuple{codec::field("commit", &Source::commit),
                      codec::field("archive", &Source::archive)};
  }
};

// What patrick signs.
struct Job {
  static constexpr std::string_view kPurpose = "tau job v1";
  JobId id;
  ProjectId project;
  std::string branch;
  std::uint64_t seq = 0;
  std::map<std::string, Source> sources;  // by repository name
  codec::Signed registration;             // auth::Registration, by the owner
  std::int64_t accepted_unix_ms = 0;
  // Counts the leases of this job. It goes with the receipt to tns, which refuses what was built
  // under an older one once a newer one has published. Absent: 0, as older nodes sign.
  std::optional<std::uint64_t> fence;
  std::optional<bool> clean;  // true: build everything, whatever the caches hold
  static constexpr auto fields() {
    return std::tuple{codec::field("id", &Job::id),
                      codec::field("project", &Job::project),
                      codec::field("branch", &Job::branch),
                      codec::field("seq", &Job::seq),
                      codec::field("sources", &Job::sources),
                      codec::field("registration", &Job::registration),
                      codec::field("accepted", &Job::accepted_unix_ms),
                      codec::field("fence", &Job::fence),
                      codec::field("clean", &Job::clean)};
  }
};

enum class JobState : std::uint8_t {
  waiting = 1,
  building = 2,
  succeeded = 3,
  failed = 4,
  superseded = 5,
  cancelled = 6
};
std::string_view name_of(JobState state);

struct JobStatus {
  JobId id;
  ProjectId project;
  std::string branch;
  std::uint64_t seq = 0;
  JobState state = JobState::waiting;
  std::map<std::string, std::string> commits;  // by repository name
  std::optional<PeerId> monkey;
  std::optional<codec::Cid> deployment;
  std::string error;  // why it failed; file:line:column where a file is to blame
  std::int64_t accepted_unix_ms = 0, started_unix_ms = 0, ended_unix_ms = 0;
  std::optional<std::uint64_t> fence;  // of the newest lease; absent: nobody took it yet
  std::optional<JobId> retry_of, retried_by;
  static constexpr auto fields() {
    return std::tuple{codec::field("id", &JobStatus::id),
                      codec::field("project", &JobStatus::project),
                      codec::field("branch", &JobStatus::branch),
                      codec::field("seq", &JobStatus::seq),
                      codec::field("state", &JobStatus::state),
                      codec::field("commits", &JobStatus::commits),
                      codec::field("monkey", &JobStatus::monkey),
                      codec::field("deployment", &JobStatus::deployment),
                      codec::field("error", &JobStatus::error),
                      codec::field("accepted", &JobStatus::accepted_unix_ms),
                      codec::field("started", &JobStatus::started_unix_ms),
                      codec::field("ended", &JobStatus::ended_unix_ms),
                      codec::field("fence", &JobStatus::fence),
                      codec::field("retry_of", &JobStatus::retry_of),
                      codec::field("retried_by", &JobStatus::retried_by)};
  }
};

inline constexpr std::string_view kRole = "patrick";
inline constexpr std::string_view kProtocol = "/tau/patrick/1";

// What a monkey offers while it waits for a job. Of all that wait, the best bid gets the job that
// comes (bids.h says which is best).
struct Bid {
  std::uint32_t slots = 1;         // jobs that it would begin at once
  std::uint32_t memory_mib = 0;    // free, of what its builds may use together
  std::uint32_t load_percent = 0;  // of its machine; 100: every core is busy
  std::vector<ProjectId> warm;     // projects that it built lately, at most kWarmMax
  static constexpr auto fields() {
    return std::tuple{codec::field("slots", &Bid::slots), codec::field("memory", &Bid::memory_mib),
                      codec::field("load", &Bid::load_percent), codec::field("warm", &Bid::warm)};
  }
};
inline constexpr std::size_t kWarmMax = 32;  // 2 KiB a poll
// Errors: invalid_argument.
Status check_bid(const Bid& bid);

// Waits up to wait_ms for a job; a new poll with a bid ends this monkey's older ones. The lease
// ends lease_ms after the last RenewLease. Jobs are given by the patrick that leads; a poll at
// another waits there, for the case that it comes to lead. Errors: resource_exhausted (64 polls
// wait already).
struct TakeJob {
  static constexpr std::string_view kName = "take_job";
  static constexpr command::Callers kCallers = command::callers("monkey");
  static constexpr Duration kDeadline = std::chrono::seconds(35);
  struct Request {
    std::uint32_t wait_ms = 0;              // at most 30,000
    std::optional<Bid> bid = std::nullopt;  // absent: one slot, and nothing known
    static constexpr auto fields() {
      return std::tuple{codec::field("wait", &Request::wait_ms),
                        codec::field("bid", &Request::bid)};
    }
  };
  struct Response {
    std::optional<p2p::NodeSigned> job;  // nothing: none came in time
    std::uint64_t fence = 0;
    std::uint32_t lease_ms = 0;
    static constexpr auto fields() {
      return std::tuple{codec::field("job", &Response::job),
                        codec::field("fence", &Response::fence),
                        codec::field("lease", &Response::lease_ms)};
    }
  };
};

// Renews at once; then waits up to wait_ms, so that a monkey learns in a moment that it lost the
// job. Errors: aborted (the lease is another's now, or the job was cancelled or superseded: stop
// building), unavailable (this patrick does not lead, or not any more: ask the others).
struct RenewLease {
  static constexpr std::string_view kName = "renew_lease";
  static constexpr command::Callers kCallers = command::callers("monkey");
  static constexpr Duration kDeadline = std::chrono::seconds(5);
  struct Request {
    JobId job;
    std::uint64_t fence = 0;
    std::optional<std::uint32_t> wait_ms = std::nullopt;  // at most 30,000
    // true: the build is done and is about to be published. Written down before the answer: from
    // now on the job can't be cancelled, until this lease ends.
    std::optional<bool> publishing = std::nullopt;
    static constexpr auto fields() {
      return std::tuple{codec::field("job", &Request::job), codec::field("fence", &Request::fence),
                        codec::field("wait", &Request::wait_ms),
                        codec::field("publishing", &Request::publishing)};
    }
  };
  using Response = command::Empty;
};

// Appends to the build log. At most 64 KiB a call and 4 MiB a lease; beyond that the log ends with
// a line that says so. Answered when a majority of the patricks have it. A patrick that has less
// than what comes before the piece takes nothing and says how much it has: the monkey goes on from
// there. Errors: aborted (as RenewLease), unavailable (not the leader, or too few patricks are
// there).
struct AppendLog {
  static constexpr std::string_view kName = "append_log";
  static constexpr command::Callers kCallers = command::callers("monkey");
  static constexpr Duration kDeadline = std::chrono::seconds(5);
  struct Request {
    JobId job;
    std::uint64_t fence = 0;
    std::string text;
    // Of the text, in what was written under this lease. Absent: it comes at the end.
    std::optional<std::uint64_t> offset = std::nullopt;
    static constexpr auto fields() {
      return std::tuple{codec::field("job", &Request::job), codec::field("fence", &Request::fence),
                        codec::field("text", &Request::text),
                        codec::field("offset", &Request::offset)};
    }
  };
  struct Response {
    std::optional<std::uint64_t> size;  // of what was written under this lease; where to go on
    static constexpr auto fields() { return std::tuple{codec::field("size", &Response::size)}; }
  };
};

// Ends a job, fsynced. Errors: aborted (an older fencing number).
struct FinishJob {
  static constexpr std::string_view kName = "finish_job";
  static constexpr command::Callers kCallers = command::callers("monkey");
  static constexpr Duration kDeadline = std::chrono::seconds(10);
  struct Request {
    JobId job;
    std::uint64_t fence = 0;
    std::optional<codec::Cid> deployment;  // nothing: it failed
    std::string error;
    std::optional<std::uint64_t> log_bytes = std::nullopt;  // that were written under this lease
    // true: it failed because tns has published a newer push of the branch already.
    std::optional<bool> overtaken = std::nullopt;
    static constexpr auto fields() {
      return std::tuple{codec::field("job", &Request::job), codec::field("fence", &Request::fence),
                        codec::field("deployment", &Request::deployment),
                        codec::field("error", &Request::error),
                        codec::field("log_bytes", &Request::log_bytes),
                        codec::field("overtaken", &Request::overtaken)};
    }
  };
  using Response = command::Empty;
};

// In answers of a patrick to which no majority answered: what it knew, which may be old.
struct Staleness {
  std::optional<std::uint64_t> age_ms;  // at most; absent: not known
  static constexpr auto fields() { return std::tuple{codec::field("age", &Staleness::age_ms)}; }
};

// Newest first. Everything that was acknowledged anywhere before the question is in it, unless it
// says that it is stale.
struct ListJobs {
  static constexpr std::string_view kName = "list_jobs";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(5);
  struct Request {
    ProjectId project;
    std::uint32_t limit = 20;  // at most 100
    static constexpr auto fields() {
      return std::tuple{codec::field("project", &Request::project),
                        codec::field("limit", &Request::limit)};
    }
  };
  struct Response {
    std::vector<JobStatus> jobs;
    std::optional<Staleness> stale = std::nullopt;
    static constexpr auto fields() {
      return std::tuple{codec::field("jobs", &Response::jobs),
                        codec::field("stale", &Response::stale)};
    }
  };
};

// Waits up to wait_ms for the job to leave `unless_state`. Errors: not_found, unavailable (this
// patrick does not know it, and no majority answers).
struct GetJob {
  static constexpr std::string_view kName = "get_job";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(35);
  struct Request {
    JobId job;
    std::optional<JobState> unless_state;
    std::uint32_t wait_ms = 0;  // at most 30,000
    static constexpr auto fields() {
      return std::tuple{codec::field("job", &Request::job),
                        codec::field("unless_state", &Request::unless_state),
                        codec::field("wait", &Request::wait_ms)};
    }
  };
  struct Response {
    JobStatus job;
    std::optional<Staleness> stale = std::nullopt;
    static constexpr auto fields() {
      return std::tuple{codec::field("job", &Response::job),
                        codec::field("stale", &Response::stale)};
    }
  };
};

// The build log from byte `offset` on, at most 64 KiB; waits up to wait_ms for more while the job
// goes on. Errors: not_found.
struct ReadLog {
  static constexpr std::string_view kName = "read_log";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(35);
  struct Request {
    JobId job;
    std::uint64_t offset = 0;
    std::uint32_t wait_ms = 0;  // at most 30,000
    static constexpr auto fields() {
      return std::tuple{codec::field("job", &Request::job),
                        codec::field("offset", &Request::offset),
                        codec::field("wait", &Request::wait_ms)};
    }
  };
  struct Response {
    std::string text;
    bool ended = false;  // nothing will follow
    static constexpr auto fields() {
      return std::tuple{codec::field("text", &Response::text),
                        codec::field("ended", &Response::ended)};
    }
  };
};

// What the owner of a project signs to have a job ended. An order is good for ten minutes before
// and after its time, and for one job: given again, it changes nothing more.
struct CancelOrder {
  static constexpr std::string_view kPurpose = "tau cancel job v1";
  JobId job;
  std::int64_t made_unix_ms = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("job", &CancelOrder::job),
                      codec::field("made", &CancelOrder::made_unix_ms)};
  }
};
// The same, to have it built once more.
struct RetryOrder {
  static constexpr std::string_view kPurpose = "tau retry job v1";
  JobId job;
  bool clean = false;  // without what caches hold
  std::int64_t made_unix_ms = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("job", &RetryOrder::job),
                      codec::field("clean", &RetryOrder::clean),
                      codec::field("made", &RetryOrder::made_unix_ms)};
  }
};

// And to have a branch serve an earlier deployment again: from the one where it stands, so that an
// owner who looked at something old moves nothing.
struct RollbackOrder {
  static constexpr std::string_view kPurpose = "tau rollback v1";
  ProjectId project;
  std::string branch;
  std::uint64_t from_seq = 0;  // of the pointer as it stands
  std::uint64_t to_seq = 0;    // of the version in tns's history
  codec::Cid deployment;       // that version's
  std::int64_t made_unix_ms = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("project", &RollbackOrder::project),
                      codec::field("branch", &RollbackOrder::branch),
                      codec::field("from", &RollbackOrder::from_seq),
                      codec::field("to", &RollbackOrder::to_seq),
                      codec::field("deployment", &RollbackOrder::deployment),
                      codec::field("made", &RollbackOrder::made_unix_ms)};
  }
};
// What patrick signs: the order, and the seq that it has among the pushes of its branch. tns moves
// the pointer by it. What was pushed before, and is still being built, comes too late then.
struct NumberedRollback {
  static constexpr std::string_view kPurpose = "tau numbered rollback v1";
  codec::Signed order;         // RollbackOrder, by the project's owner
  codec::Signed registration;  // auth::Registration, by the owner: whose key signs for the project
  std::uint64_t seq = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("order", &NumberedRollback::order),
                      codec::field("registration", &NumberedRollback::registration),
                      codec::field("seq", &NumberedRollback::seq)};
  }
};

// Ends a job that waits or is being built; its monkey is told at once. A job that is cancelled
// already: success. Errors: not_found, permission_denied (not signed by the project's owner, or
// too old), failed_precondition (it has ended otherwise, or is being published).
struct CancelJob {
  static constexpr std::string_view kName = "cancel_job";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(10);
  struct Request {
    codec::Signed order;  // CancelOrder, by the project's owner
    static constexpr auto fields() { return std::tuple{codec::field("order", &Request::order)}; }
  };
  struct Response {
    JobStatus job;
    static constexpr auto fields() { return std::tuple{codec::field("job", &Response::job)}; }
  };
};

// A new job with the sources of one that has ended, and the next seq of its branch. A job is
// retried once: told again, the answer is the same new job. Errors: as CancelJob's;
// failed_precondition also when a newer push of the branch is built or waits.
struct RetryJob {
  static constexpr std::string_view kName = "retry_job";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(10);
  struct Request {
    codec::Signed order;  // RetryOrder, by the project's owner
    static constexpr auto fields() { return std::tuple{codec::field("order", &Request::order)}; }
  };
  struct Response {
    JobStatus job;  // the new one
    static constexpr auto fields() { return std::tuple{codec::field("job", &Response::job)}; }
  };
};

// Gives a rollback the next seq of its branch (fsynced). Nothing moves by that alone. Errors:
// not_found (no such project, or nothing was pushed to the branch), permission_denied (not signed
// by the project's owner, or too old).
struct NumberRollback {
  static constexpr std::string_view kName = "number_rollback";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(5);
  struct Request {
    codec::Signed order;  // RollbackOrder, by the project's owner
    static constexpr auto fields() { return std::tuple{codec::field("order", &Request::order)}; }
  };
  struct Response {
    p2p::NodeSigned rollback;  // NumberedRollback
    static constexpr auto fields() {
      return std::tuple{codec::field("rollback", &Response::rollback)};
    }
  };
};

// Where the local provider's repositories are reached: "http://127.0.0.1:1422/git". They are on the
// disk of one patrick, the first that a project was pushed to; it is named when the project is.
// Errors: unavailable (that patrick is not there, or hosts nothing that can be reached).
struct GitBase {
  static constexpr std::string_view kName = "git_base";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(5);
  struct Request {
    std::optional<ProjectId> project = std::nullopt;  // absent: of the patrick that is asked
    static constexpr auto fields() {
      return std::tuple{codec::field("project", &Request::project)};
    }
  };
  struct Response {
    std::string url;
    static constexpr auto fields() { return std::tuple{codec::field("url", &Response::url)}; }
  };
};

// Between patricks: a piece of what a monkey wrote under a lease, in order; at most 64 KiB. One
// that has less takes nothing; the answer says how much it has.
struct CopyLog {
  static constexpr std::string_view kName = "copy_log";
  static constexpr command::Callers kCallers = command::callers(kRole);
  static constexpr Duration kDeadline = std::chrono::seconds(2);
  struct Request {
    JobId job;
    std::uint64_t fence = 0;
    std::uint64_t offset = 0;
    std::string text;
    static constexpr auto fields() {
      return std::tuple{codec::field("job", &Request::job), codec::field("fence", &Request::fence),
                        codec::field("offset", &Request::offset),
                        codec::field("text", &Request::text)};
    }
  };
  struct Response {
    std::uint64_t size = 0;
    static constexpr auto fields() { return std::tuple{codec::field("size", &Response::size)}; }
  };
};

// Between patricks: what one has of it, from `offset` on, at most 64 KiB.
struct LogPiece {
  static constexpr std::string_view kName = "log_piece";
  static constexpr command::Callers kCallers = command::callers(kRole);
  static constexpr Duration kDeadline = std::chrono::seconds(2);
  struct Request {
    JobId job;
    std::uint64_t fence = 0;
    std::uint64_t offset = 0;
    static constexpr auto fields() {
      return std::tuple{codec::field("job", &Request::job), codec::field("fence", &Request::fence),
                        codec::field("offset", &Request::offset)};
    }
  };
  struct Response {
    std::string text;
    static constexpr auto fields() { return std::tuple{codec::field("text", &Response::text)}; }
  };
};

// Between patricks: fetches the archive of a commit from who asks, and answers when it is on the
// disk, so that what was pushed can be built without the patrick that took it. Errors: those of the
// content exchange.
struct HoldSource {
  static constexpr std::string_view kName = "hold_source";
  static constexpr command::Callers kCallers = command::callers(kRole);
  static constexpr Duration kDeadline = std::chrono::seconds(30);
  struct Request {
    codec::Cid archive;
    static constexpr auto fields() {
      return std::tuple{codec::field("archive", &Request::archive)};
    }
  };
  using Response = command::Empty;
};

using Commands =
    command::List<TakeJob, RenewLease, AppendLog, FinishJob, ListJobs, GetJob, ReadLog, GitBase,
                  CancelJob, RetryJob, NumberRollback, CopyLog, LogPiece, HoldSource>;

}  // namespace tau::patrick
