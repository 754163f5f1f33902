#include "testnet/simulated_process.h"

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

node::GitHost SimulatedProcess::make_git_host(std::filesystem::path, Logger) {
  auto provider = std::make_unique<ScriptedProvider>(git_ = std::make_shared<ScriptedGit>());
  return {std::move(provider), {}};
}

Task<Result<std::unique_ptr<store::Kv>>> SimulatedProcess::open_store(
    std::filesystem::path folder) {
  auto& disk = disks_[folder.string()];
  if (!disk) disk = std::make_unique<store::MemoryKv>(std::chrono::milliseconds(1));
  co_return store::with_prefix(*disk, "db/");
}

}  // namespace tau::testnet
