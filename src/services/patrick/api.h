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
  static constexpr auto fields() {
    return std::tuple{codec::field("id", &Job::id),
                      codec::field("project", &Job::project),
                      codec::field("branch", &Job::branch),
                      codec::field("seq", &Job::seq),
                      codec::field("sources", &Job::sources),
                      codec::field("registration", &Job::registration),
                      codec::field("accepted", &Job::accepted_unix_ms)};
  }
};

enum class JobState : std::uint8_t {
  waiting = 1,
  building = 2,
  succeeded = 3,
  failed = 4,
  superseded = 5
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
                      codec::field("ended", &JobStatus::ended_unix_ms)};
  }
};

inline constexpr std::string_view kRole = "patrick";
inline constexpr std::string_view kProtocol = "/tau/patrick/1";

// Waits up to wait_ms for a job. The lease ends lease_ms after the last RenewLease.
struct TakeJob {
  static constexpr std::string_view kName = "take_job";
  static constexpr command::Callers kCallers = command::callers("monkey");
  static constexpr Duration kDeadline = std::chrono::seconds(35);
  struct Request {
    std::uint32_t wait_ms = 0;  // at most 30,000
    static constexpr auto fields() { return std::tuple{codec::field("wait", &Request::wait_ms)}; }
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

// Errors: aborted (the lease is another's now, or the job was superseded: stop building).
struct RenewLease {
  static constexpr std::string_view kName = "renew_lease";
  static constexpr command::Callers kCallers = command::callers("monkey");
  static constexpr Duration kDeadline = std::chrono::seconds(5);
  struct Request {
    JobId job;
    std::uint64_t fence = 0;
    static constexpr auto fields() {
      return std::tuple{codec::field("job", &Request::job), codec::field("fence", &Request::fence)};
    }
  };
  using Response = command::Empty;
};

// Appends to the build log. At most 64 KiB a call and 4 MiB a job; beyond that the log ends with a
// line that says so.
struct AppendLog {
  static constexpr std::string_view kName = "append_log";
  static constexpr command::Callers kCallers = command::callers("monkey");
  static constexpr Duration kDeadline = std::chrono::seconds(5);
  struct Request {
    JobId job;
    std::uint64_t fence = 0;
    std::string text;
    static constexpr auto fields() {
      return std::tuple{codec::field("job", &Request::job), codec::field("fence", &Request::fence),
                        codec::field("text", &Request::text)};
    }
  };
  using Response = command::Empty;
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
    static constexpr auto fields() {
      return std::tuple{codec::field("job", &Request::job), codec::field("fence", &Request::fence),
                        codec::field("deployment", &Request::deployment),
                        codec::field("error", &Request::error)};
    }
  };
  using Response = command::Empty;
};

// Newest first.
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
    static constexpr auto fields() { return std::tuple{codec::field("jobs", &Response::jobs)}; }
  };
};

// Waits up to wait_ms for the job to leave `unless_state`. Errors: not_found.
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
    static constexpr auto fields() { return std::tuple{codec::field("job", &Response::job)}; }
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

// Where the local provider's repositories are reached: "http://127.0.0.1:1422/git".
struct GitBase {
  static constexpr std::string_view kName = "git_base";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(5);
  using Request = command::Empty;
  struct Response {
    std::string url;
    static constexpr auto fields() { return std::tuple{codec::field("url", &Response::url)}; }
  };
};

using Commands =
    command::List<TakeJob, RenewLease, AppendLog, FinishJob, ListJobs, GetJob, ReadLog, GitBase>;

}  // namespace tau::patrick
