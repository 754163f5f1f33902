#include "services/tns/shard.h"

#include <utility>

namespace tau::tns {
namespace {

// A disk that failed a write is given a moment, and one that fails again more.
constexpr Duration kMendAfter = std::chrono::seconds(1);
constexpr Duration kMendAgain = std::chrono::seconds(5);

consensus::Group::Options group_options(const Shard::Options& options) {
  consensus::Group::Options out;
  out.name = options.group;
  out.voters = options.founders;
  return out;
}

}  // namespace

std::size_t voters_wanted(std::size_t founders) { return founders >= 5 ? 5 : 3; }

Shard::Shard(consensus::Groups& groups, store::Kv& kv, Logger log, Options options)
    : loop_(groups.loop()),
      log_(std::move(log)),
      names_(options.limits),
      group_(groups, kv, group_options(options), names_),
      keeper_(groups, group_, std::move(options.keeper)),
      hurt_(loop_) {
  group_.on_removed([this] { hurt_.notify_all(); });
  group_.on_broken([this] { hurt_.notify_all(); });
}
Shard::~Shard() { CHECK(!tasks_); }

Task<Status> Shard::start() {
  if (tasks_) co_return Status{};
  CO_TRY_STATUS(group_.start());
  stopped_ = false;
  keeper_.start();
  tasks_ = std::make_unique<runtime::TaskGroup>(loop_);
  tasks_->spawn(mend());
  co_return Status{};
}

Task<void> Shard::stop() {
  if (tasks_) co_await tasks_->stop();
  tasks_.reset();
  co_await keeper_.stop();
  co_await group_.stop();
}

Status Shard::ready() const {
  if (group_.caught_up()) return {};
  return fail(ErrorCode::unavailable, "this tns node is still catching up with its group");
}

Task<void> Shard::mend() {
  for (;;) {
    while (!stopped_ && !group_.removed() && group_.health()) {
      if (!co_await hurt_.wait()) co_return;
    }
    if (!co_await runtime::sleep_for(stopped_ ? kMendAgain : kMendAfter)) co_return;
    const std::string why = group_.removed()  ? "it was removed"
                            : group_.health() ? ""
                                              : group_.health().error().message();
    if (!why.empty()) log_.info("group " + group_.name() + " starts again here: " + why);
    co_await group_.stop();
    names_.clear();
    const Status started = co_await group_.start();
    stopped_ = !started;
    if (!started)
      log_.warning("group " + group_.name() + " does not start: " + started.error().to_string());
  }
}

}  // namespace tau::tns
