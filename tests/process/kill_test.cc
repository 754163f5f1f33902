// kill -9 of every process at random moments, while people push and browsers ask: what was
// acknowledged is there after the restart.
//
// The seed is printed, and decides the moments and the kinds of pushes; how far each process had
// come by then is the machine's. TAU_KILL_ROUNDS and TAU_KILL_SEED choose (docs/developing.md).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "base/random.h"
#include "killed_network.h"

namespace tau::test {
namespace {

using namespace std::chrono_literals;
using Time = std::chrono::steady_clock;

constexpr std::uint64_t kRoundsOfMakeTest = 12;
constexpr auto kReadyMax = 30s;   // a second on a machine with nothing else to do
constexpr auto kSettleMax = 90s;  // leases of killed monkeys, and the builds that waited
constexpr std::uint64_t kSettleEvery = 10;

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text && *text ? std::strtoull(text, nullptr, 10) : otherwise;
}

// What happens beside the killing. Every thread looks at `over`.
class Life {
 public:
  Life(KilledNetwork& network, Promises& promises, std::uint64_t seed)
      : network_(network), promises_(promises), random_(seed) {
    threads_.emplace_back([this] { push_all_the_time(); });
    for (std::size_t node : {0u, 1u})
      threads_.emplace_back([this, node] { ask_all_the_time(node); });
    threads_.emplace_back([this] { watch_builds(); });
  }
  ~Life() {
    over_ = true;
    pausing_ = false;
    for (auto& thread : threads_) thread.join();
  }

  // Between the death of all processes and their next start.
  void everything_died() {
    floor_ = promises_.newest_seen();
    ++round_;
  }

  // Nobody pushes any more until go_on(); what was begun is pushed until it is acknowledged.
  bool pause(std::chrono::seconds limit) {
    pausing_ = true;
    const auto until = Time::now() + limit;
    while (!paused_ && Time::now() < until) std::this_thread::sleep_for(5ms);
    return paused_;
  }
  void go_on() { pausing_ = false; }

  std::uint64_t requests() const { return requests_; }
  std::uint64_t answers() const { return answers_; }
  std::string last_push() const {
    const std::lock_guard lock(mutex_);
    return last_push_;
  }

  // Of the branch main; all that were ever seen.
  std::vector<KilledNetwork::Build> builds() const {
    const std::lock_guard lock(mutex_);
    std::vector<KilledNetwork::Build> all;
    for (const auto& [id, build] : builds_) all.push_back(build);
    return all;
  }

 private:
  void push_all_the_time() {
    for (std::uint64_t turn = 1; !over_; ++turn) {
      while (pausing_ && !over_) {
        paused_ = true;
        std::this_thread::sleep_for(5ms);
      }
      paused_ = false;
      if (over_) return;
      switch (random_.below(10)) {
        case 0: {
          // A name that was asked for may be taken, even if nobody heard it.
          const std::string name = fmt::format("other{}", turn);
          if (network_.new_project(name).code == 0) promises_.registered(name);
          break;
        }
        case 1:
        case 2:
          push_until_acknowledged("config", "main", {network_.commit_config(std::to_string(turn))});
          break;
        case 3:
          if (version_ > 0)
            push_until_acknowledged("code", fmt::format("main:try/{}", turn % 5), {});
          break;
        default:
          push_version();
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(random_.below(100)));
    }
  }

  void push_version() {
    const std::string commit = network_.commit_version(++version_);
    {
      const std::lock_guard lock(mutex_);
      versions_[commit] = version_;
    }
    push_until_acknowledged("code", "main", {commit, version_});
  }

  void push_until_acknowledged(const std::string& repository, const std::string& what,
                               Promises::Push push) {
    while (!over_) {
      const Said said = network_.push(repository, what);
      {
        const std::lock_guard lock(mutex_);
        last_push_ = fmt::format("{}: {}{}", said.code, said.out, said.err);
      }
      if (said.code == 0) {
        if (!push.commit.empty()) promises_.acknowledged(std::move(push));
        return;
      }
      std::this_thread::sleep_for(30ms);
    }
  }

