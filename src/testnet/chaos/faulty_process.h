// One node's world with faults in it: its host, its disk and its sockets pass everything on to the
// real ones (or the simulated ones), unless Faults says otherwise.
//
//   streams    wait while their ends are separated or one is paused; take `delay` longer
//   gossip     is lost where a stream would wait
//   dialing    waits, then fails as a silent peer does
//   disk       fails, waits, or is slow
//   sockets    of a paused node accept nothing, say nothing and hear nothing
//
// What had left a node when the fault began may arrive after it. The node's own programs (git,
// compilers) run on. Outlives its node; the Faults outlive it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "node/process.h"
#include "testnet/chaos/faults.h"

namespace tau::testnet {

class FaultyProcess final : public node::Process {
 public:
  FaultyProcess(node::Process& inner, Faults& faults, PeerId node)
      : inner_(inner), faults_(faults), node_(std::move(node)) {}
  ~FaultyProcess() override;

  runtime::Loop& loop() override { return inner_.loop(); }
  Random& random() override { return inner_.random(); }
  runtime::ThreadPool& pool() override { return inner_.pool(); }
  process::Runner& runner() override { return inner_.runner(); }
  node::Machine machine() override { return inner_.machine(); }
  Result<vm::Engine*> engine() override { return inner_.engine(); }
  std::vector<substrate::Plane> planes(std::size_t at_most, const std::string& address) override;
  net::Network& network(const std::string& address) override;
  std::unique_ptr<p2p::Host> make_host(const p2p::NodeIdentity& identity,
                                       const p2p::Admission& admission, node::HostSettings settings,
                                       Logger log) override;
  node::GitHost make_git_host(std::filesystem::path folder, Logger log) override {
    return inner_.make_git_host(std::move(folder), std::move(log));
  }
  Task<Result<std::shared_ptr<void>>> claim_data(std::filesystem::path folder) override {
    return inner_.claim_data(std::move(folder));
  }
  Task<Result<std::unique_ptr<store::Kv>>> open_store(std::filesystem::path folder) override;

 private:
  net::Network& faulty(net::Network& network);

  node::Process& inner_;
  Faults& faults_;
  const PeerId node_;
  // By the network below: one for each plane, and one for each address.
  std::map<net::Network*, std::unique_ptr<net::Network>> networks_;
};

std::unique_ptr<p2p::Host> make_faulty_host(std::unique_ptr<p2p::Host> inner, Faults& faults);
std::unique_ptr<store::Kv> make_faulty_store(std::unique_ptr<store::Kv> inner, Faults& faults,
                                             PeerId node);
// May be used on another thread than that of the Faults.
std::unique_ptr<net::Network> make_faulty_network(net::Network& inner,
                                                  std::shared_ptr<const std::atomic<bool>> paused);

}  // namespace tau::testnet
