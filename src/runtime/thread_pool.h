// ThreadPool: where blocking or heavy work goes (compile, fsync, file I/O), so that it never holds
// the loop. With no threads, as in the simulator, the work runs on the loop.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "runtime/one_shot.h"

namespace tau::runtime {

class ThreadPool {
 public:
  explicit ThreadPool(std::size_t threads);
  ~ThreadPool();  // finishes what was begun
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Runs `work` on a thread and gives its result. Not cut short by cancellation: the references
  // that `work` holds stay valid until it has ended, because the awaiting coroutine does.
  template <class F>
  Task<std::invoke_result_t<F>> run(F work) {
    using T = std::invoke_result_t<F>;
    Loop& loop = (co_await current_scope()).loop();
    Scope own(loop);
    if constexpr (std::is_void_v<T>) {
      co_await run_in<int>(loop, [&work] {
        work();
        return 0;
      }).in(own);
    } else {
      co_return co_await run_in<T>(loop, std::move(work)).in(own);
    }
  }

 private:
  template <class T, class F>
  Task<T> run_in(Loop& loop, F work) {
    OneShot<void> done(loop);
    std::optional<T> value;
    enqueue(loop, [&] {
      value.emplace(work());
      loop.post([done]() mutable { done.set_now({}); });
    });
    (void)co_await done;
    co_return std::move(*value);
  }
  void enqueue(Loop& loop, Callback work);
  void serve();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Callback> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace tau::runtime
