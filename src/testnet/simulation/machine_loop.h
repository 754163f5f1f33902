// The time of one simulated machine: the world's, seen through a clock that may be wrong. Its wall
// clock can be set to anything, and its monotonic clock can run a little fast or slow, as quartz
// does.
//
// Lives as long as the world's loop is run. Loop thread only.
#pragma once

#include <optional>

#include "runtime/loop.h"

namespace tau::testnet::simulation {

class MachineLoop final : public runtime::Loop {
 public:
  explicit MachineLoop(runtime::VirtualLoop& world) : world_(world) {}

  TimePoint now() const override { return local(world_.now()); }
  std::int64_t wall_unix_ms() const override { return world_.wall_unix_ms() + wall_offset_ms_; }
  void post(runtime::Callback callback) override { world_.post(std::move(callback)); }
  bool run_some() override { return world_.run_some(); }

  void set_wall_offset_ms(std::int64_t offset_ms) { wall_offset_ms_ = offset_ms; }
  // Parts per million that the monotonic clock gains (or loses, below 0) from now on.
  void set_drift_ppm(std::int64_t ppm);

 private:
  void timers_changed() override { arm(); }
  void arm();
  TimePoint local(TimePoint world) const;
  TimePoint in_world(TimePoint local) const;

  runtime::VirtualLoop& world_;
  std::int64_t wall_offset_ms_ = 0, drift_ppm_ = 0;
  TimePoint since_world_, since_local_;  // where the present rate began
  std::optional<runtime::TimerId> armed_;
};

}  // namespace tau::testnet::simulation
