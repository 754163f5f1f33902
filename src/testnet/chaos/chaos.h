// Chaos: breaks a running universe on purpose, for as long as it is told, and writes down what it
// did, so that it can be done again.
//
// Owned by its universe; stop() before the nodes go. Loop thread only.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "base/log.h"
#include "runtime/task_group.h"
#include "testnet/chaos/faults.h"

namespace tau::testnet {

class Universe;

class Chaos {
 public:
  Chaos(Universe& universe, runtime::Loop& loop, Faults& faults);

  // What was begun, and when (since the first of the record). A node may be named by its peer id,
  // or by a service that it alone runs; the record has its name. Ends once the fault is in force.
  // Errors: not_found, failed_precondition (a dead node cannot be killed), resource_exhausted,
  // and those of Universe::kill().
  Task<Result<PlannedFault>> begin(Fault fault);
  // Everything works again; nodes that chaos killed start again. Errors: those of starting one.
  Task<Status> heal();

  struct Active {
    Fault fault;
    Duration remaining{};  // 0: until it is healed
  };
  std::vector<Active> active() const;
  // Oldest first, at most kRecordMax; a heal is an entry without a fault.
  struct Entry {
    Duration at{};
    std::optional<Fault> fault;
  };
  const std::deque<Entry>& record() const { return record_; }

  Task<void> stop();  // idempotent; nothing is healed any more

  static constexpr std::size_t kActiveMax = 64;
  static constexpr std::size_t kRecordMax = 10'000;

 private:
  struct InForce {
    Fault fault;
    std::optional<Faults::Id> id;  // not of a kill
    TimePoint until;               // when it lasts for a time
  };
  using Key = std::uint64_t;
  Task<void> end_in_time(Key key);
  Task<void> cut_silent(Key key);
  Task<Status> end(Key key);
  Task<Status> start_again(std::string name);
  Duration since_first();
  void write_down(std::optional<Fault> fault);

  Universe& universe_;
  runtime::Loop& loop_;
  Faults& faults_;
  runtime::TaskGroup tasks_;
  std::map<Key, InForce> in_force_;
  Key next_ = 1;
  std::deque<Entry> record_;
  std::optional<TimePoint> first_;
};

}  // namespace tau::testnet
