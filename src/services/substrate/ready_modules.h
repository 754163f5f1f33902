// Modules that need no compiling: what this node compiled before, from its disk, and what a monkey
// compiled ahead, from the network.
//
// Machine code runs as this process, outside the sandbox that wasm is. So a monkey's is loaded only
// if its signer is believed here (`Options::trusted`), the signed record names the module and this
// very engine, and every block has the hash by which it was asked for; the node's own only if it
// has the digest that was noted when it was written. Anything else is as if it were not there.
//
// Control loop only. What is kept is bounded; the least recently used goes first.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "content/exchange.h"
#include "p2p/node_signed.h"
#include "runtime/task_group.h"
#include "runtime/thread_pool.h"
#include "services/substrate/single_flight.h"
#include "store/kv.h"
#include "vm/engine.h"

namespace tau::substrate {

struct ReadyModule {
  std::shared_ptr<const vm::Module> module;
  std::uint64_t bytes = 0;  // of machine code
};

class ReadyModules {
 public:
  struct Options {
    std::vector<PeerId> trusted;           // whose machine code is run; usually the node itself
    bool trust_network = false;            // that of every node that the network made a monkey, too
    std::uint64_t bytes_max = 512u << 20;  // on the disk
    // What a monkey has may be slow to come; compiling is an answer, too.
    Duration fetch_time_max = std::chrono::seconds(3);
    // How long a block of compiled modules that could not be had is not asked for again.
    Duration absent_time = std::chrono::seconds(30);
  };

  // `kv` is this node's own and belongs to this alone.
  ReadyModules(runtime::Loop& loop, content::Exchange& exchange, vm::Engine& engine,
               runtime::ThreadPool& pool, store::Kv& kv, const p2p::Admission& admission,
               Options options, Logger log);

  Task<Status> start();  // reads what is kept; drops what another engine compiled
  Task<void> stop();

  // Begins to fetch what a pointer names, so that it is there when a module is asked for.
  void expect(const std::optional<codec::Cid>& compiled, const std::vector<PeerId>& hints);

  // Nothing: it has to be compiled.
  Task<std::optional<ReadyModule>> find_own(codec::Cid module);
  Task<std::optional<ReadyModule>> find_trusted(codec::Cid module,
                                                std::optional<codec::Cid> compiled,
                                                std::vector<PeerId> hints);
  // Keeps what was compiled here for the next start. Best effort.
  Task<void> keep(codec::Cid module, std::shared_ptr<const vm::Module> compiled);

  std::uint64_t kept_bytes() const { return kept_bytes_; }

 private:
  struct Offered {
    codec::Cid artifact;
    std::uint64_t bytes = 0;
  };
  using Offers = std::map<codec::Cid, Offered>;  // by module; empty: nothing that is believed
  using OffersPointer = std::shared_ptr<const Offers>;
  struct Known {
    OffersPointer offers;
    TimePoint until;
  };
  struct Kept {
    std::uint64_t bytes = 0;
    std::array<std::uint8_t, 32> sha256{};
    std::int64_t used_unix_ms = 0;
    static constexpr auto fields() {
      return std::tuple{codec::field("bytes", &Kept::bytes), codec::field("sha256", &Kept::sha256),
                        codec::field("used", &Kept::used_unix_ms)};
    }
  };

  bool believes_anybody() const { return options_.trust_network || !options_.trusted.empty(); }
  Task<Result<OffersPointer>> offers(codec::Cid compiled, std::vector<PeerId> hints);
  Task<Result<OffersPointer>> fetch_offers(codec::Cid compiled, std::vector<PeerId> hints);
  Result<Offers> read_offers(BytesView block) const;
  Task<void> expect_beside(codec::Cid compiled, std::vector<PeerId> hints);
  Task<Result<ReadyModule>> read_own(codec::Cid module);
  Task<Result<ReadyModule>> fetch(Offered offered, std::vector<PeerId> hints);
  Task<Status> write(codec::Cid module, Kept kept, Bytes code);
  void drop(std::map<codec::Cid, Kept>::iterator entry, store::Batch& batch);

  runtime::Loop& loop_;
  content::Exchange& exchange_;
  vm::Engine& engine_;
  runtime::ThreadPool& pool_;
  store::Kv& kv_;
  const p2p::Admission& admission_;
  Options options_;
  Logger log_;
  const std::string compatibility_;
  std::map<codec::Cid, Kept> kept_;
  std::uint64_t kept_bytes_ = 0;
  std::map<codec::Cid, Known> known_;
  SingleFlight<codec::Cid, OffersPointer> flights_;
  runtime::TaskGroup tasks_;
};

}  // namespace tau::substrate
