// Templates of loop.h.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "runtime/loop.h"

namespace tau::runtime {
namespace detail {

// A coroutine that owns itself: what TaskGroup and block_on start tasks with.
struct Root {
  struct promise_type {
    Scope* scope_pointer = nullptr;
    Scope& scope() const { return *scope_pointer; }
    Root get_return_object() {
      return Root{std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;
  void start(Scope& scope) {
    handle.promise().scope_pointer = &scope;
    handle.resume();
  }
};

}  // namespace detail

template <class T>
Task<Result<T>> with_deadline(Duration limit, std::string what, Task<Result<T>> task) {
  Scope& outer = co_await current_scope();
  Loop& loop = outer.loop();
  Scope inner(loop, outer);
  bool expired = false;
  const TimerId timer = loop.call_after(limit, [&] {
    expired = true;
    inner.cancel();
  });
  Result<T> result = co_await std::move(task).in(inner);
  loop.cancel_timer(timer);
  if (expired && !result && result.error().code() == ErrorCode::cancelled) {
    co_return fail(
        ErrorCode::deadline_exceeded,
        what + " took longer than " + std::to_string(limit / std::chrono::milliseconds(1)) + " ms");
  }
  co_return result;
}

template <class T>
T block_on(Loop& loop, Task<T> task) {
  Scope scope(loop);
  if constexpr (std::is_void_v<T>) {
    bool done = false;
    auto root = [](Task<void> t, bool& flag) -> detail::Root {
      co_await std::move(t);
      flag = true;
    }(std::move(task), done);
    root.start(scope);
    while (!done) CHECK(loop.run_some());
  } else {
    std::optional<T> value;
    auto root = [](Task<T> t, std::optional<T>& out) -> detail::Root {
      out.emplace(co_await std::move(t));
    }(std::move(task), value);
    root.start(scope);
    while (!value) CHECK(loop.run_some());
    return std::move(*value);
  }
}

}  // namespace tau::runtime
