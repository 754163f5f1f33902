// TaskGroup: owns tasks that run beside their starter. Nothing is ever detached: stop() cancels
// every task and waits for the last one to end, and a group that is destroyed while a task lives is
// a bug. Loop thread only.
#pragma once

#include <cstddef>

#include "runtime/loop.h"
#include "runtime/one_shot.h"

namespace tau::runtime {

class TaskGroup {
 public:
  explicit TaskGroup(Loop& loop) : scope_(loop), idle_(loop) {}
  ~TaskGroup() { CHECK(running_ == 0); }
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  // Starts at once, up to its first suspension. In a stopped group the task's first wait fails with
  // cancelled.
  void spawn(Task<void> task);
  std::size_t running() const { return running_; }
  Loop& loop() const { return scope_.loop(); }

  void cancel() { scope_.cancel(); }
  Task<void> stop();  // idempotent
  Task<void> join();  // waits until no task is left, without cancelling

 private:
  detail::Root run(Task<void> task);

  Scope scope_;
  std::size_t running_ = 0;
  OneShot<void> idle_;
};

}  // namespace tau::runtime
