// From heads that were announced back to what is known: fetches the deltas that are missing, their
// parents, and so on, and gives each to the state once everything it stands on is there. Bounded in
// number and bytes; what is beyond, or cannot be found, is left to a pull (sync.h).
//
// What is being fetched is written down, row "p/<cid>", so that a walk goes on after a restart and
// what it leaves is cleaned up. Loop thread only.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "content/exchange.h"
#include "crdt/sync.h"

namespace tau::crdt {

class Walk {
 public:
  struct Parts {
    runtime::Loop& loop;
    content::Exchange& exchange;
    State& state;
    DeltaReader& reader;
    Apply apply;
    std::function<void(const PeerId&)> ask;  // a pull is needed; called often
  };
  struct Counters {
    std::uint64_t fetched = 0, refused = 0, given_up = 0;
  };
  // Deltas that wait for others, and their bytes: a replica that is further behind pulls.
  static constexpr std::size_t kPendingMax = 512;
  static constexpr std::size_t kPendingBytesMax = 16u << 20;

  explicit Walk(Parts parts);

  Task<Status> start();  // goes on with what was under way
  Task<void> stop();     // idempotent

  // `blocks` are deltas that came with the announcement.
  void hear(PeerId from, std::vector<Link> heads, std::vector<Bytes> blocks);

  // After a pull: what it brought need not be fetched.
  void review();

  std::size_t pending() const { return pending_.size(); }
  const Counters& counters() const { return counters_; }

 private:
  struct Pending {
    Link link;
    PeerId from;
    std::optional<Arrived> arrived;
    bool row = false;  // written down
    unsigned tries = 0;
    std::size_t waits_for = 0;
    std::vector<codec::Cid> children = {};  // wait for this one
  };
  using Inline = std::map<codec::Cid, Bytes>;

  void want(const Link& link, const PeerId& from, Inline& blocks);
  void arrive(const codec::Cid& cid, SealedDelta delta, bool stored, Inline& blocks);
  void drop(const codec::Cid& cid);
  void give_up(const PeerId& from);
  void settled(const codec::Cid& cid);
  Task<void> fetch_all();
  Task<void> apply_all();
  Task<void> clean();

  Parts parts_;
  Counters counters_;
  std::map<codec::Cid, Pending> pending_;
  std::size_t bytes_ = 0;
  std::deque<codec::Cid> to_fetch_, ready_;
  std::vector<Link> garbage_;
  runtime::Signal work_;
  runtime::TaskGroup tasks_;
};

}  // namespace tau::crdt
