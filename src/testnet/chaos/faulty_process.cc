#include "testnet/chaos/faulty_process.h"

namespace tau::testnet {

FaultyProcess::~FaultyProcess() = default;

net::Network& FaultyProcess::faulty(net::Network& network) {
  auto& made = networks_[&network];
  if (!made) made = make_faulty_network(network, faults_.pause_flag(node_));
  return *made;
}

std::vector<substrate::Plane> FaultyProcess::planes(std::size_t at_most,
                                                    const std::string& address) {
  std::vector<substrate::Plane> out;
  for (const substrate::Plane& plane : inner_.planes(at_most, address))
    out.push_back({plane.loop, faulty(plane.network)});
  return out;
}

net::Network& FaultyProcess::network(const std::string& address) {
  return faulty(inner_.network(address));
}

std::unique_ptr<p2p::Host> FaultyProcess::make_host(const p2p::NodeIdentity& identity,
                                                    const p2p::Admission& admission,
                                                    node::HostSettings settings, Logger log) {
  return make_faulty_host(
      inner_.make_host(identity, admission, std::move(settings), std::move(log)), faults_);
}

Task<Result<std::unique_ptr<store::Kv>>> FaultyProcess::open_store(std::filesystem::path folder) {
  CO_TRY(auto inner, inner_.open_store(std::move(folder)));
  co_return make_faulty_store(std::move(inner), faults_, node_);
}

}  // namespace tau::testnet
