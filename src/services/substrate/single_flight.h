// One piece of work for a key at a time, however many wait for it. Who starts it does not own it:
// a caller that is cancelled leaves the work running for the others. Loop thread only.
#pragma once

#include <map>
#include <memory>
#include <optional>

#include "runtime/channel.h"
#include "runtime/task_group.h"

namespace tau::substrate {

template <class Key, class Value>
class SingleFlight {
 public:
  explicit SingleFlight(runtime::Loop& loop) : loop_(loop) {}

  // `start` makes the work; it is called only if none is under way. `tasks` runs it, and must be
  // stopped before this is destroyed.
  template <class Start>
  Task<Result<Value>> get(runtime::TaskGroup& tasks, Key key, Start start) {
    std::shared_ptr<Flight> flight;
    if (const auto found = flights_.find(key); found != flights_.end()) {
      flight = found->second;
    } else {
      flight = std::make_shared<Flight>(loop_);
      flights_.emplace(key, flight);
      tasks.spawn(fly(*this, std::move(key), flight, start()));
    }
    while (!flight->result) CO_TRY_STATUS(flight->landed.wait());
    co_return *flight->result;
  }

 private:
  struct Flight {
    explicit Flight(runtime::Loop& loop) : landed(loop) {}
    runtime::Signal landed;
    std::optional<Result<Value>> result;
  };
  static Task<void> fly(SingleFlight& self, Key key, std::shared_ptr<Flight> flight,
                        Task<Result<Value>> work) {
    flight->result = co_await std::move(work);
    self.flights_.erase(key);
    flight->landed.notify_all();
  }

  runtime::Loop& loop_;
  std::map<Key, std::shared_ptr<Flight>> flights_;
};

}  // namespace tau::substrate
