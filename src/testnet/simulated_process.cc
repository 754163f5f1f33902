#include "testnet/simulated_process.h"

#include <algorithm>
#include <limits>

namespace tau::testnet {

SimulatedProcess::SimulatedProcess(runtime::VirtualLoop& loop, std::uint64_t seed)
    : loop_(loop), random_(seed), wires_(loop, random_), sockets_(loop) {
  programs_.on("/bin/sh", scripted_build);
}

SimulatedProcess::~SimulatedProcess() = default;

std::vector<substrate::Plane> SimulatedProcess::planes(std::size_t, const std::string& address) {
  return {{loop_, sockets_.host(address)}};
}

std::unique_ptr<p2p::Host> SimulatedProcess::make_host(const p2p::NodeIdentity& identity,
                                                       const p2p::Admission& admission,
                                                       node::HostSettings, Logger log) {
  return std::make_unique<p2p::simulated::SimulatedHost>(wires_, identity.id(), admission,
                                                         std::move(log));
}

node::GitHost SimulatedProcess::make_git_host(std::filesystem::path folder, Logger) {
  auto& git = gits_[folder.string()];
  if (!git) git = std::make_shared<ScriptedGit>();
  git_ = git;
  auto provider = std::make_unique<ScriptedProvider>(git);
  return {std::move(provider), {}};
}

Task<Result<std::shared_ptr<void>>> SimulatedProcess::claim_data(std::filesystem::path) {
  co_return std::shared_ptr<void>();
}

Task<Result<std::unique_ptr<store::Kv>>> SimulatedProcess::open_store(
    std::filesystem::path folder) {
  auto& disk = disks_[folder.string()];
  if (!disk) disk = std::make_unique<store::MemoryKv>(std::chrono::milliseconds(1));
  co_return store::with_prefix(*disk, "db/");
}

void SimulatedProcess::power_cut() {
  for (const auto& [folder, disk] : disks_) {
    disk->crash(random_);
    disk->fail_writes(Error(ErrorCode::unavailable, "the power is off"),
                      std::numeric_limits<std::size_t>::max());
  }
}

void SimulatedProcess::power_on() {
  for (const auto& [folder, disk] : disks_) disk->fail_writes(Error(ErrorCode::unavailable, ""), 0);
}

ScriptedGit& SimulatedProcess::git_of(const std::string& node) {
  const auto it = std::ranges::find_if(gits_, [&](const auto& one) {
    return one.first.find("/" + node + "/") != std::string::npos ||
           one.first.starts_with(node + "/");
  });
  CHECK(it != gits_.end());
  return *it->second;
}

}  // namespace tau::testnet
