// Three tns nodes, each a process on a machine of its own (a network namespace), are killed and cut
// off while clients contradict each other; Porcupine says whether what the clients saw can be
// explained by one order of operations. README.md.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <thread>

#include "clients.h"
#include "networks.h"

namespace tau::test {
namespace {

using namespace std::chrono_literals;
using http::Json;

constexpr int kNodes = 3, kClients = 6;
constexpr auto kStartMax = 60s;
constexpr auto kShort = 24;  // seconds: some six faults
// Dials are repeated within seconds, an election takes one or two; the rest is a busy machine.
constexpr auto kGoesOnMax = 30s;

std::string tool(const std::string& name) { return std::string(TAU_BIN) + "/" + name; }

std::string from_environment(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value ? value : otherwise;
}

class Linearizability : public ::testing::Test {
 protected:
  Linearizability() {
    home.directory = folder.path();
    home.environment = {{"PATH", from_environment("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")},
                        {"HOME", from_environment("HOME", folder.path().string())}};
    for (const char* name : {"GOPROXY", "GOFLAGS", "GOMODCACHE", "GOCACHE", "GOSUMDB"})
      if (const char* value = std::getenv(name)) home.environment[name] = value;
  }
  // Why there is no checker here; empty: there is.
  std::string build_checker() {
    if (run(home, {"go", "version"}, 20s).code != 0)
      return "no Go here (the checker is tests/linearizability/checker)";
    const Said said = run(home, {"go", "build", "-C", TAU_CHECKER, "-o", checker, "."}, 240s);
    return said.code == 0 ? "" : "the checker's module can't be fetched or built: " + said.err;
  }
  Said check(const std::string& history) { return run(home, {checker, history}, 300s); }

