#include "testnet/simulation/scenario.h"

#include <fmt/format.h>

#include <algorithm>

#include "testnet/simulation/people.h"
#include "testnet/simulation/votes.h"

namespace tau::testnet::simulation {
namespace {

using namespace std::chrono_literals;

// The network comes up first.
constexpr Duration kFaultsBegin = 2s;
// After the last repair: a lease that was lost, the builds that waited for it, and nodes that dial
// one another more and more rarely.
constexpr Duration kSettleMax = 240s;
constexpr Duration kStopMax = 60s;

struct Play {
  explicit Play(const ScenarioOptions& o) : options(o), trace(loop, o.keep) {
    const auto specs = spread_services(o.nodes);
    const auto plain =
        std::ranges::find_if(specs, [](const auto& spec) { return spec.services.empty(); });
    desk = static_cast<std::size_t>(plain - specs.begin());
    faults = make_faults(o.seed, specs, desk, kFaultsBegin, o.lasts);
    for (std::size_t i = 0; i < faults.size(); ++i)
      descriptions.push_back(fmt::format("#{:<3} {}", i, describe(faults[i], specs)));
    world = std::make_unique<World>(loop, World::Options{o.seed, specs, trace.logger()});
    People::Options who;
    who.seed = o.seed;
    who.desk = desk;
    who.projects = std::clamp<std::size_t>(o.nodes / 8, 1, 10);
    who.harm = [this](FaultKind kind, std::size_t node, Duration lasts) {
      nature->schedule({loop.now().since_start, lasts, kind, {node}, 0});
    };
    watch_votes(*world, ledger);
    people = std::make_unique<People>(*world, ledger, trace, who);
    nature = std::make_unique<Faults>(*world, ledger, trace);
  }

  Task<void> run() {
    const Status started = co_await world->start();
    if (!started) co_return ledger.violated("start: " + started.error().to_string());
    people->start();
    for (std::size_t i = 0; i < faults.size(); ++i)
      if (!options.without.contains(i)) nature->schedule(faults[i]);
    while (loop.now().since_start < options.lasts && ledger.violations().empty())
      (void)co_await runtime::sleep_for(100ms);
    if (!ledger.violations().empty()) co_return;
    co_await nature->join();
    trace.say("everything is repaired");
    people->finish();
    const TimePoint until = loop.now() + kSettleMax;
    std::string missing;
    while (ledger.violations().empty()) {
      missing = co_await people->missing();
      if (missing.empty()) break;
      if (loop.now() >= until) {
        ledger.violated(fmt::format("{} s after the last repair: {}", kSettleMax / 1s, missing));
        break;
      }
      (void)co_await runtime::sleep_for(500ms);
    }
    trace.say("all is as promised");
  }
  Task<void> end() {
    co_await nature->stop();
    co_await people->stop();
    co_await world->stop();
  }

  const ScenarioOptions options;
  runtime::VirtualLoop loop;
  Trace trace;
  Ledger ledger{loop, trace};
  std::size_t desk = 0;
  std::vector<Fault> faults;
  std::vector<std::string> descriptions;
  std::unique_ptr<World> world;
  std::unique_ptr<People> people;
  std::unique_ptr<Faults> nature;
};

// Runs the task, but not for ever. False: it did not end.
bool run_for(runtime::VirtualLoop& loop, runtime::TaskGroup& group, Task<void> task,
             Duration limit) {
  const TimePoint until = loop.now() + limit;
  group.spawn(std::move(task));
  while (group.running() > 0 && loop.now() < until)
    if (!loop.run_some()) break;
  return group.running() == 0;
}

}  // namespace

Outcome run_scenario(const ScenarioOptions& options) {
  auto play = std::make_unique<Play>(options);
  auto group = std::make_unique<runtime::TaskGroup>(play->loop);
  bool ended = run_for(play->loop, *group, play->run(), options.lasts + 2 * kSettleMax);
  if (!ended) play->ledger.violated("the scenario does not come to its end");
  ended = run_for(play->loop, *group, play->end(), kStopMax) && ended;
  if (!ended && play->ledger.violations().empty())
    play->ledger.violated(fmt::format("the nodes do not stop within {} s", kStopMax / 1s));
  Outcome out;
  out.violations = play->ledger.violations();
  out.virtual_time = play->loop.now().since_start;
  out.digest = play->trace.digest();
  out.messages = play->world->wires().messages();
  out.pushes = play->people->pushes();
  out.answers = play->people->answers();
  out.operations = play->ledger.operations();
  out.votes = play->ledger.votes();
  out.faults = play->descriptions;
  out.trace.assign(play->trace.lines().begin(), play->trace.lines().end());
  if (!ended) {
    // Its tasks still live: to destroy them would be a bug on top of what was found.
    (void)group.release();
    (void)play.release();
  }
  return out;
}

std::set<std::size_t> shrink(const ScenarioOptions& options, std::size_t runs_max) {
  ScenarioOptions smaller = options;
  smaller.keep = Trace::Keep::nothing;
  const std::size_t all = run_scenario(smaller).faults.size();
  std::vector<std::size_t> kept;
  for (std::size_t i = 0; i < all; ++i)
    if (!smaller.without.contains(i)) kept.push_back(i);
  std::size_t runs = 1;
  // Halves, then quarters, down to single faults: what may go without the failure going, goes.
  for (std::size_t part = std::max<std::size_t>(kept.size() / 2, 1); !kept.empty(); part /= 2) {
    for (std::size_t at = 0; at < kept.size() && runs < runs_max;) {
      const std::size_t end = std::min(at + part, kept.size());
      ScenarioOptions tried = smaller;
      tried.without.insert(kept.begin() + static_cast<std::ptrdiff_t>(at),
                           kept.begin() + static_cast<std::ptrdiff_t>(end));
      ++runs;
      if (run_scenario(tried).violations.empty()) {
        at = end;
        continue;
      }
      smaller = tried;
      kept.erase(kept.begin() + static_cast<std::ptrdiff_t>(at),
                 kept.begin() + static_cast<std::ptrdiff_t>(end));
    }
    if (part <= 1) break;
  }
  return smaller.without;
}

}  // namespace tau::testnet::simulation
