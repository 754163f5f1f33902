// SIGTERM and SIGINT as a callback on the loop. Made by main() before any other thread, which all
// then inherit that these signals wait here. Owns one thread, which ends with it.
#pragma once

#include <functional>
#include <thread>

#include "runtime/loop.h"

namespace tau::node {

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
