// What seers share: a replicated map (crdt/) of who hears whom. Key "<node>/<seer>", value the
// node's own signed status: so each row has one writer, and nobody can say anything about a node
// but that he hears it.
//
// Written only when something changed: a node is heard for the first time, falls silent, or signs a
// new status. What changes within a moment is one delta; a node that changes its mind all the time
// is written at a bounded rate. Loop thread only; `nodes` outlives it.
#pragma once

#include <map>
#include <set>
#include <string>

#include "base/log.h"
#include "crdt/map.h"
#include "services/seer/nodes.h"

namespace tau::seer {

// The map's name, and what may write it.
inline constexpr std::string_view kRosterMap = "seer.nodes";

class Roster {
 public:
  struct Parts {
    runtime::Loop& loop;
    p2p::Host& host;
    content::Exchange& exchange;
    store::Kv& kv;  // of this service, on the same store as the exchange's blocks
    const p2p::NodeIdentity& identity;
    const p2p::Admission& admission;
    Random& random;
  };
  Roster(Parts parts, Nodes& nodes, Logger log);

  // What is kept from before counts in `nodes` for a moment, until this seer has heard for itself.
  Task<Status> start();
  Task<void> stop();  // idempotent

  // What this seer hears of the node may have changed.
  void changed(const PeerId& node);

  const crdt::Map& map() const { return map_; }

 private:
  struct Pace {
    double left = 0;
    TimePoint at;
  };
  Task<Status> read_all();
  enum class Since : std::uint8_t { just_now, before_the_start };
  void see(const std::string& key, const std::optional<Bytes>& value, Since since);
  void see_own(const PeerId& node, const std::optional<Bytes>& value);
  bool may_write(const PeerId& node, TimePoint now);
  Task<void> keep_writing();
  store::Batch take_changes(TimePoint now);
  Task<void> end_remembering();
  Task<void> keep_tidy();
  bool has_the_duty() const;
  Task<Status> tidy(const std::set<PeerId>& gone);

  runtime::Loop& loop_;
  p2p::Host& host_;
  const p2p::Admission& admission_;
  Nodes& nodes_;
  Logger log_;
  const PeerId self_;
  crdt::Map map_;
  crdt::Map::Subscription changes_;
  std::map<PeerId, Count> written_;  // this seer's rows
  std::set<PeerId> changed_;         // to be held against them
  std::map<PeerId, Pace> paces_;
  std::map<PeerId, TimePoint> missed_;  // seers that have rows and are not connected, since when
  runtime::Signal work_;
  runtime::TaskGroup tasks_;
};

}  // namespace tau::seer
