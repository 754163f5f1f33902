// monkey: takes jobs from patrick, builds them, publishes what came of them. See README.md.
//
// Loop thread only. What it is given belongs to the node and lives longer. start() begins to take
// jobs; stop() ends builds in progress (another monkey gets them when their lease is over) and is
// idempotent.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/log.h"
#include "command/caller.h"
#include "p2p/node_signed.h"
#include "runtime/task_group.h"
#include "services/monkey/artifacts.h"
#include "services/monkey/builder.h"
#include "services/monkey/holders.h"

namespace tau::monkey {

struct Options {
  std::size_t jobs_max = 1;  // at once, from each patrick
  BuilderOptions builder;
  // Compiles ahead what was built, for substrates that believe this monkey; null: nothing is.
  vm::Engine* engine = nullptr;
};

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

  std::size_t building() const { return building_; }

 private:
  struct Taken {  // a job and the right to it
    PeerId patrick;
    p2p::NodeSigned signed_job;
    patrick::Job job;
    std::uint64_t fence = 0;
    Duration lease{};
  };
  Task<void> prepare();
  Task<void> watch_patricks();
  Task<void> serve(PeerId patrick);
  Task<void> work(Taken taken);
  Task<Result<codec::Cid>> build_and_publish(const Taken& taken, BuildLog& log);
  static Task<void> compile_ahead(ArtifactMaker& artifacts, std::vector<BuiltFunction> functions,
                                  BuildLog& log, std::optional<codec::Cid>& compiled);
  Task<void> renew(const Taken& taken, runtime::Scope& build);
  Task<Status> publish(const Taken& taken, const Receipt& receipt);
  Task<void> report(const Taken& taken, Result<codec::Cid> outcome);

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

  std::map<PeerId, std::size_t> served_;  // patrick -> tasks that take jobs from it
  std::size_t building_ = 0;
  runtime::Signal changed_;
  std::shared_ptr<runtime::Signal*> peers_changed_;  // what the host's handler holds
  std::unique_ptr<runtime::TaskGroup> tasks_;
};

}  // namespace tau::monkey
