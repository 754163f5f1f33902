#include "services/patrick/jobs.h"

#include <algorithm>

#include "codec/multibase.h"

namespace tau::patrick {
namespace {

// Short enough to type, and the same for the same (project, branch, seq).
JobId job_id_of(const ProjectId& project, const std::string& branch, std::uint64_t seq) {
  const auto digest =
      crypto::sha256(as_bytes(project.str() + "\n" + branch + "\n" + std::to_string(seq)));
  return JobId(codec::base32_encode(BytesView(digest).first(10)));
}

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names) out += (out.empty() ? "\"" : ", \"") + name + "\"";
  return out;
}

std::string waiting_note(const std::vector<std::string>& missing) {
  return "waiting for the first push of repository " + joined(missing);
}

std::unexpected<Error> not_found(const JobId& job) {
  return fail(ErrorCode::not_found, "no job " + job.str() + " is known here; the newest " +
                                        std::to_string(kJobsKept) + " of a project are kept");
}

}  // namespace

Status check_branch(std::string_view branch) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '/';
  };
  const bool good = !branch.empty() && branch.size() <= kBranchBytesMax &&
                    std::ranges::all_of(branch, plain) && !branch.starts_with('/') &&
                    !branch.ends_with('/') && !branch.starts_with('-') &&
                    !branch.starts_with('.') && !branch.ends_with('.') &&
                    !branch.ends_with(".lock") && branch.find("..") == branch.npos &&
                    branch.find("//") == branch.npos && branch.find("/.") == branch.npos;
  if (good) return {};
  return fail(ErrorCode::invalid_argument,
              "branch name \"" + std::string(branch.substr(0, kBranchBytesMax)) +
                  "\": use 1 to 128 of a-z, A-Z, 0-9, '-', '_', '.' and '/'");
}

