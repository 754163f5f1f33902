// Faults: what goes wrong in a simulated world, when, and for how long. A schedule is made from a
// seed; each fault ends by itself, so that a schedule without some of its faults is a schedule,
// too.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/task_group.h"
#include "testnet/simulation/ledger.h"
#include "testnet/simulation/trace.h"
#include "testnet/simulation/world.h"

namespace tau::testnet::simulation {

enum class FaultKind : std::uint8_t {
  crash,        // power cut of `nodes`; they start again at the end
  leave,        // a clean stop; they start again at the end
  retire,       // a clean stop of a plain node, for good
  join,         // a new plain node, which stays
  partition,    // `nodes` and the others do not hear each other
  deaf,         // `nodes` hear nobody, but are heard
  mute,         // `nodes` are heard by nobody, but hear
  resets,       // every connection of `nodes` breaks, once
  loss,         // `amount` of 1000 packets are sent again; gossip is lost, doubled and late
  latency,      // one way, `amount` milliseconds, everywhere
  datagrams,    // `amount` of 1000 are lost, as many doubled and late
  slow_disk,    // a sync takes `amount` milliseconds
  full_disk,    // nothing can be written; its owner makes room and starts the node again
  clock_jump,   // the wall clock of `nodes` is `amount` ms ahead; behind, if odd
  clock_drift,  // their monotonic clocks gain `amount` ppm; lose, if odd
  liar,         // a certified plain node says what is not so, in frames that are wrong
  revoked       // a member is revoked, and goes on
};
inline constexpr std::size_t kFaultKinds = 17;
std::string_view name_of(FaultKind kind);

struct Fault {
  Duration at{}, lasts{};
  FaultKind kind = FaultKind::crash;
  std::vector<std::size_t> nodes = {};
  std::uint64_t amount = 0;
};
// "12.30 s  crash tns-2, monkey-1 for 4.10 s".
std::string describe(const Fault& fault, const std::vector<NodeSpec>& nodes);

// Between `begin` and `end`, in order of time. `spared`: a node that never stops.
std::vector<Fault> make_faults(std::uint64_t seed, const std::vector<NodeSpec>& nodes,
                               std::size_t spared, Duration begin, Duration end);

// Does them to a world. Every task of it ends with join() or stop().
class Faults {
 public:
  Faults(World& world, Ledger& ledger, Trace& trace);
  ~Faults();
  void schedule(const Fault& fault);
  Task<void> join();  // until all have ended
  Task<void> stop();

 private:
  Task<void> happen(Fault fault);
  Task<void> listen(Fault fault);  // whether seers still list who is silent
  Task<void> stop_nodes(Fault fault);
  Task<void> start_again(std::size_t index);
  Task<void> restart(Fault fault);
  Task<void> add_node();
  Task<void> lie(Fault fault);
  Task<void> revoke(Fault fault);
  void begin(const Fault& fault);
  void end(const Fault& fault);
  void block(const Fault& fault, int by);
  void block_pair(const PeerId& from, const PeerId& to, int by);
  void set_weather();

  World& world_;
  Ledger& ledger_;
  Trace& trace_;
  runtime::TaskGroup tasks_;
  SeededRandom random_{1};  // of datagrams
  std::map<std::pair<PeerId, PeerId>, int> blocked_;
  std::multiset<std::uint64_t> loss_, latency_ms_, datagrams_;  // of those that are under way
};

}  // namespace tau::testnet::simulation
