#include "runtime/loop.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "runtime/one_shot.h"

namespace tau::runtime {

TimerId Loop::call_at(TimePoint at, Callback callback) {
  const TimerId id{at, ++timer_sequence_};
  const bool earliest = timers_.empty() || id < timers_.begin()->first;
  timers_.emplace(id, std::move(callback));
  if (earliest) timers_changed();
  return id;
}

void Loop::cancel_timer(const TimerId& id) { timers_.erase(id); }

std::optional<TimePoint> Loop::next_timer() const {
  if (timers_.empty()) return std::nullopt;
  return timers_.begin()->first.at;
}

bool Loop::run_due_timers() {
  bool ran = false;
  const TimePoint until = now();
  while (!timers_.empty() && timers_.begin()->first.at <= until) {
    auto callback = std::move(timers_.extract(timers_.begin()).mapped());
    callback();
    ran = true;
  }
  return ran;
}

struct RealLoop::Parts {
  boost::asio::io_context io{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{io.get_executor()};
  boost::asio::steady_timer timer{io};
  TimePoint armed_for{Duration::max()};
};

RealLoop::RealLoop() : parts_(std::make_unique<Parts>()) {}
RealLoop::~RealLoop() = default;

boost::asio::io_context& RealLoop::io() { return parts_->io; }
void RealLoop::post(Callback callback) { boost::asio::post(parts_->io, std::move(callback)); }

bool RealLoop::run_some() {
  parts_->io.restart();
  return parts_->io.run_one() > 0;
}

void RealLoop::run() {
  parts_->io.restart();
  parts_->io.run();
}
void RealLoop::stop() { parts_->io.stop(); }

void RealLoop::timers_changed() {
  const auto next = next_timer();
  if (!next) return;
  parts_->armed_for = *next;
  parts_->timer.expires_at(std::chrono::steady_clock::time_point(next->since_start));
  parts_->timer.async_wait([this](boost::system::error_code error) {
    if (error) return;  // re-armed for an earlier one
    run_due_timers();
    timers_changed();
  });
}

void VirtualLoop::post(Callback callback) {
  std::lock_guard lock(mutex_);
  ready_.push_back(std::move(callback));
}

bool VirtualLoop::run_some() {
  std::vector<Callback> batch;
  {
    std::lock_guard lock(mutex_);
    batch.swap(ready_);
  }
  for (auto& callback : batch) callback();
  if (!batch.empty()) return true;
  const auto next = next_timer();
  if (!next) return false;
  if (*next > now_) now_ = *next;
  return run_due_timers();
}

Task<Status> sleep_until(TimePoint at) {
  Loop& loop = (co_await current_scope()).loop();
  OneShot<void> wake(loop);
  const TimerId timer = loop.call_at(at, [wake]() mutable { wake.set_now({}); });
  Status status = co_await wake;
  loop.cancel_timer(timer);
  co_return status;
}

Task<Status> sleep_for(Duration duration) {
  Loop& loop = (co_await current_scope()).loop();
  co_return co_await sleep_until(loop.now() + duration);
}

Task<Status> yield() {
  Loop& loop = (co_await current_scope()).loop();
  OneShot<void> wake(loop);
  loop.post([wake]() mutable { wake.set_now({}); });
  co_return co_await wake;
}

}  // namespace tau::runtime
