// Bitswap 1.2.0 (specs.ipfs.tech/bitswap-protocol): blocks between this node and its peers, stock
// IPFS nodes among them. Answers what peers want from the block store, and asks one named peer for
// one block; which peer to ask is decided above (content/session.h).
//
// Messages travel one way on a stream: what this node has to say to a peer goes on a stream of its
// own, gathered into as few messages as their bounds allow. A peer that sends a block which nobody
// asked it for, or bytes that are no message, has lied: every want at it fails with data_loss.
//
// Loop thread only. Lives as long as the node; stop it before what it stands on.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "base/log.h"
#include "content/bitswap_message.h"
#include "p2p/host.h"
#include "runtime/task_group.h"
#include "store/block_store.h"

namespace tau::content {

class Bitswap {
 public:
  struct Counters {
    std::uint64_t blocks_received = 0;  // wanted ones; over streams, never from the own store
    std::uint64_t bytes_received = 0;
    std::uint64_t blocks_sent = 0;
    std::uint64_t bytes_sent = 0;
    std::uint64_t lies = 0;  // unwanted blocks and broken messages
  };

  Bitswap(runtime::Loop& loop, p2p::Host& host, store::BlockStore& blocks, Logger log);
  ~Bitswap();

  void start();
  Task<void> stop();  // idempotent; every want fails with unavailable

  // Data has the hash of `cid`; it is not stored. Errors: not_found (the peer says so), unavailable
  // (not connected, connection lost), deadline_exceeded, data_loss (it lied), resource_exhausted
  // (too many wants at it).
  Task<Result<Bytes>> want(PeerId peer, codec::Cid cid, Duration limit);

  const Counters& counters() const { return counters_; }

 private:
  using Digest = std::array<std::uint8_t, 32>;
  struct Ledger;  // all between this node and one connected peer

  std::shared_ptr<Ledger> ledger_of(const PeerId& peer);  // null when it is not connected
  void fail_wants(Ledger& ledger, const Error& error);
  void forget(const PeerId& peer);
  void leave(Ledger& ledger, const codec::Cid& cid);

  void kick(std::shared_ptr<Ledger> ledger);
  Task<void> send_all(std::shared_ptr<Ledger> ledger);
  Task<BitswapMessage> compose(std::shared_ptr<Ledger> ledger);
  Task<Status> send(std::shared_ptr<Ledger> ledger, BitswapMessage message);

  Task<void> receive_all(std::shared_ptr<Ledger> ledger, std::unique_ptr<p2p::Stream> stream);
  void receive(const std::shared_ptr<Ledger>& ledger, BitswapMessage message);
  void receive_want(Ledger& ledger, const WantEntry& want);
  void receive_block(Ledger& ledger, store::Block block);
  void receive_presence(Ledger& ledger, const BitswapMessage::Presence& presence);
  void lied(Ledger& ledger, p2p::Misdeed misdeed, std::string_view how);

  runtime::Loop& loop_;
  p2p::Host& host_;
  store::BlockStore& blocks_;
  Logger log_;
  Counters counters_;
  bool running_ = false;
  std::map<PeerId, std::shared_ptr<Ledger>> ledgers_;
  std::shared_ptr<Bitswap*> self_;  // null inside once stopped: the host's callbacks outlive this
  runtime::TaskGroup tasks_;
};

}  // namespace tau::content
