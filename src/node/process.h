// What the nodes of one process share, and how each node comes by what is its own. `odo` and dream
// have the real one (local_process.h), the simulator one in virtual time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "http/router.h"
#include "net/network.h"
#include "p2p/host.h"
#include "p2p/node_signed.h"
#include "process/runner.h"
#include "runtime/thread_pool.h"
#include "services/patrick/provider.h"
#include "services/substrate/service.h"
#include "store/kv.h"
#include "vm/engine.h"

namespace tau::node {

extern const char* const kVersion;  // of this program

struct HostSettings {
  std::vector<std::string> listen;  // multiaddrs
  bool mdns = false;
};

// Where a node's patrick hosts repositories, and how git reaches them.
struct GitHost {
  std::unique_ptr<patrick::Provider> provider;
  std::function<void(http::Router&)> mount;  // below /git; the provider outlives the routes' server
};

// What the machine has, and does now.
struct Machine {
  std::uint64_t memory_bytes = 0;
  std::uint32_t load_percent = 0;  // 100: as much to do as there are cores; at most 1000
};

// Outlives its nodes. Loop thread only.
class Process {
 public:
  virtual ~Process() = default;

  virtual runtime::Loop& loop() = 0;
  virtual Random& random() = 0;
  virtual runtime::ThreadPool& pool() = 0;  // for what blocks
  virtual process::Runner& runner() = 0;    // builds and git
  virtual Machine machine() = 0;
  // Made when it is first asked for: only a substrate needs it. Errors: those of making it.
  virtual Result<vm::Engine*> engine() = 0;
  // Loops that serve HTTP for a substrate at this address, at most `at_most`. They run until the
  // process ends.
  virtual std::vector<substrate::Plane> planes(std::size_t at_most, const std::string& address) = 0;
  // The network as it is reached from the machine with this address.
  virtual net::Network& network(const std::string& address) = 0;

  virtual std::unique_ptr<p2p::Host> make_host(const p2p::NodeIdentity& identity,
                                               const p2p::Admission& admission,
                                               HostSettings settings, Logger log) = 0;
  virtual GitHost make_git_host(std::filesystem::path folder, Logger log) = 0;
  // A node's data folder, for as long as what it gives lives: nobody else has it meanwhile, and its
  // format is the one of today. Errors: failed_precondition (in use, or written by a later
  // program), data_loss, unavailable.
  virtual Task<Result<std::shared_ptr<void>>> claim_data(std::filesystem::path folder) = 0;
  virtual Task<Result<std::unique_ptr<store::Kv>>> open_store(std::filesystem::path folder) = 0;
};

}  // namespace tau::node
