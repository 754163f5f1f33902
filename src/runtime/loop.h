// The event loop: where tasks run, one at a time. RealLoop runs on a thread with sockets and real
// time; VirtualLoop runs a simulated world, where time jumps to the next timer when nothing else is
// ready.
//
// Everything but post() belongs to the loop's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "runtime/task.h"

namespace boost::asio {
class io_context;
}

namespace tau::runtime {

using Callback = std::move_only_function<void()>;

struct TimerId {
  TimePoint at;
  std::uint64_t sequence = 0;
  friend auto operator<=>(const TimerId&, const TimerId&) = default;
};

class Loop : public Clock {
 public:
  virtual void post(Callback callback) = 0;  // from any thread
  TimerId call_at(TimePoint at, Callback callback);
  TimerId call_after(Duration after, Callback callback) {
    return call_at(now() + after, std::move(callback));
  }
  void cancel_timer(const TimerId& id);  // one that has fired is ignored

  // Runs what is ready, waiting if need be; false when nothing can ever become ready again.
  virtual bool run_some() = 0;

 protected:
  virtual void timers_changed() = 0;
  std::optional<TimePoint> next_timer() const;
  bool run_due_timers();

 private:
  std::map<TimerId, Callback> timers_;
  std::uint64_t timer_sequence_ = 0;
};

class RealLoop final : public Loop {
 public:
  RealLoop();
  ~RealLoop() override;

  TimePoint now() const override { return clock_.now(); }
  std::int64_t wall_unix_ms() const override { return clock_.wall_unix_ms(); }
  void post(Callback callback) override;
  bool run_some() override;
  void run();   // until stop()
  void stop();  // from any thread

  boost::asio::io_context& io();  // for net/ and process/ only

 private:
  void timers_changed() override;

  struct Parts;
  SystemClock clock_;
  std::unique_ptr<Parts> parts_;
};

class VirtualLoop final : public Loop {
 public:
  explicit VirtualLoop(std::int64_t wall_start_unix_ms = 1'700'000'000'000)
      : wall_start_unix_ms_(wall_start_unix_ms) {}

  TimePoint now() const override { return now_; }
  std::int64_t wall_unix_ms() const override {
    return wall_start_unix_ms_ + now_.since_start / std::chrono::milliseconds(1);
  }
  void post(Callback callback) override;
  bool run_some() override;

 private:
  void timers_changed() override {}

  std::int64_t wall_start_unix_ms_;
  TimePoint now_;
  std::mutex mutex_;  // post() may come from a test's thread
  std::vector<Callback> ready_;
};

// Ends early with cancelled when the awaiting task's scope is cancelled.
Task<Status> sleep_for(Duration duration);
Task<Status> sleep_until(TimePoint at);
// Lets whatever is ready run first.
Task<Status> yield();

// Runs a task with a time limit. When the limit passes, the task's scope is cancelled, the task is
// awaited to its end, and what it was doing is named in a deadline_exceeded error; a task that
// ended in time keeps its own result.
template <class T>
Task<Result<T>> with_deadline(Duration limit, std::string what, Task<Result<T>> task);

// Runs a task to its end on this thread: tests, command-line tools.
template <class T>
T block_on(Loop& loop, Task<T> task);

}  // namespace tau::runtime

#include "runtime/loop_inl.h"
