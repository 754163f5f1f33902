#include "runtime/task_group.h"

namespace tau::runtime {

detail::Root TaskGroup::run(Task<void> task) {
  co_await std::move(task);
  if (--running_ == 0) idle_.set({});
}

void TaskGroup::spawn(Task<void> task) {
  if (running_++ == 0) idle_ = OneShot<void>(loop());
  run(std::move(task)).start(scope_);
}

Task<void> TaskGroup::join() {
  // Not cut short by the caller's own cancellation: what the tasks use must outlive them.
  Scope own(loop());
  while (running_ > 0) {
    co_await [](OneShot<void> idle) -> Task<void> { (void)co_await idle; }(idle_).in(own);
  }
}

Task<void> TaskGroup::stop() {
  cancel();
  co_await join();
}

}  // namespace tau::runtime
