#include "node/local_process.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "guest/host_functions.h"
#include "services/patrick/routes.h"
#include "store/folder/data_folder.h"
#include "vm/wasmtime/engine.h"

namespace tau::node {
namespace {

// What blocks here waits for the disk or compiles: a few more threads than a small machine's cores,
// so that ten databases open and fsync at the same time.
constexpr std::size_t kBlockingThreads = 8;

// A package brings bubblewrap along, in lib/tau beside the folder of the program, for machines
// without one of their own.
process::LocalOptions runner_options() {
  process::LocalOptions options;
  std::error_code none;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", none);
  const auto brought = program.parent_path().parent_path() / "lib" / "tau" / "bwrap";
  if (!std::filesystem::exists("/usr/bin/bwrap", none) && std::filesystem::exists(brought, none))
    options.bubblewrap = brought.string();
  return options;
}

}  // namespace

// A loop that serves requests, with its thread and its sockets.
struct LocalProcess::PlaneThread {
  PlaneThread() : sockets(loop), thread([this] { loop.run(); }) {}
  ~PlaneThread() {
    loop.post([this] { loop.stop(); });  // behind whatever else was posted
    thread.join();
  }
  runtime::RealLoop loop;
  net::Sockets sockets;
  std::thread thread;
};

LocalProcess::LocalProcess(runtime::RealLoop& loop, Logger log)
    : loop_(loop),
      log_(std::move(log)),
      pool_(kBlockingThreads),
      sockets_(loop),
      runner_(loop, runner_options(), log_.named("process")),
      rocks_(pool_) {}

LocalProcess::~LocalProcess() = default;

Machine LocalProcess::machine() {
  Machine out;
  const long pages = ::sysconf(_SC_PHYS_PAGES), page = ::sysconf(_SC_PAGESIZE);
  if (pages > 0 && page > 0)
    out.memory_bytes = static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page);
  double minute = 0;
  if (::getloadavg(&minute, 1) == 1) {
    const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
    out.load_percent = static_cast<std::uint32_t>(std::clamp(minute * 100 / cores, 0.0, 1000.0));
  }
  return out;
}

Result<vm::Engine*> LocalProcess::engine() {
  if (!engine_) {
    TRY(engine_, vm::make_wasmtime_engine(guest::host_functions()));
  }
  return engine_.get();
}

std::vector<substrate::Plane> LocalProcess::planes(std::size_t at_most, const std::string&) {
  // Every substrate of the process gets the same ones: more threads than cores serve nobody.
  const std::size_t cores = std::max(1u, std::thread::hardware_concurrency());
  const std::size_t count = std::clamp<std::size_t>(at_most, 1, cores);
  while (planes_.size() < count) planes_.push_back(std::make_unique<PlaneThread>());
  std::vector<substrate::Plane> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back({planes_[i]->loop, planes_[i]->sockets});
  return out;
}

net::Network& LocalProcess::network(const std::string&) { return sockets_; }

std::unique_ptr<p2p::Host> LocalProcess::make_host(const p2p::NodeIdentity& identity,
                                                   const p2p::Admission& admission,
                                                   HostSettings settings, Logger log) {
  p2p::libp2p::Options options{.key = identity.key(), .admission = admission};
  options.listen = std::move(settings.listen);
  options.mdns = settings.mdns;
  return std::make_unique<p2p::libp2p::LibP2pHost>(loop_, libp2p_, std::move(options),
                                                   std::move(log));
}

GitHost LocalProcess::make_git_host(std::filesystem::path folder, Logger log) {
  auto local =
      std::make_unique<patrick::LocalProvider>(loop_, runner_, std::move(folder), std::move(log));
  auto mount = [this, &provider = *local](http::Router& router) {
    patrick::mount_git(router, "/git", provider, pool_);
  };
  return {std::move(local), mount};
}

Task<Result<std::shared_ptr<void>>> LocalProcess::claim_data(std::filesystem::path folder) {
  CO_TRY(auto claimed, pool_.run([&] {
    return store::DataFolder::open(folder, std::string("tau ") + kVersion);
  }));
  co_return std::shared_ptr<void>(std::move(claimed));
}

Task<Result<std::unique_ptr<store::Kv>>> LocalProcess::open_store(std::filesystem::path folder) {
  CO_TRY(auto opened, store::RocksKv::open(rocks_, folder.string()));
  co_return std::unique_ptr<store::Kv>(std::move(opened));
}

}  // namespace tau::node