  Folder folder;
  Place home;
  std::string checker = (folder / "checker").string();
};

// The checker itself: each of these is found, but for the one that is fine.
TEST_F(Linearizability, BrokenHistoriesAreFound) {
  if (const auto why = build_checker(); !why.empty()) GTEST_SKIP() << why;
  int broken = 0;
  for (const auto& entry : std::filesystem::directory_iterator(TAU_HISTORIES)) {
    const bool fine = entry.path().stem() == "fine";
    const Said said = check(entry.path().string());
    EXPECT_EQ(said.code, fine ? 0 : 1) << entry.path() << "\n" << said.out << said.err;
    broken += !fine;
  }
  EXPECT_GE(broken, 8);
}

// The machines, and what runs there.
class Room : public Linearizability {
 protected:
  struct Machine {
    std::unique_ptr<Child> process;
    std::string config;
  };
  void must(std::vector<std::string> argv) {
    const Said said = run(home, std::move(argv), 60s);
    ASSERT_EQ(said.code, 0) << said.out << said.err;
  }
  std::string create(const std::string& name, const std::string& service,
                     const std::string& address) {
    std::vector<std::string> argv = {
        tool("odo"),  "node",  "create",   (folder / "net").string(),      name,
        "--services", service, "--listen", "/ip4/" + address + "/tcp/4001"};
    if (!hub.empty()) argv.insert(argv.end(), {"--bootstrap", hub});
    must(std::move(argv));
    return (folder / "net" / name / "config.yaml").string();
  }
  bool start(int i) {
    auto& machine = machines[static_cast<std::size_t>(i)];
    machine.process = std::make_unique<Child>(
        home, networks->on(i, {tool("odo"), "start", "--config", machine.config}),
        folder / ("tns-" + std::to_string(i) + "-" + std::to_string(++starts)));
    return machine.process->first_line(kStartMax).has_value();
  }
  void kill(int i) {
    auto& machine = machines[static_cast<std::size_t>(i)];
    machine.process->signal(SIGKILL);
    (void)machine.process->wait(5s);
  }
  // One machine after the other, in turn by kill and by cut, so that two are always there.
  void break_things() {
    const auto wait = [&](std::chrono::milliseconds time) {
      const auto until = std::chrono::steady_clock::now() + time;
      while (!calm && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(20ms);
      return !calm;
    };
    SystemRandom chance;
    while (wait(2s)) {
      const int i = static_cast<int>(chance.below(kNodes));
      if (faults++ % 2 == 0) {
        kill(i);
        (void)wait(1s);
        if (!start(i)) broken = "a node that was killed does not start again";
      } else {
        if (!networks->cut(i)) broken = "a cable can't be pulled";
        (void)wait(3s);
        if (!networks->mend(i)) broken = "a cable can't be put back";
      }
      if (!broken.empty()) return;
    }
  }

  std::unique_ptr<Networks> networks;
  std::optional<Child> hub_process;
  std::string hub;
  std::vector<Machine> machines;
  std::atomic<bool> calm = false, whole = false;  // break no more; nothing is broken any more
  int starts = 0, faults = 0;
  std::string broken;
};

TEST_F(Room, WhatClientsSeeOfTnsUnderKillsAndCutsIsLinearizable) {
  if (const auto why = build_checker(); !why.empty()) GTEST_SKIP() << why;
  std::string why;
  networks = Networks::make(home, kNodes, why);
  if (!networks) GTEST_SKIP() << "no network namespaces here: " << why;
  ASSERT_NO_FATAL_FAILURE(
      must({tool("odo"), "network", "create", (folder / "net").string(), "--name", "home"}));
  std::string hub_config;
  ASSERT_NO_FATAL_FAILURE(hub_config = create("hub", "auth", networks->own_address()));
  hub_process.emplace(home, std::vector<std::string>{tool("odo"), "start", "--config", hub_config},
                      folder / "hub-out");
  const auto line = hub_process->first_line(kStartMax);
  ASSERT_TRUE(line) << hub_process->output();
  hub = Json::parse(*line)["addresses"][0];
  for (int i = 0; i < kNodes; ++i) {
    machines.emplace_back();
    ASSERT_NO_FATAL_FAILURE(machines.back().config = create("tns-" + std::to_string(i + 1), "tns",
                                                            networks->address(i)));
  }
  for (int i = 0; i < kNodes; ++i)
    ASSERT_TRUE(start(i)) << machines[static_cast<std::size_t>(i)].process->output();

  Visitor visitor;
  Member member(visitor, folder / "net" / "root.key", "home", folder / "member", hub,
                {"client", "auth", "patrick", "monkey"});
  ASSERT_TRUE(member.start("tns"));
  ASSERT_TRUE(visitor.wait_until(30s, [&] { return member.with_role("tns").size() == kNodes; }));
  const std::string path = from_environment("TAU_HISTORY", (folder / "history.jsonl").string());
  History history(path);
  Clients clients(visitor, member, history, "home.localhost");
  clients.start(kClients);
  ASSERT_TRUE(visitor.wait_until(60s, [&] { return history.succeeded() > 50; }))
      << "nothing can be published";

  const auto seconds =
      std::chrono::seconds(std::stoi(from_environment("TAU_SECONDS", std::to_string(kShort))));
  // A process dies with the thread that started it: this one stays until the end.
  std::jthread breaking([&](const std::stop_token& stop) {
    break_things();
    whole = true;
    std::mutex mutex;
    std::unique_lock lock(mutex);
    (void)std::condition_variable_any().wait(lock, stop, [] { return false; });
  });
  const auto until = std::chrono::steady_clock::now() + seconds;
  (void)visitor.wait_until(seconds + 1s, [&] { return std::chrono::steady_clock::now() >= until; });
  calm = true;
  ASSERT_TRUE(visitor.wait_until(kStartMax, [&] { return whole.load(); }));
  EXPECT_EQ(broken, "");
  EXPECT_GE(faults, 3);
  const std::size_t before = history.succeeded();
  const auto mended = std::chrono::steady_clock::now();
  EXPECT_TRUE(visitor.wait_until(kGoesOnMax, [&] { return history.succeeded() > before + 50; }))
      << "all nodes run and reach each other, and nothing is decided";
  const std::chrono::duration<double> went_on = std::chrono::steady_clock::now() - mended;
  clients.stop();
  history.flush();
  EXPECT_GT(history.size(), 300u);
  const Said said = check(path);
  std::cout << faults << " faults in " << seconds.count() << " s; " << went_on.count()
            << " s after the last, 50 more operations had succeeded\n"
            << said.out;
  EXPECT_EQ(said.code, 0) << said.err;
}

}  // namespace
}  // namespace tau::test
