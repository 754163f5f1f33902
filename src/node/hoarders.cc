#include "node/hoarders.h"

#include <algorithm>

#include "runtime/task_group.h"
#include "services/hoarder/api.h"

namespace tau::node {

struct Hoarders::Asking {
  codec::Cid root;
  std::vector<PeerId> left;  // not asked yet; asked from the back
  std::vector<PeerId> holding;
  std::string failures;
};

Task<Result<std::vector<PeerId>>> Hoarders::hold(codec::Cid root) {
  Asking asking{root, caller_.peers_with_role(hoarder::kRole), {}, {}};
  if (asking.left.empty())
    co_return fail(ErrorCode::unavailable, "no hoarder is connected: nobody would keep the build");
  const std::size_t wanted = std::min(kHoldersWanted, asking.left.size());
  for (std::size_t i = asking.left.size(); i > 1; --i)
    std::swap(asking.left[i - 1], asking.left[random_.below(i)]);
  co_return co_await ask(asking, wanted);
}

Task<Status> Hoarders::hold_also(codec::Cid root, std::vector<PeerId> holders) {
  const std::size_t wanted = holders.size();
  Asking asking{root, std::move(holders), {}, {}};
  CO_TRY(const auto held, ask(asking, wanted));
  (void)held;
  co_return Status{};
}

Task<Result<std::vector<PeerId>>> Hoarders::ask(Asking& asking, std::size_t wanted) {
  // As many at once as are wanted; one that fails is replaced by the next.
  runtime::TaskGroup group(loop_);
  runtime::Scope& scope = co_await runtime::current_scope();
  for (std::size_t i = 0; i < wanted; ++i) group.spawn(ask_in_turn(asking));
  struct CancelGroup final : runtime::CancelHook {
    explicit CancelGroup(runtime::TaskGroup& g) : group(g) {}
    void on_cancel() override { group.cancel(); }
    runtime::TaskGroup& group;
  } hook(group);
  if (scope.cancelled()) {
    group.cancel();
  } else {
    scope.add(hook);
  }
  co_await group.join();
  if (scope.cancelled()) co_return fail(ErrorCode::cancelled, "cancelled");
  if (asking.holding.size() >= wanted) co_return asking.holding;
  co_return fail(ErrorCode::unavailable, std::to_string(asking.holding.size()) + " of " +
                                             std::to_string(wanted) +
                                             " hoarders hold the build: " + asking.failures);
}

Task<void> Hoarders::ask_in_turn(Asking& asking) {
  runtime::Scope& scope = co_await runtime::current_scope();
  while (!asking.left.empty() && !scope.cancelled()) {
    const PeerId peer = asking.left.back();
    asking.left.pop_back();
    const auto held =
        co_await caller_.call<hoarder::Hold>(peer, hoarder::kProtocol, {asking.root, {self_}});
    if (held) {
      asking.holding.push_back(peer);
      co_return;
    }
    if (!asking.failures.empty()) asking.failures += "; ";
    asking.failures += peer.str() + ": " + held.error().message();
  }
}

}  // namespace tau::node
