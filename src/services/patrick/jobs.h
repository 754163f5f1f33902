// What patrick decides: which pushes become jobs, who builds them, how they end. A pure state
// machine: no disk, no network, no clock; the same questions in the same order give the same
// answers on every node (machine.h puts it under a consensus group).
//
// Every decision is made in two steps. push(), take(), finish() … look, and return the Change that
// they would make; apply() makes it. What time is, only the leader of the group knows: it says when
// a lease is over (lease_book.h), and wall clocks are in the commands.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/time.h"
#include "services/patrick/api.h"
#include "services/patrick/provider.h"

namespace tau::patrick {

// The branch that other branches borrow from: see Jobs.
inline constexpr std::string_view kMainBranch = "main";
inline constexpr std::size_t kBranchBytesMax = 128;  // as in a deployment
// A monkey renews every few seconds; one that died is noticed before its user goes for coffee. What
// a node's configuration says instead is `patrick.lease`.
inline constexpr Duration kLease = std::chrono::seconds(10);
// A job that outlives so many monkeys is what kills them.
inline constexpr std::uint64_t kTakesMax = 5;
// Each branch can have one waiting job and a record of a few hundred bytes.
inline constexpr std::size_t kBranchesMax = 500;
// What `tau query builds` can page through; older ones that have ended are dropped with their logs.
inline constexpr std::size_t kJobsKept = 100;
// Bounds of the whole state: a snapshot is one message between nodes, and takes the loop some tens
// of milliseconds. About 30,000 jobs: beyond, the oldest of all projects that have ended go.
inline constexpr std::size_t kJobBytesMax = 40u << 20;
inline constexpr std::size_t kBranchBytesInAllMax = 40u << 20;
inline constexpr std::size_t kHostedMax = 200'000;  // projects, of a hundred bytes each

// Errors: invalid_argument. Stricter than git: what is a plain branch name everywhere.
Status check_branch(std::string_view branch);
bool is_commit(std::string_view text);  // 40 lower-case hex digits

// A piece of a job's log: all that its monkey wrote under one lease, then a line of patrick's own.
// Disk format.
struct LogPart {
  // 0: what an older program kept of the job; absent: there is the note alone.
  std::optional<std::uint64_t> fence;
  std::optional<std::uint64_t> bytes;  // that the monkey wrote; absent: as much as there is
  std::string note;
  static constexpr auto fields() {
    return std::tuple{codec::field("fence", &LogPart::fence),
                      codec::field("bytes", &LogPart::bytes), codec::field("note", &LogPart::note)};
  }
};

// A job and all that patrick knows of it. Disk format.
struct JobRecord {
  Job job;
  JobState state = JobState::waiting;
  std::uint64_t order = 0;           // counts all jobs of this patrick
  std::vector<std::string> missing;  // repositories without a commit: nobody may take it yet
  std::uint64_t fence = 0;           // counts the takes
  std::optional<PeerId> monkey;
  std::optional<codec::Cid> deployment;
  std::string error;
  std::int64_t started_unix_ms = 0, ended_unix_ms = 0;
  // The fields below came later: absent in older records.
  std::optional<bool> publishing;  // true: its monkey said so under the lease that it has
  std::optional<JobId> retry_of, retried_by;
  std::optional<std::vector<LogPart>> log;  // what is written now, under the last fence, follows
  static constexpr auto fields() {
    using R = JobRecord;
    return std::tuple{codec::field("job", &R::job),
                      codec::field("state", &R::state),
                      codec::field("order", &R::order),
                      codec::field("missing", &R::missing),
                      codec::field("fence", &R::fence),
                      codec::field("monkey", &R::monkey),
                      codec::field("deployment", &R::deployment),
                      codec::field("error", &R::error),
                      codec::field("started", &R::started_unix_ms),
                      codec::field("ended", &R::ended_unix_ms),
                      codec::field("publishing", &R::publishing),
                      codec::field("retry_of", &R::retry_of),
                      codec::field("retried_by", &R::retried_by),
                      codec::field("log", &R::log)};
  }
  bool ended() const { return state != JobState::waiting && state != JobState::building; }
  JobStatus status() const;
  void note(std::string line);  // its log says so
  // And that what the monkey of this fence wrote is over, before that line.
  void close_log(std::optional<std::uint64_t> bytes, std::string line);
};

// The source vector of one (project, branch), and the last seq given to it. It stays when the
// branch is deleted, because a seq never comes twice. Disk format.
struct BranchRecord {
  ProjectId project;
  std::string branch;
  std::uint64_t seq = 0;
  std::map<std::string, Source> sources;  // by repository name
  static constexpr auto fields() {
    using R = BranchRecord;
    return std::tuple{codec::field("project", &R::project), codec::field("branch", &R::branch),
                      codec::field("seq", &R::seq), codec::field("sources", &R::sources)};
  }
};

// On which node's disk the repositories of a project are, of those that name the provider `local`.
// Disk format.
struct HostRecord {
  ProjectId project;
  PeerId host;
  static constexpr auto fields() {
    return std::tuple{codec::field("project", &HostRecord::project),
                      codec::field("host", &HostRecord::host)};
  }
};

struct Change {
  std::optional<BranchRecord> branch;
  std::vector<JobRecord> jobs;  // new or changed
  std::vector<JobId> dropped;
  std::optional<HostRecord> host = std::nullopt;
  bool empty() const { return !branch && jobs.empty() && dropped.empty() && !host; }
};

// A branch builds a whole vector. A repository that lacks the branch lends its main, so that a
// branch made in one repository alone can be previewed; where main is missing, too, the job waits
// and says for what. When a lent main moves, the branches that borrowed it are not built again.
//
// At most one job of a (project, branch) waits: a newer push supersedes it. One that is being built
// goes on, and tns refuses it if a higher seq is there first.
class Jobs {
 public:
  // All of it, in an order that depends on nothing else.
  struct State {
    std::vector<BranchRecord> branches;
    std::vector<JobRecord> jobs;
    std::vector<HostRecord> hosts;
    std::uint64_t next_order = 1;
    static constexpr auto fields() {
      return std::tuple{codec::field("branches", &State::branches),
                        codec::field("jobs", &State::jobs), codec::field("hosts", &State::hosts),
                        codec::field("next_order", &State::next_order)};
    }
  };
  State state() const;
  void restore(State state);

