// What is made to go wrong in a universe on purpose, and what of it is in force. The wrappers in
// faulty_*.h ask here before they pass anything on.
//
// Loop thread only, but for the flags of paused().
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/strong_id.h"
#include "base/random.h"
#include "http/json.h"
#include "runtime/channel.h"

namespace tau::testnet {

enum class FaultKind : std::uint8_t {
  kill,       // as a power cut; the node starts again when the fault ends
  pause,      // nothing leaves or reaches the node, and its disk waits: SIGSTOP of one node
  partition,  // the nodes are cut off from all others, which still reach one another
  delay,      // what the nodes send and what is sent to them takes `by` longer
  disk_full,  // every write of the nodes fails
  slow_disk,  // every read and write of the nodes' disks takes `by` longer
};

struct Fault {
  FaultKind kind = FaultKind::pause;
  std::vector<std::string> nodes;  // names
  Duration lasts{};                // 0: until it is healed
  Duration by{};                   // delay, slow_disk
  bool one_way = false;            // partition: what the nodes say is lost, what they hear is not
  friend bool operator==(const Fault&, const Fault&) = default;
};

inline constexpr Duration kFaultTimeMax = std::chrono::hours(1);
inline constexpr Duration kFaultDelayMax = std::chrono::seconds(30);

// {"fault": "delay", "nodes": ["tns"], "for_ms": 5000, "by_ms": 200, "one_way": false}. Errors:
// invalid_argument, which names the field.
Result<Fault> fault_of(const http::Json& json);
http::Json to_json(const Fault& fault);
std::string_view name_of(FaultKind kind);

// A fault, and when it begins after the first one.
struct PlannedFault {
  Duration at{};
  Fault fault;
};
// Faults for `total`, a new one every two seconds or so, each for one to eight seconds: the same
// for the same seed and nodes. At any time at most a third of the nodes is dead.
std::vector<PlannedFault> random_faults(std::uint64_t seed, const std::vector<std::string>& nodes,
                                        Duration total);

// Those in force, but for kill, which is done to the node itself.
class Faults {
 public:
  using Id = std::uint64_t;
  explicit Faults(runtime::Loop& loop) : changed_(loop) {}

  Id add(Fault fault, std::set<PeerId> nodes);
  void remove(Id id);

  bool paused(const PeerId& node) const;
  // What `from` says does not reach `to`.
  bool separated(const PeerId& from, const PeerId& to) const;
  Duration delay(const PeerId& from, const PeerId& to) const;
  bool disk_full(const PeerId& node) const;
  Duration disk_delay(const PeerId& node) const;

  // Wait until it is over. Errors: cancelled.
  Task<Status> pass(PeerId from, PeerId to);
  Task<Status> awake(PeerId node);
  // Whether the node is paused, for other threads; lives as long as somebody has it.
  std::shared_ptr<const std::atomic<bool>> pause_flag(const PeerId& node);

 private:
  struct Active {
    Fault fault;
    std::set<PeerId> nodes;
  };
  template <class Sum>
  Duration longest(FaultKind kind, Sum&& concerns) const;
  bool any(FaultKind kind, const PeerId& node) const;
  void tell();

  runtime::Signal changed_;
  std::map<Id, Active> active_;
  std::map<PeerId, std::shared_ptr<std::atomic<bool>>> flags_;
  Id next_ = 1;
};

}  // namespace tau::testnet
