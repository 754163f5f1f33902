// What a node serves from: deployments by CID, and compiled modules by CID. Both immutable, fetched
// from whoever has them, kept in bounded caches. Control loop only; what they give out is shared by
// all loops.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "codec/cid.h"
#include "content/exchange.h"
#include "project/deployment.h"
#include "runtime/task_group.h"
#include "runtime/thread_pool.h"
#include "services/substrate/ready_modules.h"
#include "services/substrate/single_flight.h"
#include "vm/engine.h"

namespace tau::substrate {

struct Site {
  explicit Site(codec::Cid c, project::Deployment d)
      : cid(c), deployment(std::move(d)), routes(deployment) {}
  codec::Cid cid;
  project::Deployment deployment;
  project::Routes routes;
  // Steady time of its last use, written by any loop: what the cache evicts by.
  mutable std::atomic<std::int64_t> used_ns{0};
};

// Where a module's machine code came from.
enum class CompiledBy : std::uint8_t { this_request, earlier, trusted };

struct LoadedModule {
  std::shared_ptr<const vm::Module> module;
  std::uint64_t wasm_bytes = 0;  // about, where the wasm itself was not needed
  CompiledBy compiled_by = CompiledBy::this_request;
  Duration fetch{}, compile{};
  bool from_peers = false;
  mutable std::atomic<std::int64_t> used_ns{0};
};

class Sites {
 public:
  struct Options {
    std::size_t sites_max = 1'000;
    std::size_t modules_max = 500;
    // Of wasm; its compiled form is two to four times as large.
    std::uint64_t modules_bytes_max = 512u << 20;
    std::size_t module_bytes_max = 64u << 20;  // a large Go program has 10 MiB
    Duration fetch_time_max = std::chrono::seconds(10);
    // How long a module that does not compile is not tried again.
    Duration broken_time = std::chrono::seconds(5);
    // From this size on a module is compiled quickly for the request that waits, and well once no
    // module was loaded for `calm_time`, or `calm_wait_max` is over.
    std::size_t quick_bytes_min = 24u << 10;
    Duration calm_time = std::chrono::seconds(1);
    Duration calm_wait_max = std::chrono::seconds(30);
  };

  Sites(runtime::Loop& loop, content::Exchange& exchange, vm::Engine& engine,
        runtime::ThreadPool& pool, ReadyModules& ready, Options options);

  Task<void> stop();

  // Errors: unavailable, not_found, deadline_exceeded (nobody gives it), data_loss (it is no
  // deployment, or another project's).
  Task<Result<std::shared_ptr<const Site>>> site(codec::Cid cid, ProjectId project,
                                                 std::vector<PeerId> hints);
  // Errors: as site(); invalid_argument (it does not compile: says why).
  // `compiled` is what the pointer says about machine code.
  Task<Result<std::shared_ptr<const LoadedModule>>> module(codec::Cid cid,
                                                           std::optional<codec::Cid> compiled,
                                                           std::vector<PeerId> hints);
  bool has_module(const codec::Cid& cid) const { return modules_.contains(cid); }
  std::uint64_t modules_fetched() const { return modules_fetched_; }

 private:
  using SitePointer = std::shared_ptr<const Site>;
  using ModulePointer = std::shared_ptr<const LoadedModule>;
  struct Broken {
    Error error;
    TimePoint until;
  };

  Task<Result<SitePointer>> load_site(codec::Cid cid, ProjectId project, std::vector<PeerId> hints);
  Task<Result<ModulePointer>> load_counted(codec::Cid cid, std::optional<codec::Cid> compiled,
                                           std::vector<PeerId> hints);
  Task<Result<ModulePointer>> load_module(codec::Cid cid, std::optional<codec::Cid> compiled,
                                          std::vector<PeerId> hints);
  Task<Result<ModulePointer>> compile_module(codec::Cid cid, std::vector<PeerId> hints);
  Task<void> improve(codec::Cid cid);
  Task<Status> compile_well(codec::Cid cid);
  void keep(codec::Cid cid, ModulePointer module);

  runtime::Loop& loop_;
  content::Exchange& exchange_;
  vm::Engine& engine_;
  runtime::ThreadPool& pool_;
  ReadyModules& ready_;
  Options options_;
  runtime::Semaphore improving_;  // one at a time: requests come first
  std::size_t loading_ = 0;       // modules on their way, for requests that wait
  TimePoint last_load_;
  std::map<codec::Cid, SitePointer> sites_;
  std::map<codec::Cid, ModulePointer> modules_;
  std::map<codec::Cid, Broken> broken_;
  std::uint64_t module_bytes_ = 0, modules_fetched_ = 0;
  SingleFlight<codec::Cid, SitePointer> site_flights_;
  SingleFlight<codec::Cid, ModulePointer> module_flights_;
  runtime::TaskGroup tasks_;
};

}  // namespace tau::substrate
