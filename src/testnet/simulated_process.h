// A simulated world for the nodes of a universe: virtual time, connections and sockets in memory,
// disks that can be lost, programs and modules that follow a script. Everything that happens is
// decided by the seed. The same Universe as dream's runs on it.
//
// Owned by a test; outlives its universes. Loop thread only.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "net/simulated.h"
#include "node/process.h"
#include "p2p/simulated/network.h"
#include "process/simulated.h"
#include "store/memory/memory_kv.h"
#include "testnet/scripted_git.h"
#include "testnet/scripted_toolchain.h"

namespace tau::testnet {

class SimulatedProcess final : public node::Process {
 public:
  SimulatedProcess(runtime::VirtualLoop& loop, std::uint64_t seed);
  ~SimulatedProcess() override;

  runtime::Loop& loop() override { return loop_; }
  Random& random() override { return random_; }
  runtime::ThreadPool& pool() override { return pool_; }
  process::Runner& runner() override { return programs_; }
  node::Machine machine() override { return {16ull << 30, 0}; }
  Result<vm::Engine*> engine() override { return &engine_; }
  std::vector<substrate::Plane> planes(std::size_t at_most, const std::string& address) override;
  net::Network& network(const std::string& address) override { return sockets_.host(address); }
  std::unique_ptr<p2p::Host> make_host(const p2p::NodeIdentity& identity,
                                       const p2p::Admission& admission, node::HostSettings settings,
                                       Logger log) override;
  node::GitHost make_git_host(std::filesystem::path folder, Logger log) override;
  Task<Result<std::shared_ptr<void>>> claim_data(std::filesystem::path folder) override;
  // The disk of this name: the same one each time, with what it kept.
  Task<Result<std::unique_ptr<store::Kv>>> open_store(std::filesystem::path folder) override;

  // All disks at once lose what was not synced (with chance, but for some of the first writes), and
  // take nothing until power_on(): what runs on them can only end.
  void power_cut();
  void power_on();

  p2p::simulated::SimulatedNetwork& wires() { return wires_; }
  net::SimulatedNetwork& sockets() { return sockets_; }
  process::SimulatedRunner& programs() { return programs_; }
  // The repositories of the last patrick that was made; a folder keeps its own.
  ScriptedGit& git() { return *git_; }
  ScriptedGit& git_of(const std::string& node);  // of several patricks

 private:
  runtime::VirtualLoop& loop_;
  SeededRandom random_;
  runtime::ThreadPool pool_{0};
  p2p::simulated::SimulatedNetwork wires_;
  net::SimulatedNetwork sockets_;
  process::SimulatedRunner programs_;
  ScriptedEngine engine_;
  std::map<std::string, std::unique_ptr<store::MemoryKv>> disks_;
  std::map<std::string, std::shared_ptr<ScriptedGit>> gits_;
  std::shared_ptr<ScriptedGit> git_;
};

}  // namespace tau::testnet
