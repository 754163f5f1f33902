// Queues and locks between tasks of one loop. All bounded; none thread-safe.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

#include "runtime/one_shot.h"

namespace tau::runtime {

// Wakes whoever waits. wait() returns at the next notify_all(); check the condition again after it:
//   while (!condition) CO_TRY_STATUS(changed.wait());
class Signal {
 public:
  explicit Signal(Loop& loop) : loop_(loop) {}
  void notify_all() {
    for (auto& waiter : std::exchange(waiters_, {})) waiter.set({});
  }
  Task<Status> wait() {
    OneShot<void> waiter(loop_);
    waiters_.push_back(waiter);
    co_return co_await waiter;
  }

 private:
  Loop& loop_;
  std::deque<OneShot<void>> waiters_;
};

// A bounded first-in first-out queue. A closed channel gives what is left, then
// ErrorCode::unavailable.
template <class T>
class Channel {
 public:
  Channel(Loop& loop, std::size_t capacity) : capacity_(capacity), changed_(loop) {}

  bool try_send(T value) {  // false: full or closed
    if (closed_ || queue_.size() >= capacity_) return false;
    queue_.push_back(std::move(value));
    changed_.notify_all();
    return true;
  }
  Task<Status> send(T value) {
    while (!closed_ && queue_.size() >= capacity_) CO_TRY_STATUS(changed_.wait());
    if (closed_) co_return fail(ErrorCode::unavailable, "channel closed");
    queue_.push_back(std::move(value));
    changed_.notify_all();
    co_return Status{};
  }
  Task<Result<T>> receive() {
    while (queue_.empty() && !closed_) CO_TRY_STATUS(changed_.wait());
    if (queue_.empty()) co_return fail(ErrorCode::unavailable, "channel closed");
    T value = std::move(queue_.front());
    queue_.pop_front();
    changed_.notify_all();
    co_return value;
  }
  void close() {
    closed_ = true;
    changed_.notify_all();
  }
  std::size_t size() const { return queue_.size(); }
  bool closed() const { return closed_; }

 private:
  std::size_t capacity_;
  bool closed_ = false;
  std::deque<T> queue_;
  Signal changed_;
};

// At most `permits` holders at once. The permit is given back by its destructor.
class Semaphore {
 public:
  Semaphore(Loop& loop, std::size_t permits) : free_(permits), changed_(loop) {}

  class Permit {
   public:
    explicit Permit(Semaphore& owner) : owner_(&owner) {}
    Permit(Permit&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)) {}
    Permit& operator=(Permit&&) = delete;
    ~Permit() {
      if (!owner_) return;
      ++owner_->free_;
      owner_->changed_.notify_all();
    }

   private:
    Semaphore* owner_;
  };
  Task<Result<Permit>> acquire() {
    while (free_ == 0) CO_TRY_STATUS(changed_.wait());
    --free_;
    co_return Permit(*this);
  }
  std::size_t free() const { return free_; }

 private:
  std::size_t free_;
  Signal changed_;
};

}  // namespace tau::runtime
