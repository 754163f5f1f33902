// The first SIGTERM or SIGINT as a callback on the loop. A second one, or kStopTimeMax without the
// destructor, ends the process with code 1 and one line on standard error. Made by main() before
// any other thread, which all then inherit that these signals wait here. Owns one thread, which
// ends with it.
#pragma once

#include <chrono>
#include <functional>
#include <thread>

#include "runtime/loop.h"

namespace tau::node {

// A clean stop takes some tens of milliseconds. Whatever was acknowledged is on the disk already,
// so a part that does not end is left behind, sooner than a supervisor would kill the process.
inline constexpr Duration kStopTimeMax = std::chrono::seconds(15);

class StopSignal {
 public:
  StopSignal(runtime::Loop& loop, std::function<void()> on_signal);
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

 private:
  std::thread thread_;
};

}  // namespace tau::node
