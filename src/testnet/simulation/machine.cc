#include "testnet/simulation/machine.h"

#include <limits>

namespace tau::testnet::simulation {

Machine::Machine(Surroundings around, std::string address, std::uint64_t seed)
    : around_(around), address_(std::move(address)), loop_(around.loop), random_(seed) {
  programs_.on("/bin/sh", [this](const process::Command& command, process::OutputSink& sink) {
    return scripted_build_by(address_, command, sink);
  });
}

std::vector<substrate::Plane> Machine::planes(std::size_t, const std::string& address) {
  return {{loop_, around_.sockets.host(address)}};
}

net::Network& Machine::network(const std::string& address) { return around_.sockets.host(address); }

std::unique_ptr<p2p::Host> Machine::make_host(const p2p::NodeIdentity& identity,
                                              const p2p::Admission& admission, node::HostSettings,
                                              Logger log) {
  return std::make_unique<p2p::simulated::SimulatedHost>(around_.wires, identity.id(), admission,
                                                         std::move(log), &loop_);
}

node::GitHost Machine::make_git_host(std::filesystem::path, Logger) {
  return {std::make_unique<ScriptedProvider>(git_), {}};
}

Task<Result<std::shared_ptr<void>>> Machine::claim_data(std::filesystem::path) {
  co_return std::shared_ptr<void>();
}

Task<Result<std::unique_ptr<store::Kv>>> Machine::open_store(std::filesystem::path) {
  co_return store::with_prefix(disk_, "db/");
}

void Machine::power_cut(const PeerId& host) {
  around_.wires.kill(host);
  around_.sockets.kill(address_);
  disk_.crash(random_);
  disk_.fail_writes(Error(ErrorCode::unavailable, "the power is off"),
                    std::numeric_limits<std::size_t>::max());
}

void Machine::power_on() { disk_.fail_writes(Error(ErrorCode::unavailable, ""), 0); }

}  // namespace tau::testnet::simulation
