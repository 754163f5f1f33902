// The real process: sockets, libp2p, RocksDB, sandboxes, wasmtime. Owned by main(); the loop and
// this outlive every node. Does nothing until a part is asked for.
#pragma once

#include <memory>
#include <optional>

#include "net/sockets.h"
#include "node/process.h"
#include "p2p/libp2p/host.h"
#include "process/local.h"
#include "runtime/loop.h"
#include "store/rocks/rocks_kv.h"

namespace tau::node {

class LocalProcess final : public Process {
 public:
  LocalProcess(runtime::RealLoop& loop, Logger log);
  ~LocalProcess() override;

  runtime::Loop& loop() override { return loop_; }
  Random& random() override { return random_; }
  runtime::ThreadPool& pool() override { return pool_; }
  process::Runner& runner() override { return runner_; }
  Machine machine() override;
  Result<vm::Engine*> engine() override;
  std::vector<substrate::Plane> planes(std::size_t at_most, const std::string& address) override;
  net::Network& network(const std::string& address) override;
  std::unique_ptr<p2p::Host> make_host(const p2p::NodeIdentity& identity,
                                       const p2p::Admission& admission, HostSettings settings,
                                       Logger log) override;
  GitHost make_git_host(std::filesystem::path folder, Logger log) override;
  Task<Result<std::shared_ptr<void>>> claim_data(std::filesystem::path folder) override;
  Task<Result<std::unique_ptr<store::Kv>>> open_store(std::filesystem::path folder) override;

 private:
  struct PlaneThread;

  runtime::RealLoop& loop_;
  Logger log_;
  SystemRandom random_;
  runtime::ThreadPool pool_;
  net::Sockets sockets_;
  process::LocalRunner runner_;
  store::RocksEnvironment rocks_;
  p2p::libp2p::Runtime libp2p_;
  std::unique_ptr<vm::Engine> engine_;
  std::vector<std::unique_ptr<PlaneThread>> planes_;
};

}  // namespace tau::node