  struct Pushed {
    Change change;
    Accepted accepted;
  };
  // `source`: nothing for a deleted branch. A push that is known already changes nothing. Errors:
  // invalid_argument (branch name), not_found (the registration lacks the repository),
  // resource_exhausted (branches).
  Result<Pushed> push(const Push& push, const std::optional<Source>& source,
                      const auth::Registration& registration,
                      const codec::Signed& signed_registration, std::int64_t now_unix_ms) const;
  // The oldest job that may be built, which is the one that take() gives. Null: there is none.
  const JobRecord* next() const;
  // The job as it waits after `fence` takes. Errors: not_found, aborted (it is another's, or over).
  Result<Change> take(const JobId& job, std::uint64_t fence, const PeerId& monkey,
                      std::int64_t now_unix_ms) const;
  // The job never reached who took it: it waits again as if nothing had been. An empty change when
  // the lease is over already.
  Change give_back(const JobId& job, const PeerId& monkey, std::uint64_t fence) const;
  // Errors: not_found, aborted.
  Status check_lease(const JobId& job, const PeerId& monkey, std::uint64_t fence) const;
  // Its monkey is about to publish. Errors: not_found, aborted.
  Result<Change> begin_publishing(const JobId& job, const PeerId& monkey,
                                  std::uint64_t fence) const;
  // The same end told again: an empty change. Errors: not_found, aborted.
  Result<Change> finish(const FinishJob::Request& end, const PeerId& monkey,
                        std::int64_t now_unix_ms) const;
  // The lease is over: the job waits again, or ends. An empty change when it has ended otherwise.
  Change expire(const JobId& job, std::uint64_t fence, std::optional<std::uint64_t> log_bytes,
                std::int64_t now_unix_ms) const;
  // Cancelled already: an empty change. Errors: not_found, failed_precondition.
  Result<Change> cancel(const JobId& job, std::int64_t now_unix_ms) const;
  // Retried already: an empty change, and the job that came of it. Errors: not_found,
  // failed_precondition.
  struct Retried {
    Change change;
    JobId job;
  };
  Result<Retried> retry(const JobId& job, bool clean, std::int64_t now_unix_ms) const;
  // The next seq of a branch, for something else than a push. Errors: not_found.
  Result<Change> number(const ProjectId& project, const std::string& branch) const;
  // `host` has the project's repositories from now on: nobody had, or `instead_of` did. Hosted
  // there already: an empty change. Errors: failed_precondition (another has them).
  Result<Change> host(const ProjectId& project, const PeerId& host,
                      const std::optional<PeerId>& instead_of) const;
  // Of a patrick that decided alone, as its disk kept it; what is known stays.
  Change import(const BranchRecord& branch) const;
  Change import(const JobRecord& job) const;

  void apply(const Change& change);

  const JobRecord* find(const JobId& job) const;
  std::vector<JobStatus> list(const ProjectId& project, std::size_t limit) const;  // newest first
  const BranchRecord* branch(const ProjectId& project, const std::string& name) const;
  std::vector<std::string> branches_with(const ProjectId& project,
                                         const std::string& repository) const;
  std::vector<const JobRecord*> building() const;
  const PeerId* host_of(const ProjectId& project) const;  // null: nobody's yet
  std::size_t size() const { return jobs_.size(); }

 private:
  using BranchKey = std::pair<ProjectId, std::string>;
  using Place = std::pair<std::uint64_t, JobId>;  // by order

  const JobRecord* waiting_of(const BranchKey& key) const;
  const JobRecord* newest_of(const BranchKey& key) const;
  std::vector<std::string> fill(Job& job, const BranchRecord& branch,
                                const auth::Registration& registration) const;
  void complete_borrowers(const BranchRecord& main, Change& change) const;
  void drop_old(const ProjectId& project, Change& change) const;
  void put(const BranchRecord& branch);
  void erase(const JobId& job);

  std::map<BranchKey, BranchRecord> branches_;
  std::map<JobId, JobRecord> jobs_;
  std::map<ProjectId, PeerId> hosts_;
  std::uint64_t next_order_ = 1;
  // Derived from those.
  std::map<ProjectId, std::set<Place>> by_project_;
  std::set<Place> waiting_, building_, ended_;
  std::size_t branch_bytes_ = 0, job_bytes_ = 0;
};

}  // namespace tau::patrick
