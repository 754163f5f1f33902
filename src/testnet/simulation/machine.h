// One simulated computer: a disk that outlives what runs on it, an address, a clock, chance of its
// own, and a node::Process that shows them to a node.
//
// Owned by the world, which outlives the nodes. Loop thread only.
#pragma once

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
#include "testnet/simulation/machine_loop.h"

namespace tau::testnet::simulation {

// What all machines of a world are connected by.
struct Surroundings {
  runtime::VirtualLoop& loop;
  p2p::simulated::SimulatedNetwork& wires;
  net::SimulatedNetwork& sockets;
  ScriptedEngine& engine;
  runtime::ThreadPool& pool;
};

class Machine final : public node::Process {
 public:
  // How long a good disk takes to sync.
  static constexpr Duration kSyncTime = std::chrono::milliseconds(1);

  Machine(Surroundings around, std::string address, std::uint64_t seed);

  runtime::Loop& loop() override { return loop_; }
  Random& random() override { return random_; }
  runtime::ThreadPool& pool() override { return around_.pool; }
  process::Runner& runner() override { return programs_; }
  node::Machine machine() override { return {16ull << 30, 0}; }
  Result<vm::Engine*> engine() override { return &around_.engine; }
  std::vector<substrate::Plane> planes(std::size_t at_most, const std::string& address) override;
  net::Network& network(const std::string& address) override;
  std::unique_ptr<p2p::Host> make_host(const p2p::NodeIdentity& identity,
                                       const p2p::Admission& admission, node::HostSettings settings,
                                       Logger log) override;
  node::GitHost make_git_host(std::filesystem::path folder, Logger log) override;
  Task<Result<std::shared_ptr<void>>> claim_data(std::filesystem::path folder) override;
  Task<Result<std::unique_ptr<store::Kv>>> open_store(std::filesystem::path folder) override;

  // The power goes: nothing more leaves this machine, and its disk loses what was not synced (with
  // chance, but for some of the first writes) and takes nothing until power_on().
  void power_cut(const PeerId& host);
  void power_on();

  const std::string& address() const { return address_; }
  MachineLoop& clock() { return loop_; }
  store::MemoryKv& disk() { return disk_; }
  ScriptedGit& git() { return *git_; }

 private:
  Surroundings around_;
  const std::string address_;
  MachineLoop loop_;
  SeededRandom random_;
  process::SimulatedRunner programs_;
  store::MemoryKv disk_{kSyncTime};
  std::shared_ptr<ScriptedGit> git_ = std::make_shared<ScriptedGit>();
};

}  // namespace tau::testnet::simulation
