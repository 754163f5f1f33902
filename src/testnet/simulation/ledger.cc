#include "testnet/simulation/ledger.h"

#include <fmt/format.h>

namespace tau::testnet::simulation {
namespace {

constexpr std::size_t kViolationsMax = 20;  // the first one is what counts

bool has_ended(patrick::JobState state) {
  return state != patrick::JobState::waiting && state != patrick::JobState::building;
}

}  // namespace

void Ledger::violated(std::string what) {
  trace_.say("VIOLATED: " + what);
  if (violations_.size() < kViolationsMax) violations_.push_back(std::move(what));
}

void Ledger::accepted(const ProjectId& project, std::uint64_t seq, const JobId& job) {
  const auto [known, fresh] = accepted_[project].emplace(seq, Accepted{job, loop_.now()});
  if (!fresh && known->second.job != job)
    violated(fmt::format("seq {} was given to two pushes: {} and {}", seq, known->second.job.str(),
                         job.str()));
}

void Ledger::saw_pointer(const std::string& from, const tns::Pointer& pointer) {
  const Branch branch{pointer.project, pointer.branch};
  Version& newest = newest_[{from, branch}];
  if (pointer.version() < newest)
    violated(fmt::format("a pointer went back: {} gave seq {} fence {} after seq {} fence {}", from,
                         pointer.seq, pointer.fence.value_or(0), newest.first, newest.second));
  newest = std::max(newest, pointer.version());
  saw_deployment(from, pointer.project, pointer.branch, pointer.version(), pointer.deployment);
}

void Ledger::saw_deployment(const std::string& from, const ProjectId& project,
                            const std::string& branch, Version version,
                            const codec::Cid& deployment) {
  const std::string named = deployment.to_string();
  const auto [known, fresh] =
      deployments_.emplace(std::pair(Branch{project, branch}, version), named);
  if (!fresh && known->second != named)
    violated(fmt::format("seq {} fence {} names two deployments: {} and {}, of {}", version.first,
                         version.second, known->second, named, from));
}

void Ledger::saw_jobs(const ProjectId& project, const std::vector<patrick::JobStatus>& jobs,
                      TimePoint asked) {
  std::map<std::uint64_t, JobId> listed;
  for (const auto& job : jobs) {
    listed.emplace(job.seq, job.id);
    const auto [other, fresh_seq] = jobs_.emplace(std::pair(project, job.seq), job.id);
    if (!fresh_seq && other->second != job.id)
      violated(
          fmt::format("seq {} is two jobs: {} and {}", job.seq, other->second.str(), job.id.str()));
    if (job.fence && job.monkey && *job.fence > 0) {
      const auto [holder, fresh] = holders_.emplace(std::pair(job.id, *job.fence), *job.monkey);
      if (!fresh && holder->second != *job.monkey)
        violated(fmt::format(
            "fencing number {} of job {} (seq {}) was given to two monkeys: {} "
            "and {}",
            *job.fence, job.id.str(), job.seq, holder->second.str(), job.monkey->str()));
    }
    const auto before = ended_.find(job.id);
    if (before != ended_.end() && before->second != job.state)
      violated(fmt::format("job {} (seq {}) had ended as {} and is {}", job.id.str(), job.seq,
                           patrick::name_of(before->second), patrick::name_of(job.state)));
    if (job.state == patrick::JobState::succeeded && job.deployment)
      saw_deployment("patrick", project, job.branch, {job.seq, job.fence.value_or(0)},
                     *job.deployment);
    if (has_ended(job.state)) ended_.emplace(job.id, job.state);
  }
  // Those that are too old for the list are not missed.
  const std::uint64_t oldest = jobs.size() < 100 ? 0 : (listed.empty() ? 0 : listed.begin()->first);
  for (const auto& [seq, push] : accepted_[project])
    if (push.at < asked && seq >= oldest && !listed.contains(seq))
      violated(fmt::format("patrick forgot the push that it accepted as seq {} (job {})", seq,
                           push.job.str()));
}

void Ledger::saw_version(const std::string& substrate, const std::string& project,
                         std::uint64_t before, std::uint64_t version) {
  if (version < before)
    violated(fmt::format("{} answered for {} with version {} after {}", substrate, project, version,
                         before));
}

void Ledger::saw_revocations(const std::string& node, std::uint64_t number) {
  std::uint64_t& known = revocations_[node];
  if (number < known)
    violated(fmt::format("{} knew revocations number {} and knows number {}", node, known, number));
  known = std::max(known, number);
}

void Ledger::check_open() {
  for (auto& [what, until] : open_) {
    if (loop_.now() <= until) continue;
    violated(what + " did not end");
    until = TimePoint{Duration::max()};
  }
}

}  // namespace tau::testnet::simulation
