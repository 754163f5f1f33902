// One scenario: a world of nodes, people who use it, and what goes wrong, all from one seed; then
// everything is repaired, and everything that was promised must be there.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "testnet/simulation/fault.h"

namespace tau::testnet::simulation {

struct ScenarioOptions {
  std::uint64_t seed = 1;
  std::size_t nodes = 20;
  Duration lasts = std::chrono::seconds(60);  // until everything is repaired
  std::set<std::size_t> without = {};  // faults of the schedule that do not happen, by number
  Trace::Keep keep = Trace::Keep::nothing;
};

struct Outcome {
  std::vector<std::string> violations;  // none: everything held
  Duration virtual_time{};
  std::uint64_t digest = 0;  // of the trace: the same seed, the same digest
  std::uint64_t messages = 0, pushes = 0, answers = 0, operations = 0, votes = 0;
  std::vector<std::string> faults;  // of the schedule, in words
  std::vector<std::string> trace;
};

// Ends whatever the nodes do: what hangs is a violation.
Outcome run_scenario(const ScenarioOptions& options);

// The same failure with as few faults as can be found in `runs_max` runs: the numbers of those that
// are left out.
std::set<std::size_t> shrink(const ScenarioOptions& options, std::size_t runs_max);

}  // namespace tau::testnet::simulation
