#include "testnet/simulation/machine_loop.h"

namespace tau::testnet::simulation {
namespace {

constexpr std::int64_t kMillion = 1'000'000;

// Years of nanoseconds times a million do not fit 64 bits.
Duration scaled(Duration d, std::int64_t by, std::int64_t of) {
  return Duration(static_cast<std::int64_t>(static_cast<__int128>(d.count()) * by / of));
}

}  // namespace

TimePoint MachineLoop::local(TimePoint world) const {
  const Duration passed = world - since_world_;
  return since_local_ + passed + scaled(passed, drift_ppm_, kMillion);
}

TimePoint MachineLoop::in_world(TimePoint local) const {
  const Duration passed = local - since_local_;
  if (drift_ppm_ == 0) return since_world_ + passed;
  return since_world_ + scaled(passed, kMillion, kMillion + drift_ppm_) + Duration(2);  // rounded
}

void MachineLoop::set_drift_ppm(std::int64_t ppm) {
  const TimePoint world = world_.now();
  since_local_ = local(world);
  since_world_ = world;
  drift_ppm_ = ppm;
  arm();
}

void MachineLoop::arm() {
  const auto next = next_timer();
  if (armed_) world_.cancel_timer(*armed_);
  armed_.reset();
  if (!next) return;
  armed_ = world_.call_at(std::max(in_world(*next), world_.now()), [this] {
    armed_.reset();
    run_due_timers();
    arm();
  });
}

}  // namespace tau::testnet::simulation