  void ask_all_the_time(std::size_t node) {
    Visitor visitor;
    std::uint64_t last = 0, last_round = 0;
    while (!over_) {
      const std::uint64_t round = round_, floor = floor_;
      const Answer answer = network_.ask(visitor, node);
      ++requests_;
      const auto version = network_.version_of(answer);
      if (answer.status == 200 && !version)
        promises_.broken(fmt::format("node {} answered \"{}\"", node, answer.body));
      if (answer.status == 404 && round == round_ &&
          (floor > 0 || (round == last_round && last > 0)))
        promises_.broken(
            fmt::format("node {} forgot the deployment in round {}: floor {}, last {} in {}: {}",
                        node, round, floor, last, last_round, answer.body));
      if (version && round == round_) {
        ++answers_;
        const std::uint64_t least = std::max(floor, round == last_round ? last : 0);
        if (*version < least)
          promises_.broken(fmt::format("node {} answered version {} in round {} after {} was seen",
                                       node, *version, round, least));
        last = *version;
        last_round = round;
      }
      if (version) promises_.seen(*version);
      if (!version) std::this_thread::sleep_for(10ms);
      std::this_thread::sleep_for(20ms);
    }
  }

  void watch_builds() {
    Visitor visitor;
    while (!over_) {
      if (const auto listed = network_.builds(visitor))
        for (const auto& build : *listed) note(build);
      std::this_thread::sleep_for(100ms);
    }
  }

  void note(const KilledNetwork::Build& build) {
    const std::lock_guard lock(mutex_);
    const auto [known, fresh] = jobs_.emplace(std::pair(build.branch, build.seq), build.id);
    if (!fresh && known->second != build.id)
      promises_.broken(fmt::format("push {} of {} is job {} and job {}", build.seq, build.branch,
                                   known->second, build.id));
    auto& before = builds_[build.id];
    if (before.state == "succeeded" && build.state != "succeeded")
      promises_.broken(fmt::format("job {} had succeeded and is {} now", build.id, build.state));
    for (const auto& [repository, commit] : before.commits)
      if (build.commits.at(repository) != commit)
        promises_.broken(fmt::format("job {} was of commit {}", build.id, commit));
    before = build;
    const auto code = build.commits.find("code");
    if (build.state != "succeeded" || build.branch != "main" || code == build.commits.end()) return;
    if (const auto version = versions_.find(code->second); version != versions_.end())
      promises_.seen(version->second);
  }

  KilledNetwork& network_;
  Promises& promises_;
  SeededRandom random_;
  std::atomic<bool> over_ = false, pausing_ = false, paused_ = false;
  std::atomic<std::uint64_t> round_ = 1, floor_ = 0, requests_ = 0, answers_ = 0;
  mutable std::mutex mutex_;
  std::map<std::string, std::uint64_t> versions_;
  std::map<std::pair<std::string, std::uint64_t>, std::string> jobs_;  // by branch and seq
  std::map<std::string, KilledNetwork::Build> builds_;
  std::uint64_t version_ = 0;  // of the thread that pushes
  std::string last_push_;
  std::vector<std::thread> threads_;
};

bool ended(const std::string& state) { return state == "succeeded" || state == "superseded"; }

class RandomKills : public ::testing::Test {
 protected:
  // Everything that was acknowledged has come about, with nobody pushing and nobody killing.
  void settle(Life& life) {
    const auto begun = Time::now();
    ASSERT_TRUE(life.pause(kSettleMax)) << "git push goes on failing: " << life.last_push() << "\n"
                                        << network.said();
    const auto pushes = promises.pushes();
    ASSERT_FALSE(pushes.empty());
    Promises::Push last;
    for (const auto& push : pushes)
      if (push.version > 0) last = push;
    std::vector<std::string> missing;
    const bool met = visitor.wait_until(kSettleMax, [&] {
      missing.clear();
      for (std::size_t node : {0u, 1u}) {
        const Answer answer = network.ask(visitor, node);
        if (last.version > 0 && network.version_of(answer) != last.version)
          missing.push_back(fmt::format("node {} answers {} {}", node, answer.status, answer.body));
      }
      std::set<std::string> built;
      for (const auto& build : life.builds()) {
        for (const auto& [repository, commit] : build.commits) built.insert(commit);
        if (!ended(build.state))
          missing.push_back(fmt::format("build {} of {} is {}: {}", build.seq, build.branch,
                                        build.state, build.error));
      }
      for (const auto& push : pushes)
        if (!built.contains(push.commit)) missing.push_back("no job has commit " + push.commit);
      const auto projects = network.projects(visitor);
      for (const auto& project : promises.projects())
        if (!projects || !projects->contains(project)) missing.push_back("no project " + project);
      return missing.empty() || !promises.breaches().empty();
    });
    std::string all;
    for (const auto& one : missing) all += one + "\n";
    ASSERT_TRUE(met) << "wanted version " << last.version << "\n" << all << network.said();
    const Said listed = run(network.home, {"git", "ls-remote", network.repository("code"), "main"});
    ASSERT_TRUE(last.version == 0 || listed.out.starts_with(last.commit))
        << "git acknowledged " << last.commit << " and has " << listed.out << listed.err;
    fmt::print("  settled in {} ms: version {}, {} of {} requests answered\n",
               (Time::now() - begun) / 1ms, last.version, life.answers(), life.requests());
    life.go_on();
  }

