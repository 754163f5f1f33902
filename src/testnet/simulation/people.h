// The people of a simulated world: they register projects, push, visit, ask DNS, and look at what
// the services say; what they are told goes into the ledger. They use one node that is never
// stopped, and one machine for browsers.
//
// Owns its tasks; stop() before destruction. Loop thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "runtime/task_group.h"
#include "services/auth/api.h"
#include "testnet/simulation/claimant.h"
#include "testnet/simulation/fault.h"
#include "testnet/simulation/ledger.h"
#include "testnet/simulation/world.h"

namespace tau::testnet::simulation {

class People {
 public:
  struct Options {
    std::uint64_t seed = 1;
    std::size_t projects = 3;
    std::size_t desk = 0;  // the node that they use
    Duration push_every = std::chrono::seconds(4), visit_every = std::chrono::milliseconds(500),
             look_every = std::chrono::milliseconds(1500);
    // Does this to the node of that index now, and repairs it.
    std::function<void(FaultKind kind, std::size_t node, Duration lasts)> harm = nullptr;
    bool only_push = false;  // nobody visits, asks or looks: for counting what nodes send
  };
  People(World& world, Ledger& ledger, Trace& trace, Options options);

  void start();
  // Everybody pushes once more and then no more; visitors go on.
  void finish() { finishing_ = true; }
  Task<void> stop();
  // What is missing until everything that was promised is there, everywhere; empty: nothing. For
  // when nothing is broken any more and finish() was called.
  Task<std::string> missing();

  std::uint64_t pushes() const { return pushes_; }
  std::uint64_t answers() const { return answers_; }

 private:
  struct Project {
    std::string label;
    auth::Registration registration;
    ProjectId id;
    World::Member* host = nullptr;  // the patrick that took its first push
    bool registered = false, configured = false, last_done = false;
    std::uint64_t version = 0;       // pushed last, whether it was accepted or not
    std::uint64_t last_version = 0;  // of the last push of all
    std::uint64_t last_seq = 0;
  };

  command::Caller& desk() { return world_[options_.desk].node->caller(); }
  Task<void> own(Project& project);
  auth::Registration registration_of(const std::string& label) const;
  Task<bool> register_project(auth::Registration registration);
  Task<std::optional<std::uint64_t>> push(Project& project, std::string repository,
                                          std::map<std::string, std::string> tree);
  Task<void> register_more();
  Task<void> cut_off(std::size_t index, Duration after);
  std::size_t index_of(const World::Member& at);
  Task<void> visit();
  Task<void> visit_one(World::Member& at, const Project& project);
  Task<void> ask_dns();
  Task<void> look();
  Task<void> look_at_pointers(World::Member& at);
  Task<void> look_at_promises();
  Task<void> watch();
  Task<std::string> missing_of(const Project& project);
  Task<std::string> missing_in_dns(const Project& project);
  static std::optional<std::uint64_t> version_of(const std::string& body);
  static std::string life_of(const World::Member& at);

  World& world_;
  Ledger& ledger_;
  Trace& trace_;
  const Options options_;
  SeededRandom random_;
  crypto::KeyPair owner_;
  Claimant claimant_;
  std::vector<std::unique_ptr<Project>> projects_;
  std::map<std::pair<std::string, std::string>, std::uint64_t>
      served_;                                        // (substrate and its life, label)
  std::set<std::pair<PeerId, codec::Cid>> promised_;  // what a pointer says that a hoarder holds
  std::map<PeerId, std::deque<codec::Cid>> lately_promised_;
  std::vector<ProjectId> registered_;  // acknowledged, and never pushed to
  runtime::TaskGroup tasks_;
  bool finishing_ = false;
  std::uint64_t pushes_ = 0, answers_ = 0;
};

}  // namespace tau::testnet::simulation
