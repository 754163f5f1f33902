// What a network has promised and what was seen of it: whoever watches a simulated world tells it
// here, and it says what contradicts. It knows nothing of how things were seen.
//
//   * an acknowledged registration or push is never forgotten;
//   * a pointer that a node gives never goes back, and (seq, fence) names one deployment for ever;
//   * a fencing number of a job is one monkey's;
//   * a job that has ended stays as it ended, with the deployment that its number published; a seq
//     is one job's;
//   * a vote of consensus is on the voter's disk before anybody hears of it;
//   * a substrate never answers with an older version than it did before, in one life;
//   * a node never forgets a revocation, and obeys nobody who it knows is revoked (outlaw.h);
//   * whatever was begun ends in the time that it has.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "services/patrick/api.h"
#include "services/tns/api.h"
#include "testnet/simulation/trace.h"

namespace tau::testnet::simulation {

class Ledger {
 public:
  Ledger(const runtime::VirtualLoop& loop, Trace& trace) : loop_(loop), trace_(trace) {}

  void violated(std::string what);
  const std::vector<std::string>& violations() const { return violations_; }

  void accepted(const ProjectId& project, std::uint64_t seq, const JobId& job);
  void saw_pointer(const std::string& from, const tns::Pointer& pointer);
  // All that patrick lists of the project, newest first, to a question of that time.
  void saw_jobs(const ProjectId& project, const std::vector<patrick::JobStatus>& jobs,
                TimePoint asked);
  // `before`: the newest that this life of the substrate had answered when it was asked.
  void saw_version(const std::string& substrate, const std::string& project, std::uint64_t before,
                   std::uint64_t version);

  // The number of the revocations that a node knows.
  void saw_revocations(const std::string& node, std::uint64_t number);

  // Something that must end; a place in the books while it lives.
  class Operation {
   public:
    Operation(Ledger& ledger, std::string what, Duration limit)
        : ledger_(ledger),
          place_(ledger.open_.insert(ledger.open_.end(),
                                     {std::move(what), ledger.loop_.now() + limit})) {
      ++ledger.operations_;
    }
    ~Operation() { ledger_.open_.erase(place_); }
    Operation(const Operation&) = delete;
    Operation& operator=(const Operation&) = delete;

   private:
    friend class Ledger;
    Ledger& ledger_;
    std::list<std::pair<std::string, TimePoint>>::iterator place_;
  };
  void check_open();
  void checked_vote() { ++votes_; }
  std::uint64_t votes() const { return votes_; }
  std::uint64_t operations() const { return operations_; }

  // (seq, fence) of a branch names this deployment.
  void saw_deployment(const std::string& from, const ProjectId& project, const std::string& branch,
                      std::pair<std::uint64_t, std::uint64_t> version,
                      const codec::Cid& deployment);

 private:
  using Version = std::pair<std::uint64_t, std::uint64_t>;
  using Branch = std::pair<ProjectId, std::string>;

  const runtime::VirtualLoop& loop_;
  Trace& trace_;
  std::vector<std::string> violations_;
  struct Accepted {
    JobId job;
    TimePoint at;
  };
  std::map<ProjectId, std::map<std::uint64_t, Accepted>> accepted_;
  std::map<std::pair<std::string, Branch>, Version> newest_;       // that a node gave
  std::map<std::pair<Branch, Version>, std::string> deployments_;  // what a version names
  std::map<std::pair<JobId, std::uint64_t>, PeerId> holders_;      // of a fencing number
  std::map<JobId, patrick::JobState> ended_;
  std::map<std::pair<ProjectId, std::uint64_t>, JobId> jobs_;  // by seq
  std::list<std::pair<std::string, TimePoint>> open_;
  std::map<std::string, std::uint64_t> revocations_;
  std::uint64_t operations_ = 0, votes_ = 0;
};

}  // namespace tau::testnet::simulation