  std::string breaches() const {
    std::string all;
    for (const auto& one : promises.breaches()) all += one + "\n";
    return all;
  }

  KilledNetwork network;
  Promises promises;
  Visitor visitor;
};

TEST_F(RandomKills, NothingThatWasAcknowledgedIsLost) {
  const std::uint64_t rounds = number_from("TAU_KILL_ROUNDS", kRoundsOfMakeTest);
  SystemRandom chance;
  const std::uint64_t seed = number_from("TAU_KILL_SEED", chance.below(1'000'000));
  fmt::print("TAU_KILL_ROUNDS={} TAU_KILL_SEED={}\n", rounds, seed);
  std::fflush(stdout);  // also for whoever ends a run that takes too long
  RecordProperty("seed", std::to_string(seed));
  SeededRandom random(seed);
  network.create();
  network.start();
  ASSERT_TRUE(network.wait_ready(kReadyMax)) << network.said();
  network.make_project();
  ASSERT_EQ(network.push("config").code, 0);
  std::chrono::milliseconds slowest{};
  {
    Life life(network, promises, seed);
    for (std::uint64_t round = 1; round <= rounds; ++round) {
      // Some die while they start, most in the middle of the work.
      const bool early = round > 1 && random.below(6) == 0;
      const auto pause = std::chrono::milliseconds(random.below(early ? 400 : 1500));
      if (!early) {
        const auto begun = Time::now();
        ASSERT_TRUE(network.wait_ready(kReadyMax))
            << "round " << round << " of seed " << seed << "\n"
            << network.said();
        slowest = std::max(
            slowest, std::chrono::duration_cast<std::chrono::milliseconds>(Time::now() - begun));
        if (round % kSettleEvery == 0) {
          ASSERT_NO_FATAL_FAILURE(settle(life)) << "round " << round << " of seed " << seed;
        }
      }
      std::this_thread::sleep_for(pause);
      network.kill();
      life.everything_died();
      ASSERT_EQ(breaches(), "") << "round " << round << " of seed " << seed << "\n"
                                << network.said();
      network.start();
    }
    ASSERT_TRUE(network.wait_ready(kReadyMax)) << network.said();
    ASSERT_NO_FATAL_FAILURE(settle(life)) << "at the end of seed " << seed;
  }
  EXPECT_EQ(breaches(), "");
  const auto took = network.stop(20s);
  ASSERT_TRUE(took) << "no clean end after SIGTERM\n" << network.said();
  for (const char* name : {"code", "config"}) {
    const Said checked =
        run(network.home, {"git", "-C", network.repository(name), "fsck", "--full"});
    EXPECT_EQ(checked.code, 0) << checked.out << checked.err;
  }
  fmt::print(
      "  {} pushes and {} projects acknowledged; ready after {} ms at most, stopped in {} ms\n",
      promises.pushes().size(), promises.projects().size(), slowest / 1ms, *took / 1ms);
}

}  // namespace
}  // namespace tau::test
