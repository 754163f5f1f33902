// Who lives: a pure table, fed with what nodes report here and with what other seers have in the
// shared roster, and told the time. No network, no clock of its own.
//
// A node lives if this seer heard it within kDeadAfter, or if another seer that was itself heard
// here within kDeadAfter says in the roster that it hears it. What a node is, is what it said
// itself: to this seer, else the freshest by its own count of what those seers pass on.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "services/seer/addresses.h"
#include "services/seer/status.h"

namespace tau::seer {

inline constexpr std::size_t kNodesMax =
    100'000;  // a table of about 200 MB; more is refused, not forgotten
// Seers that say they hear one node: it reports to two, and a change of the two overlaps.
inline constexpr std::size_t kWitnessesMax = 16;

class Nodes {
 public:
  explicit Nodes(PeerId self = PeerId("this seer")) : self_(std::move(self)) {}

  // Told by the node itself, over its own connection. Errors: resource_exhausted.
  Status hear(StatusPtr status, std::uint32_t load_percent, TimePoint now);
  // The same, when it says that its status is still that one. False: this seer has another or none,
  // and the node counts as not heard.
  bool hear_again(const PeerId& peer, const Count& count, std::uint32_t load_percent,
                  TimePoint now);
  // Its connection to this seer broke, or it said goodbye. Who else hears it says so anew.
  void forget(const PeerId& peer, TimePoint now);
  // Drops those that have been silent here for kDeadAfter, and says which.
  std::vector<PeerId> expire(TimePoint now);

  // `seer` has this in the roster. Errors: resource_exhausted.
  Status witness(const PeerId& seer, StatusPtr status, TimePoint now);
  // The same, kept from before a restart, of this seer as well: it counts until the time given to
  // remember_until(), whoever lives. `told`: when that was said, as far as is known.
  Status remember(const PeerId& seer, StatusPtr status, TimePoint told);
  void unwitness(const PeerId& seer, const PeerId& peer);
  void remember_until(TimePoint until) { remember_until_ = until; }

  // Statuses that `good` refuses do not count until it takes them again. `passed_on`: by others.
  void judge(const std::function<bool(const CheckedStatus&, bool passed_on)>& good);
  // Drops what nobody names any more, so that the table does not grow with every node that ever
  // was.
  void sweep(TimePoint now);

  // What this seer hears of the node itself; null: nothing, or it does not count.
  StatusPtr heard_here(const PeerId& peer, TimePoint now) const;
  // One of the node with these very bytes, so that it need not be checked again.
  StatusPtr known(const PeerId& peer, BytesView raw) const;

  // Those that live, in peer id order. An empty service means all.
  std::vector<LiveNode> live(std::string_view service, TimePoint now) const;

  // Addresses of one family of live nodes with the service, see addresses_of(). Nodes with capacity
  // left only, unless none has; each comes first as often as it has capacity (smooth weighted round
  // robin), and the ones whose turn is next follow. At most `at_most`. A death by silence shows
  // kPoolFor later than in live(); every other change at once.
  using Family = seer::Family;
  std::vector<std::string> addresses(std::string_view service, Family family, std::size_t at_most,
                                     TimePoint now);
  // The multiaddrs of live nodes with the service, one further at each call.
  std::vector<std::string> multiaddrs(std::string_view service, std::size_t at_most, TimePoint now);

 private:
  // Questions come by the ten thousand a second, reports twice a second for each node.
  static constexpr Duration kPoolFor = std::chrono::milliseconds(250);
  struct Row {
    StatusPtr status;
    TimePoint told;
    bool remembered = false;
    bool good = true;
  };
  struct Node {
    StatusPtr own;  // heard here; null: it is not
    bool own_good = true;
    TimePoint heard;  // here, last; with `own` only
    std::uint32_t load_percent = 0;
    std::optional<TimePoint> spoke;   // here, last, also if it was forgotten since
    std::optional<TimePoint> cut;     // its connection here broke
    std::map<PeerId, Row> rows = {};  // by seer
  };
  struct Current {
    const CheckedStatus* status = nullptr;  // null: it does not live
    std::uint32_t load_percent = 0;
    TimePoint seen;
  };
  struct Choice {
    std::string address;
    std::int64_t weight = 1;
    std::int64_t turn = 0;  // grows by weight with each question; the largest comes first
  };
  struct Pool {
    std::vector<Choice> choices;  // by address, each once
    std::int64_t weights = 0;
    TimePoint made;
    std::uint64_t version = 0;
  };
  static bool hears(const Node& node, TimePoint now);
  std::optional<TimePoint> vouched(const PeerId& seer, const Row& row, const Node& node,
                                   TimePoint now) const;
  Current current(const Node& node, TimePoint now) const;
  Result<Node*> place(const PeerId& peer);
  Status add_row(const PeerId& seer, Row row);
  Pool& pool(std::string_view service, Family family, TimePoint now);

  const PeerId self_;
  TimePoint remember_until_{};
  std::map<PeerId, Node> nodes_;
  std::uint64_t version_ = 1;  // of who is there with which addresses
  std::map<std::pair<std::string, Family>, Pool> pools_;
  std::size_t rotation_ = 0;
};

}  // namespace tau::seer
