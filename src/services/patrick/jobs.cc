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

// About what a record takes in a snapshot.
std::size_t size_of(const std::map<std::string, Source>& sources) {
  std::size_t bytes = 0;
  for (const auto& [name, source] : sources) bytes += name.size() + 130;
  return bytes;
}
std::size_t size_of(const BranchRecord& b) { return 160 + b.branch.size() + size_of(b.sources); }
std::size_t size_of(const JobRecord& r) {
  std::size_t bytes = 600 + r.job.branch.size() + size_of(r.job.sources) + r.error.size() +
                      r.job.registration.body.size();
  for (const auto& name : r.missing) bytes += name.size() + 2;
  if (r.log)
    for (const auto& part : *r.log) bytes += part.note.size() + 40;
  return bytes;
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

void JobRecord::note(std::string line) {
  if (!log) log.emplace();
  log->push_back({std::nullopt, std::nullopt, std::move(line)});
}

void JobRecord::close_log(std::optional<std::uint64_t> bytes, std::string line) {
  if (!log) log.emplace();
  log->push_back({fence, bytes, std::move(line)});
}

Jobs::State Jobs::state() const {
  State state;
  for (const auto& [key, branch] : branches_) state.branches.push_back(branch);
  for (const auto& [id, job] : jobs_) state.jobs.push_back(job);
  for (const auto& [project, host] : hosts_) state.hosts.push_back({project, host});
  state.next_order = next_order_;
  return state;
}

void Jobs::restore(State state) {
  *this = Jobs();
  for (const auto& branch : state.branches) put(branch);
  Change change;
  change.jobs = std::move(state.jobs);
  apply(change);
  for (auto& one : state.hosts)
    hosts_.insert_or_assign(std::move(one.project), std::move(one.host));
  next_order_ = std::max(next_order_, state.next_order);
}

const JobRecord* Jobs::find(const JobId& job) const {
  const auto it = jobs_.find(job);
  return it == jobs_.end() ? nullptr : &it->second;
}

std::vector<const JobRecord*> Jobs::building() const {
  std::vector<const JobRecord*> found;
  for (const auto& [order, id] : building_) found.push_back(&jobs_.at(id));
  return found;
}

const PeerId* Jobs::host_of(const ProjectId& project) const {
  const auto it = hosts_.find(project);
  return it == hosts_.end() ? nullptr : &it->second;
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
  if (it != by_project_.end() && it->second.size() >= kJobsKept) {
    std::size_t over = it->second.size() + 1 - kJobsKept;
    for (const auto& [order, id] : it->second) {
      if (over == 0) break;
      if (!jobs_.at(id).ended()) continue;
      change.dropped.push_back(id);
      --over;
    }
  }
  std::size_t bytes = job_bytes_;
  for (const auto& [order, id] : ended_) {
    if (bytes <= kJobBytesMax) break;
    bytes -= size_of(jobs_.at(id));
    if (std::ranges::find(change.dropped, id) == change.dropped.end()) change.dropped.push_back(id);
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
    if (branch_bytes_ > kBranchBytesInAllMax)
      return fail(ErrorCode::resource_exhausted,
                  "all branches of this network together take more than " +
                      std::to_string(kBranchBytesInAllMax >> 20) +
                      " MiB; a push to one that is known is taken");
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
  if (!source->archive.valid())
    return fail(ErrorCode::aborted, "the branch moved meanwhile; push again");
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
  record.note("[" + push.repository + " " + push.commit.substr(0, 12) +
              " pushed: " + out.accepted.note + "]\n");
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

Result<Change> Jobs::take(const JobId& job, std::uint64_t fence, const PeerId& monkey,
                          std::int64_t now_unix_ms) const {
  const JobRecord* waiting = find(job);
  if (!waiting) return not_found(job);
  if (waiting->state != JobState::waiting || !waiting->missing.empty() || waiting->fence != fence)
    return fail(ErrorCode::aborted,
                "job " + job.str() + " is " + std::string(name_of(waiting->state)) + " by now");
  Change change;
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
  record.close_log(end.log_bytes, "");
  record.state = end.deployment ? JobState::succeeded : JobState::failed;
  record.deployment = end.deployment;
  record.error = end.error;
  if (!end.deployment && record.error.empty()) record.error = "the build failed without a reason";
  const JobRecord* newest = newest_of({record.job.project, record.job.branch});
  // Two pushes may be built at the same time, and the newer be live first: nothing is wrong. Its
  // own monkey may not have told of it yet.
  if (!end.deployment && newest->job.seq > record.job.seq &&
      (newest->state == JobState::succeeded || end.overtaken == true)) {
    record.state = JobState::superseded;
    if (end.overtaken != true)
      record.error =
          "job " + newest->job.id.str() + " of a newer push of this branch was live first";
  }
  record.ended_unix_ms = now_unix_ms;
  Change change;
  change.jobs.push_back(std::move(record));
  return change;
}

Change Jobs::expire(const JobId& job, std::uint64_t fence, std::optional<std::uint64_t> log_bytes,
                    std::int64_t now_unix_ms) const {
  Change change;
  const JobRecord* known = find(job);
  if (!known || known->state != JobState::building || known->fence != fence) return change;
  JobRecord record = *known;
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
  record.close_log(log_bytes, record.ended()
                                  ? "[" + record.error + "]\n"
                                  : "[its monkey was lost; the job waits for another]\n");
  change.jobs.push_back(std::move(record));
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
  const std::string line = "[cancelled by the project's owner]\n";
  if (record.state == JobState::building) {
    record.close_log(std::nullopt, line);
  } else {
    record.note(line);
  }
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
  fresh.note("[job " + job.str() + " once more, as build " + std::to_string(own.seq) +
             " of branch " + known->job.branch + "]\n");
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

Result<Change> Jobs::number(const ProjectId& project, const std::string& name) const {
  const BranchRecord* known = branch(project, name);
  if (!known)
    return fail(ErrorCode::not_found, "nothing was ever pushed to branch " + name + " of project " +
                                          project.str() + " here");
  Change change;
  change.branch = *known;
  ++change.branch->seq;
  return change;
}

Result<Change> Jobs::host(const ProjectId& project, const PeerId& host,
                          const std::optional<PeerId>& instead_of) const {
  Change change;
  const PeerId* known = host_of(project);
  if (known && *known == host) return change;
  if (known && instead_of != *known)
    return fail(ErrorCode::failed_precondition, "the repositories of project " + project.str() +
                                                    " are at patrick " + known->str() +
                                                    ": push there");
  if (!known && hosts_.size() >= kHostedMax)
    return fail(ErrorCode::resource_exhausted, "this network hosts " + std::to_string(kHostedMax) +
                                                   " projects, as many as it can");
  change.host = HostRecord{project, host};
  return change;
}

Change Jobs::import(const BranchRecord& branch) const {
  Change change;
  if (!branches_.contains({branch.project, branch.branch})) change.branch = branch;
  return change;
}

Change Jobs::import(const JobRecord& job) const {
  Change change;
  if (find(job.job.id)) return change;
  change.jobs.push_back(job);
  return change;
}

void Jobs::put(const BranchRecord& branch) {
  BranchRecord& known = branches_[{branch.project, branch.branch}];
  if (known.seq != 0) branch_bytes_ -= size_of(known);
  known = branch;
  if (known.seq != 0) branch_bytes_ += size_of(known);
}

void Jobs::erase(const JobId& job) {
  const auto it = jobs_.find(job);
  if (it == jobs_.end()) return;
  const JobRecord& record = it->second;
  const Place place{record.order, job};
  for (auto* set : {&waiting_, &building_, &ended_}) set->erase(place);
  const auto of_project = by_project_.find(record.job.project);
  of_project->second.erase(place);
  if (of_project->second.empty()) by_project_.erase(of_project);
  job_bytes_ -= size_of(record);
  jobs_.erase(it);
}

void Jobs::apply(const Change& change) {
  if (change.host) hosts_.insert_or_assign(change.host->project, change.host->host);
  if (change.branch) put(*change.branch);
  for (const auto& record : change.jobs) {
    const JobId id = record.job.id;
    erase(id);
    const Place place{record.order, id};
    (record.state == JobState::waiting    ? waiting_
     : record.state == JobState::building ? building_
                                          : ended_)
        .insert(place);
    by_project_[record.job.project].insert(place);
    next_order_ = std::max(next_order_, record.order + 1);
    job_bytes_ += size_of(record);
    jobs_.emplace(id, record);
  }
  for (const auto& id : change.dropped) erase(id);
}

}  // namespace tau::patrick
