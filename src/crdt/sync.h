// Catching up from one peer: the asker says what it knows, the peer names what is missing, or a
// snapshot when a part of that is folded there. This is what makes replicas converge whatever was
// lost; gossip (walk.h) only makes it quick.
//
// What a peer that may write says is missing is taken in its order and not questioned further: it
// could have written as much itself. Loop thread only.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "base/log.h"
#include "content/exchange.h"
#include "crdt/snapshot.h"

namespace tau::crdt {

// A delta on its way into the state.
struct Arrived {
  SealedDelta delta;
  bool stored = false;   // its block is in the block store
  bool pending = false;  // there is a row "p/<cid>", see walk.h
};
// All or nothing, in order.
using Apply = std::function<Task<Status>(std::vector<Arrived>)>;

class Sync {
 public:
  struct Parts {
    runtime::Loop& loop;
    p2p::Host& host;
    content::Exchange& exchange;
    State& state;
    DeltaReader& reader;
    std::string map, role;
    std::size_t snapshot_bytes_max;
    Apply apply;
    OnChanges on_changes;
  };
  struct Counters {
    std::uint64_t pulls = 0, deltas_pulled = 0, snapshots_merged = 0, snapshots_built = 0;
    std::uint64_t served = 0;
  };

  explicit Sync(Parts parts);

  // Ends a merge that was cut short, forgets what was offered before the restart, then serves.
  Task<Status> start();
  Task<void> stop();  // idempotent

  // Until the peer has nothing more. One at a time. Errors: permission_denied (the peer may not
  // write, so it is not believed), those of the network, invalid_argument (it talks nonsense).
  Task<Status> pull(PeerId peer);

  const Counters& counters() const { return counters_; }
  static std::string protocol_of(const std::string& map) { return "/tau/crdt/1/" + map; }

 private:
  struct Fetching;
  Task<void> serve(std::unique_ptr<p2p::Stream> stream);
  Task<Result<SyncAnswer>> answer(SyncRequest request);
  Task<Result<codec::Cid>> offer(const Context& covering);
  Task<Result<SyncAnswer>> ask(PeerId peer, bool snapshot);
  Task<Status> take(std::vector<Link> links, PeerId peer);
  Task<void> fetch(std::shared_ptr<Fetching> fetching);
  Task<Status> take_snapshot(codec::Cid root, PeerId peer);
  Task<Status> merge(codec::Cid root);

  Parts parts_;
  Counters counters_;
  runtime::Semaphore pulling_, serving_;
  std::optional<Offered> offered_;
  TimePoint rebuild_at_;  // not before
  std::size_t streams_ = 0;
  bool running_ = false;
  std::shared_ptr<Sync*> self_;  // null inside once stopped: the host's handler outlives this
  runtime::TaskGroup tasks_;
};

}  // namespace tau::crdt
