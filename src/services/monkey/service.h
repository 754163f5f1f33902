// monkey: takes jobs from patrick, builds them, publishes what came of them. See README.md.
//
// Loop thread only. What it is given belongs to the node and lives longer. start() begins to take
// jobs; stop() ends builds in progress (another monkey gets them when their lease is over) and is
// idempotent.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "base/log.h"
#include "command/caller.h"
#include "p2p/node_signed.h"
#include "runtime/task_group.h"
#include "services/monkey/artifacts.h"
#include "services/monkey/builder.h"
#include "services/monkey/holders.h"
#include "services/tns/api.h"

namespace tau::monkey {

struct Options {
  std::size_t jobs_max = 1;  // at once
  // What all builds may use together. Each job keeps the memory of one build free for itself
  // (builder.limits), so fewer than jobs_max are taken where it does not go further; one always is.
  std::uint64_t memory_bytes_max = 4ull << 30;
  std::function<std::uint32_t()> load_percent;  // of this machine, for bids; none: 0
  BuilderOptions builder;
  // Compiles ahead what was built, for substrates that believe this monkey; null: nothing is.
  vm::Engine* engine = nullptr;
};
// How many jobs, and how many sandboxes, fit.
std::size_t jobs_that_fit(const Options& options);
std::size_t sandboxes_that_fit(const Options& options);

class Service {
 public:
  Service(runtime::Loop& loop, p2p::Host& host, command::Caller& caller, store::Kv& kv,
          content::Exchange& exchange, process::Runner& runner, runtime::ThreadPool& pool,
          Holders& holders, const p2p::NodeIdentity& identity, const p2p::Admission& admission,
          Logger log, Options options);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  Task<Status> start();
  Task<void> stop();

  std::size_t building() const { return building_; }  // jobs under way
  patrick::Bid bid() const;                           // what it offers now

 private:
  struct Taken {     // a job and the right to it
    PeerId patrick;  // that answered last: who leads the others
    p2p::NodeSigned signed_job;
    patrick::Job job;
    std::uint64_t fence = 0;
    Duration lease{};
    bool overtaken = false;  // tns has published a newer push of the branch
  };
  Task<void> prepare();
  Task<void> watch_patricks();
  Task<void> serve(PeerId patrick);
  Task<void> work(Taken taken);
  Task<void> build_under_lease(Taken taken);
  Task<Result<codec::Cid>> build_and_publish(Taken& taken, BuildLog& log);
  static Task<void> compile_ahead(ArtifactMaker& artifacts, std::vector<BuiltFunction> functions,
                                  BuildLog& log, std::optional<codec::Cid>& compiled);
  // By the patrick that leads: the one that answered last, else another. The rest as call().
  template <class C>
  Task<Result<typename C::Response>> ask(Taken& taken, typename C::Request request,
                                         Duration deadline = C::kDeadline);
  Task<Result<std::uint64_t>> append_log(Taken& taken, std::string text, std::uint64_t offset);
  Task<void> renew(Taken& taken, runtime::Scope& build);
  Task<Result<std::vector<PeerId>>> hold(codec::Cid deployment);
  Task<Status> confirm(Taken& taken);
  Task<Status> publish(Taken& taken, const Receipt& receipt, tns::HostsDigest answered);
  Task<void> report(Taken& taken, Result<codec::Cid> outcome, std::uint64_t log_bytes);

  runtime::Loop& loop_;
  p2p::Host& host_;
  command::Caller& caller_;
  Holders& holders_;
  const p2p::NodeIdentity& identity_;
  const p2p::Admission& admission_;
  Logger log_;
  Options options_;
  ModuleCache cache_;
  Builder builder_;
  ArtifactMaker artifacts_;

  std::set<PeerId> served_;  // patricks that jobs are taken from
  std::size_t building_ = 0;
  // Two patricks may give a job each when one fits: the second waits, under its lease.
  runtime::Semaphore slots_;
  std::deque<ProjectId> warm_;  // built lately, newest first
  runtime::Signal changed_;
  std::shared_ptr<runtime::Signal*> peers_changed_;  // what the host's handler holds
  std::unique_ptr<runtime::TaskGroup> tasks_;
};

}  // namespace tau::monkey
