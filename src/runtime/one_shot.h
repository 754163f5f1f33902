// OneShot<T>: a value that arrives once, awaited by at most one task. The leaf from which the other
// primitives are made.
//
//   OneShot<Bytes> answer(loop);
//   library.fetch([answer, &loop](Bytes b) mutable { loop.post([=] mutable { answer.set(b); }); });
//   Result<Bytes> bytes = co_await answer;      // cancelled when the task's scope is
//
// Copies share one value. set() resumes the awaiting task from the loop, never from inside the
// caller, so that between two co_awaits nothing else runs. A value that comes after the awaiting
// task was cancelled is dropped. Loop thread only.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "base/error.h"
#include "runtime/loop.h"

namespace tau::runtime {

template <class T>
class OneShot {
  struct State final : CancelHook, std::enable_shared_from_this<State> {
    explicit State(Loop& l) : loop(l) {}
    void on_cancel() override {
      if (value) return;
      value.emplace(fail(ErrorCode::cancelled, "cancelled"));
      loop.post([self = this->shared_from_this()] { self->resume(); });
    }
    void resume() {
      if (auto h = std::exchange(waiting, nullptr)) h.resume();
    }
    Loop& loop;
    std::optional<Result<T>> value;
    std::coroutine_handle<> waiting;
  };

 public:
  explicit OneShot(Loop& loop) : state_(std::make_shared<State>(loop)) {}

  void set(Result<T> value) {
    if (!store(std::move(value))) return;
    state_->loop.post([state = state_] { state->resume(); });
  }
  // Resumes at once: for callers that are themselves callbacks of the loop (timers, sockets), in
  // tail position.
  void set_now(Result<T> value) {
    if (store(std::move(value))) state_->resume();
  }
  bool is_set() const { return state_->value.has_value(); }

  struct Awaiter {
    std::shared_ptr<State> state;
    bool await_ready() const noexcept { return false; }
    template <class P>
    bool await_suspend(std::coroutine_handle<P> me) {
      if (state->value) return false;  // set before it was awaited
      Scope& scope = me.promise().scope();
      if (scope.cancelled()) {
        state->value.emplace(fail(ErrorCode::cancelled, "cancelled"));
        return false;
      }
      CHECK(!state->waiting);
      state->waiting = me;
      scope.add(*state);
      return true;
    }
    Result<T> await_resume() { return std::move(*state->value); }
  };
  Awaiter operator co_await() const { return Awaiter{state_}; }

 private:
  bool store(Result<T> value) {
    if (state_->value) return false;
    state_->unlink();
    state_->value.emplace(std::move(value));
    return static_cast<bool>(state_->waiting);
  }
  std::shared_ptr<State> state_;
};

}  // namespace tau::runtime
