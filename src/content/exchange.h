// Exchange: content by CID, from this node or from whoever has it.
//
// A block is looked for in the store, then at the peers that the caller names, then at connected
// providers (Kademlia), then at every connected peer; what was fetched is stored. Concurrent gets
// of one block share one fetch. Loop thread only; lives as long as the node.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "content/bitswap.h"
#include "content/block_source.h"
#include "content/session.h"

namespace tau::content {

struct Fetch {
  std::vector<PeerId> hints = {};                // asked first
  Duration deadline = std::chrono::seconds(30);  // in all
  store::Durability durability = store::Durability::buffered;
};

struct DagSize {
  std::uint64_t blocks = 0;  // different ones
  std::uint64_t bytes = 0;
  friend bool operator==(const DagSize&, const DagSize&) = default;
};

struct DagLimits {
  std::uint64_t blocks_max = 100'000;
  std::uint64_t bytes_max = 512u << 20;
};

class Exchange {
 public:
  struct Counters {
    std::uint64_t local_hits = 0;
    std::uint64_t fetches = 0;  // that went to the network
    Bitswap::Counters bitswap;
  };

  Exchange(runtime::Loop& loop, p2p::Host& host, store::BlockStore& blocks, Logger log);

  void start();
  Task<void> stop();  // idempotent; whoever waits in a get is told cancelled or unavailable

  // Errors: not_found (no connected peer has it), deadline_exceeded, unavailable (no peer at all),
  // and those of the store. A block that the disk changed is fetched again.
  Task<Result<Bytes>> get(codec::Cid cid, Fetch how);

  // Every block that `root` reaches, stored; with Durability::synced all of them are on the disk
  // when it returns. Errors also: resource_exhausted (beyond `limits`), invalid_argument (a block
  // does not decode).
  Task<Result<DagSize>> get_dag(codec::Cid root, Fetch how, DagLimits limits);

  Task<Status> put(std::vector<store::Block> blocks, store::Durability durability);

  // Tells the network that this node has the content.
  Task<Status> provide(codec::Cid cid);

  // Gets each block with `how`; lives no longer than this.
  std::unique_ptr<BlockSource> source(Fetch how);

  store::BlockStore& blocks() { return blocks_; }
  Counters counters() const;

 private:
  using Digest = std::array<std::uint8_t, 32>;
  struct Flight;
  struct Walk;

  Task<Result<Bytes>> get_in(codec::Cid cid, std::shared_ptr<Session> session,
                             store::Durability durability);
  Task<Result<Bytes>> join_flight(codec::Cid cid, std::shared_ptr<Session> session);
  runtime::OneShot<Bytes> join(Flight& flight);
  Task<Result<Bytes>> wait_for(codec::Cid cid, std::shared_ptr<Flight> flight,
                               runtime::OneShot<Bytes> answer);
  void land(const codec::Cid& cid, const std::shared_ptr<Flight>& flight);
  Task<void> fly(codec::Cid cid, std::shared_ptr<Flight> flight);

  std::shared_ptr<Session> session_for(const Fetch& how);
  Task<Result<DagSize>> walk(codec::Cid root, Fetch how, DagLimits limits);
  Task<void> visit(std::shared_ptr<Walk> walk, codec::Cid cid);

  runtime::Loop& loop_;
  p2p::Host& host_;
  store::BlockStore& blocks_;
  Bitswap bitswap_;
  std::uint64_t local_hits_ = 0;
  std::uint64_t fetches_ = 0;
  std::map<Digest, std::shared_ptr<Flight>> flights_;
  runtime::TaskGroup tasks_;
};

}  // namespace tau::content