bool is_commit(std::string_view text) {
  return text.size() == 40 && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

JobStatus JobRecord::status() const {
  JobStatus s;
  s.id = job.id;
  s.project = job.project;
  s.branch = job.branch;
  s.seq = job.seq;
  s.state = state;
  for (const auto& [name, source] : job.sources) s.commits.emplace(name, source.commit);
  s.monkey = monkey;
  s.deployment = deployment;
  s.error = error;
  if (state == JobState::waiting && !missing.empty()) s.error = waiting_note(missing);
  s.accepted_unix_ms = job.accepted_unix_ms;
  s.started_unix_ms = started_unix_ms;
  s.ended_unix_ms = ended_unix_ms;
  if (fence > 0) s.fence = fence;
  s.retry_of = retry_of;
  s.retried_by = retried_by;
  return s;
}

void Jobs::restore(BranchRecord branch) {
  BranchKey key{branch.project, branch.branch};
  branches_.insert_or_assign(std::move(key), std::move(branch));
}

void Jobs::restore(JobRecord job, TimePoint now) {
  Change change;
  change.jobs.push_back(std::move(job));
  apply(change, now);
}

const JobRecord* Jobs::find(const JobId& job) const {
  const auto it = jobs_.find(job);
  return it == jobs_.end() ? nullptr : &it->second;
}

const BranchRecord* Jobs::branch(const ProjectId& project, const std::string& name) const {
  const auto it = branches_.find({project, name});
  return it == branches_.end() ? nullptr : &it->second;
}

std::vector<std::string> Jobs::branches_with(const ProjectId& project,
                                             const std::string& repository) const {
  std::vector<std::string> found;
  for (auto it = branches_.lower_bound({project, ""});
       it != branches_.end() && it->first.first == project; ++it)
    if (it->second.sources.contains(repository)) found.push_back(it->first.second);
  return found;
}

std::vector<JobStatus> Jobs::list(const ProjectId& project, std::size_t limit) const {
  std::vector<JobStatus> found;
  const auto it = by_project_.find(project);
  if (it == by_project_.end()) return found;
  for (auto place = it->second.rbegin(); place != it->second.rend() && found.size() < limit;
       ++place)
    found.push_back(jobs_.at(place->second).status());
  return found;
}

const JobRecord* Jobs::waiting_of(const BranchKey& key) const {
  for (const auto& [order, id] : waiting_) {
    const JobRecord& record = jobs_.at(id);
    if (record.job.project == key.first && record.job.branch == key.second) return &record;
  }
  return nullptr;
}

const JobRecord* Jobs::newest_of(const BranchKey& key) const {
  const auto it = by_project_.find(key.first);
  if (it == by_project_.end()) return nullptr;
  for (auto place = it->second.rbegin(); place != it->second.rend(); ++place) {
    const JobRecord& record = jobs_.at(place->second);
    if (record.job.branch == key.second) return &record;
  }
  return nullptr;
}

// The sources of every repository; gives the names of those that have none.
std::vector<std::string> Jobs::fill(Job& job, const BranchRecord& own,
                                    const auth::Registration& registration) const {
  const BranchRecord* main =
      own.branch == kMainBranch ? nullptr : branch(own.project, std::string(kMainBranch));
  std::vector<std::string> missing;
  job.sources.clear();
  for (const auto& repository : registration.repositories) {
    if (const auto it = own.sources.find(repository.name); it != own.sources.end()) {
      job.sources.insert(*it);
    } else if (main && main->sources.contains(repository.name)) {
      job.sources.emplace(repository.name, main->sources.at(repository.name));
    } else {
      missing.push_back(repository.name);
    }
  }
  return missing;
}

// Jobs of other branches that waited for a first push to main.
void Jobs::complete_borrowers(const BranchRecord& main, Change& change) const {
  for (const auto& [order, id] : waiting_) {
    const JobRecord& waiting = jobs_.at(id);
    if (waiting.missing.empty() || waiting.job.project != main.project ||
        waiting.job.branch == main.branch)
      continue;
    JobRecord record = waiting;
    std::erase_if(record.missing, [&](const std::string& name) {
      const auto it = main.sources.find(name);
      if (it == main.sources.end()) return false;
      record.job.sources.insert_or_assign(name, it->second);
      return true;
    });
    if (record.missing.size() == waiting.missing.size()) continue;
    change.jobs.push_back(std::move(record));
  }
}

void Jobs::drop_old(const ProjectId& project, Change& change) const {
  const auto it = by_project_.find(project);
  if (it == by_project_.end() || it->second.size() < kJobsKept) return;
  std::size_t over = it->second.size() + 1 - kJobsKept;
  for (const auto& [order, id] : it->second) {
    if (over == 0) break;
    if (!jobs_.at(id).ended()) continue;
    change.dropped.push_back(id);
    --over;
  }
}

Result<Jobs::Pushed> Jobs::push(const Push& push, const std::optional<Source>& source,
                                const auth::Registration& registration,
                                const codec::Signed& signed_registration,
                                std::int64_t now_unix_ms) const {
  TRY_STATUS(check_branch(push.branch));
  const bool registered = std::ranges::any_of(
      registration.repositories, [&](const auto& r) { return r.name == push.repository; });
  if (!registered)
    return fail(ErrorCode::not_found,
                "project " + push.project.str() + " has no repository \"" + push.repository + "\"");
  const BranchKey key{push.project, push.branch};
  BranchRecord own{push.project, push.branch, 0, {}};
  if (const auto it = branches_.find(key); it != branches_.end()) {
    own = it->second;
  } else {
    std::size_t count = 0;
    for (auto b = branches_.lower_bound({push.project, ""});
         b != branches_.end() && b->first.first == push.project; ++b)
      ++count;
    if (count >= kBranchesMax)
      return fail(ErrorCode::resource_exhausted,
                  "project " + push.project.str() + " has had " + std::to_string(kBranchesMax) +
                      " branches, the most that are kept; push to one of them");
  }

  Pushed out;
  if (!source) {
    if (own.sources.erase(push.repository) == 0) return out;
    out.accepted.seq = own.seq;
    out.accepted.note = "branch " + push.branch + " is gone; what it deployed stays";
    out.change.branch = std::move(own);
    return out;
  }
  const auto known = own.sources.find(push.repository);
  if (known != own.sources.end() && known->second.commit == source->commit) {
    if (const JobRecord* newest = newest_of(key))
      out.accepted = {newest->job.id, newest->job.seq, "already known"};
    return out;
  }
  own.sources.insert_or_assign(push.repository, *source);
  ++own.seq;

  JobRecord record;
  record.job.project = push.project;
  record.job.branch = push.branch;
  record.job.seq = own.seq;
  record.job.id = job_id_of(push.project, push.branch, own.seq);
  record.job.registration = signed_registration;
  record.job.accepted_unix_ms = now_unix_ms;
  record.order = next_order_;
  record.missing = fill(record.job, own, registration);

  out.accepted.job = record.job.id;
  out.accepted.seq = own.seq;
  out.accepted.note = record.missing.empty()
                          ? "build " + std::to_string(own.seq) + " of branch " + push.branch +
                                " accepted: job " + record.job.id.str()
                          : "job " + record.job.id.str() + " is " + waiting_note(record.missing);
  drop_old(push.project, out.change);
  if (const JobRecord* older = waiting_of(key)) {
    JobRecord superseded = *older;
    superseded.state = JobState::superseded;
    superseded.error = "job " + record.job.id.str() + " builds a newer push of this branch";
    superseded.ended_unix_ms = now_unix_ms;
    out.change.jobs.push_back(std::move(superseded));
  }
  if (push.branch == kMainBranch) complete_borrowers(own, out.change);
  out.change.jobs.push_back(std::move(record));
  out.change.branch = std::move(own);
  return out;
}

const JobRecord* Jobs::next() const {
  for (const auto& [order, id] : waiting_) {
    const JobRecord& waiting = jobs_.at(id);
    if (waiting.missing.empty()) return &waiting;
  }
  return nullptr;
}

Change Jobs::take(const PeerId& monkey, std::int64_t now_unix_ms) const {
  Change change;
  const JobRecord* waiting = next();
  if (!waiting) return change;
  JobRecord record = *waiting;
  record.state = JobState::building;
  record.monkey = monkey;
  record.job.fence = ++record.fence;
  record.started_unix_ms = now_unix_ms;
  change.jobs.push_back(std::move(record));
  return change;
}

// The fence stays: nobody ever gets the same one.
Change Jobs::give_back(const JobId& job, const PeerId& monkey, std::uint64_t fence) const {
  Change change;
  if (!check_lease(job, monkey, fence)) return change;
  JobRecord record = jobs_.at(job);
  record.state = JobState::waiting;
  record.monkey.reset();
  record.started_unix_ms = 0;
  change.jobs.push_back(std::move(record));
  return change;
}

Status Jobs::check_lease(const JobId& job, const PeerId& monkey, std::uint64_t fence) const {
  const JobRecord* record = find(job);
  if (!record) return not_found(job);
  if (record->state == JobState::building && record->fence == fence && record->monkey == monkey)
    return {};
  return fail(ErrorCode::aborted, "job " + job.str() + " is " +
                                      std::string(name_of(record->state)) + " with lease " +
                                      std::to_string(record->fence) + ", not yours (" +
                                      std::to_string(fence) + "): stop building it");
}

Status Jobs::renew(const JobId& job, const PeerId& monkey, std::uint64_t fence, TimePoint now) {
  TRY_STATUS(check_lease(job, monkey, fence));
  leases_.insert_or_assign(job, now + lease_);
  return {};
}

Result<Change> Jobs::begin_publishing(const JobId& job, const PeerId& monkey,
                                      std::uint64_t fence) const {
  TRY_STATUS(check_lease(job, monkey, fence));
  Change change;
  JobRecord record = jobs_.at(job);
  if (record.publishing == true) return change;
  record.publishing = true;
  change.jobs.push_back(std::move(record));
  return change;
}

Result<Change> Jobs::finish(const FinishJob::Request& end, const PeerId& monkey,
                            std::int64_t now_unix_ms) const {
  const JobRecord* known = find(end.job);
  if (!known) return not_found(end.job);
  if (known->ended() && known->fence == end.fence && known->monkey == monkey &&
      known->deployment == end.deployment && known->state != JobState::superseded &&
      known->state != JobState::cancelled)
    return Change{};
  TRY_STATUS(check_lease(end.job, monkey, end.fence));
  JobRecord record = *known;
  record.state = end.deployment ? JobState::succeeded : JobState::failed;
  record.deployment = end.deployment;
  record.error = end.error;
  if (!end.deployment && record.error.empty()) record.error = "the build failed without a reason";
  const JobRecord* newest = newest_of({record.job.project, record.job.branch});
  // Two pushes may be built at the same time, and the newer be live first: nothing is wrong.
  if (!end.deployment && newest->job.seq > record.job.seq &&
      newest->state == JobState::succeeded) {
    record.state = JobState::superseded;
    record.error = "job " + newest->job.id.str() + " of a newer push of this branch was live first";
  }
  record.ended_unix_ms = now_unix_ms;
  Change change;
  change.jobs.push_back(std::move(record));
  return change;
}

Change Jobs::expire(TimePoint now, std::int64_t now_unix_ms) const {
  Change change;
  for (const auto& [id, until] : leases_) {
    if (until > now) continue;
    JobRecord record = jobs_.at(id);
    record.publishing.reset();
    const JobRecord* newest = newest_of({record.job.project, record.job.branch});
    if (newest && newest->job.seq > record.job.seq && newest->state != JobState::failed &&
        newest->state != JobState::cancelled) {
      record.state = JobState::superseded;
      record.error = "its monkey was lost, and job " + newest->job.id.str() +
                     " builds a newer push of this branch";
      record.ended_unix_ms = now_unix_ms;
    } else if (record.fence >= kTakesMax) {
      record.state = JobState::failed;
      record.error = std::to_string(record.fence) +
                     " monkeys took this job and were lost while building it; it is given up";
      record.ended_unix_ms = now_unix_ms;
    } else {
      record.state = JobState::waiting;
    }
    change.jobs.push_back(std::move(record));
  }
  return change;
}

Result<Change> Jobs::cancel(const JobId& job, std::int64_t now_unix_ms) const {
  const JobRecord* known = find(job);
  if (!known) return not_found(job);
  Change change;
  if (known->state == JobState::cancelled) return change;
  if (known->ended())
    return fail(ErrorCode::failed_precondition,
                "job " + job.str() + " has ended already: " + std::string(name_of(known->state)));
  if (known->publishing == true)
    return fail(ErrorCode::failed_precondition,
                "job " + job.str() + " is built and is being published: too late to cancel it");
  JobRecord record = *known;
  record.state = JobState::cancelled;
  record.error = "cancelled by the project's owner";
  record.ended_unix_ms = now_unix_ms;
  change.jobs.push_back(std::move(record));
  return change;
}

Result<Jobs::Retried> Jobs::retry(const JobId& job, bool clean, std::int64_t now_unix_ms) const {
  const JobRecord* known = find(job);
  if (!known) return not_found(job);
  if (known->retried_by && find(*known->retried_by)) return Retried{{}, *known->retried_by};
  if (!known->ended())
    return fail(ErrorCode::failed_precondition, "job " + job.str() + " is " +
                                                    std::string(name_of(known->state)) +
                                                    ": there is nothing to retry yet");
  const ProjectId& project = known->job.project;
  for (const auto& [order, id] : by_project_.at(project)) {
    const JobRecord& other = jobs_.at(id);
    const bool newer = other.job.branch == known->job.branch && other.job.seq > known->job.seq;
    if (newer && (!other.ended() || other.state == JobState::succeeded))
      return fail(ErrorCode::failed_precondition,
                  "job " + job.str() + " is of an older push: job " + id.str() + " of the same " +
                      "branch is " + std::string(name_of(other.state)) +
                      "; to go back, push the older commit");
  }
  BranchRecord own = branches_.at({project, known->job.branch});
  ++own.seq;
  JobRecord old = *known, fresh;
  fresh.job = known->job;
  fresh.job.id = job_id_of(project, known->job.branch, own.seq);
  fresh.job.seq = own.seq;
  fresh.job.accepted_unix_ms = now_unix_ms;
  fresh.job.fence.reset();
  fresh.job.clean.reset();
  if (clean) fresh.job.clean = true;
  fresh.order = next_order_;
  fresh.missing = known->missing;
  fresh.retry_of = job;
  old.retried_by = fresh.job.id;
  Retried out;
  out.job = fresh.job.id;
  drop_old(project, out.change);
  std::erase(out.change.dropped, job);
  out.change.jobs.push_back(std::move(old));
  out.change.jobs.push_back(std::move(fresh));
  out.change.branch = std::move(own);
  return out;
}

std::optional<TimePoint> Jobs::next_expiry() const {
  std::optional<TimePoint> first;
  for (const auto& [id, until] : leases_)
    if (!first || until < *first) first = until;
  return first;
}

void Jobs::apply(const Change& change, TimePoint now) {
  if (change.branch) restore(*change.branch);
  for (const auto& record : change.jobs) {
    const JobId& id = record.job.id;
    const Place place{record.order, id};
    const JobRecord* before = find(id);
    const bool taken =
        record.state == JobState::building &&
        (!before || before->state != JobState::building || before->fence != record.fence);
    if (record.state != JobState::building) leases_.erase(id);
    if (taken) leases_.insert_or_assign(id, now + lease_);
    if (record.state == JobState::waiting) {
      waiting_.insert(place);
    } else {
      waiting_.erase(place);
    }
    by_project_[record.job.project].insert(place);
    next_order_ = std::max(next_order_, record.order + 1);
    jobs_.insert_or_assign(id, record);
  }
  for (const auto& id : change.dropped) {
    const auto it = jobs_.find(id);
    if (it == jobs_.end()) continue;
    const Place place{it->second.order, id};
    waiting_.erase(place);
    leases_.erase(id);
    by_project_[it->second.job.project].erase(place);
    jobs_.erase(it);
  }
}

}  // namespace tau::patrick
