// What a newcomer does, with the programs themselves: start a cloud, make a project, push with
// plain git, ask over HTTP and DNS, break things. Once in dream's one process, once with a process
// for each node.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <regex>

#include "child.h"
#include "http/json.h"
#include "services/patrick/api.h"
#include "services/seer/api.h"
#include "services/substrate/api.h"
#include "visitor.h"

namespace tau::test {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using http::Json;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto kBuildMax = 120s;  // the first build of a loaded machine
constexpr auto kStartMax = 60s;

std::string tool(const std::string& name) { return std::string(TAU_BIN) + "/" + name; }

net::Endpoint endpoint(const Json& value) {
  auto parsed = net::Endpoint::parse(value.get<std::string>());
  CHECK(parsed);
  return *parsed;
}

class DemoPath : public ::testing::Test {
 protected:
  DemoPath() {
    const char* path = std::getenv("PATH");
    home.directory = folder.path();
    home.environment = {{"PATH", std::string(TAU_BIN) + ":" + (path ? path : "/usr/bin:/bin")},
                        {"HOME", folder.path().string()},
                        {"XDG_CONFIG_HOME", (folder / "settings").string()},
                        {"XDG_CACHE_HOME", (folder / "cache").string()},
                        {"GIT_CONFIG_NOSYSTEM", "1"},
                        {"GIT_TERMINAL_PROMPT", "0"},
                        {"GIT_AUTHOR_NAME", "newcomer"},
                        {"GIT_AUTHOR_EMAIL", "newcomer@localhost"},
                        {"GIT_COMMITTER_NAME", "newcomer"},
                        {"GIT_COMMITTER_EMAIL", "newcomer@localhost"}};
  }

  // A program that must succeed. Gives its standard output.
  std::string must(std::vector<std::string> argv, const fs::path& directory = {}) {
    Place place = home;
    if (!directory.empty()) place.directory = directory;
    std::string line;
    for (const auto& word : argv) line += word + " ";
    const Said said = run(place, std::move(argv), 120s);
    EXPECT_EQ(said.code, 0) << line << "\n" << said.out << said.err;
    return said.out;
  }

  void make_and_push_project() {
    must({tool("tau"), "new", "project", "hello"});
    must({tool("tau"), "new", "function", "ping", "--language", "cpp", "--path", "/ping"},
         project());
    must({tool("tau"), "push"}, project());
  }
  fs::path project() const { return folder / "hello"; }

  // Waits for this answer at this address; the failure shows what came instead, and the builds.
  ::testing::AssertionResult answers(const net::Endpoint& at, const std::string& wanted) {
    Answer last;
    const bool met = visitor.wait_until(kBuildMax, [&] {
      last = visitor.ask(at, host(), "/ping");
      return last.status == 200 && last.body == wanted;
    });
    if (met) return ::testing::AssertionSuccess();
    const Said builds = run(project_place(), {tool("tau"), "query", "builds"});
    return ::testing::AssertionFailure()
           << at.to_string() << " answered " << last.status << " " << last.body << "\n"
           << builds.out << builds.err;
  }
  Place project_place() const {
    Place place = home;
    place.directory = project();
    return place;
  }

  void change_code_and_push(const std::string& from, const std::string& to) {
    const fs::path source = project() / "code" / "functions" / "ping" / "main.cc";
    std::string text = read_text(source);
    const auto at = text.find("\"" + from + "\"");
    ASSERT_NE(at, std::string::npos) << text;
    text.replace(at, from.size() + 2, "\"" + to + "\"");
    write_text(source, text);
    must({"git", "commit", "-qam", "Another answer"}, project() / "code");
    must({"git", "push", "-q"}, project() / "code");
  }

  // Breaks the function's YAML, pushes, and waits until the newest build has failed. Gives why.
  std::string push_broken_config() {
    const fs::path file = project() / "config" / "functions" / "ping.yaml";
    write_text(file, read_text(file) + "trigger: [\n");
    must({"git", "commit", "-qam", "Not YAML any more"}, project() / "config");
    must({"git", "push", "-q"}, project() / "config");
    std::string said;
    EXPECT_TRUE(visitor.wait_until(kBuildMax, [&] {
      said = run(project_place(), {tool("tau"), "query", "builds", "--json"}).out;
      return said.find("\"failed\"") != std::string::npos;
    })) << said;
    return said;
  }

  // Asserts, of a member's view of the network: a substrate had its blocks from other nodes over
  // sockets, and none of the substrates is the monkey that built.
  void check_where_it_came_from(Member& member) {
    for (const PeerId& substrate : member.with_role("substrate")) {
      const auto counters = member.call<substrate::Statistics>(substrate, substrate::kProtocol, {});
      ASSERT_TRUE(counters) << counters.error().to_string();
      EXPECT_GT(counters->blocks_from_peers, 0u) << substrate.str();
      EXPECT_GT(counters->bytes_from_peers, 100u) << substrate.str();
      for (const PeerId& monkey : member.with_role("monkey")) EXPECT_NE(monkey, substrate);
    }
  }

  std::string host() const { return "hello." + suffix; }

  Folder folder;
  Place home;
  Visitor visitor;
  std::string suffix;
};

class DreamForm : public DemoPath {
 protected:
  void start() {
    dream.emplace(
        home,
        std::vector<std::string>{tool("dream"), "new", "multiverse", "--json", "--http-port", "0",
                                 "--dns-port", "0", "--api-port", "0", "--control", "127.0.0.1:0",
                                 "--data", (folder / "data").string()},
        folder / "dream");
    const auto line = dream->first_line(kStartMax);
    ASSERT_TRUE(line) << dream->output();
    const Json view = Json::parse(*line);
    universe = view["universes"][0];
    control = endpoint(view["control"]);
    suffix = universe["suffix"];
    home.environment["TAU_CLOUD"] =
        "http://" + control.to_string() + "/v1/universes/blackhole/cloud";
  }
  std::vector<net::Endpoint> substrates() const {
    std::vector<net::Endpoint> out;
    for (const Json& node : universe["nodes"])
      if (node["http"].is_string()) out.push_back(endpoint(node["http"]));
    return out;
  }
  std::vector<std::string> with_control(std::vector<std::string> argv) const {
    argv.insert(argv.end(), {"--control", control.to_string()});
    return argv;
  }

  std::optional<Child> dream;
  net::Endpoint control;
  Json universe;
};

TEST_F(DreamForm, FromGitPushToAnAnswerAndOn) {
  ASSERT_NO_FATAL_FAILURE(start());
  make_and_push_project();

  ASSERT_TRUE(answers(endpoint(universe["entry"]), "pong"));
  ASSERT_EQ(substrates().size(), 2u);
  for (const auto& at : substrates()) {
    EXPECT_NE(at.address, "127.0.0.1");
    ASSERT_TRUE(answers(at, "pong"));
  }

  {
    const std::string first = universe["nodes"][0]["addresses"][0];
    Member member(visitor, folder / "data" / "universe-blackhole" / "root.key", "blackhole",
                  folder / "member", first);
    const Status met = member.start();
    ASSERT_TRUE(met) << met.error().to_string();
    check_where_it_came_from(member);
  }

  change_code_and_push("pong", "pong, louder");
  for (const auto& at : substrates()) ASSERT_TRUE(answers(at, "pong, louder"));

  const std::string failed = push_broken_config();
  EXPECT_TRUE(std::regex_search(failed, std::regex("functions/ping\\.yaml:[0-9]+:[0-9]+")))
      << failed;
  for (const auto& at : substrates()) ASSERT_TRUE(answers(at, "pong, louder"));

  EXPECT_EQ(visitor.ask(substrates()[0], host(), "/nothing").status, 404);
  EXPECT_EQ(visitor.ask(substrates()[0], "nobody." + suffix, "/ping").status, 404);

  // The entry goes on when a substrate dies, and DNS forgets the dead one.
  const auto seer = endpoint(universe["dns"]);
  must(with_control({tool("dream"), "kill", "substrate-1"}));
  EXPECT_TRUE(answers(endpoint(universe["entry"]), "pong, louder"));
  EXPECT_TRUE(visitor.wait_until(10s, [&] {
    const auto answer = visitor.resolve(seer, host());
    return answer && answer->addresses == std::vector{substrates()[1].address};
  }));
  EXPECT_THAT(must(with_control({tool("dream"), "status", "substrate"})), HasSubstr("killed"));

  must(with_control({tool("dream"), "stop"}));
  const auto code = dream->wait(20s);
  ASSERT_TRUE(code) << "dream goes on after `dream stop`";
  EXPECT_EQ(*code, 0) << dream->output();
}

TEST_F(DreamForm, WhatWasPushedIsServedAgainAfterAPowerCut) {
  ASSERT_NO_FATAL_FAILURE(start());
  make_and_push_project();
  ASSERT_TRUE(answers(endpoint(universe["entry"]), "pong"));
  dream->signal(SIGKILL);
  ASSERT_TRUE(dream->wait(5s));
  ASSERT_NO_FATAL_FAILURE(start());
  for (const auto& at : substrates()) ASSERT_TRUE(answers(at, "pong"));
}

TEST_F(DreamForm, TheControlApiTurnsWebPagesAway) {
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_EQ(visitor.ask(control, "evil.example", "/v1/universes").status, 403);
  EXPECT_EQ(visitor.ask(control, control.to_string(), "/v1/universes").status, 200);
  dream->signal(SIGTERM);
  const auto code = dream->wait(20s);
  ASSERT_TRUE(code);
  EXPECT_EQ(*code, 0) << dream->output();
}

TEST_F(DreamForm, AStrangerGetsNothing) {
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(must({tool("odo"), "network", "create", (folder / "other").string(), "--name",
                    "blackhole"}) != "");
  Member stranger(visitor, folder / "other" / "root.key", "blackhole", folder / "stranger",
                  universe["nodes"][0]["addresses"][0]);
  (void)runtime::block_on(visitor.loop(), stranger.node().start());
  for (const Json& node : universe["nodes"]) {
    const auto joined =
        runtime::block_on(visitor.loop(), stranger.node().connect(node["addresses"][0]));
    EXPECT_FALSE(joined) << node["name"];
  }
  EXPECT_TRUE(stranger.node().host().peers().empty());
}

class OdoForm : public DemoPath {
 protected:
  struct Started {
    std::string name;
    Child process;
    Json ready;
  };
  // Makes a node with `odo node create` and starts it.
  void start(const std::string& name, const std::string& services,
             std::vector<std::string> more = {}) {
    std::vector<std::string> create = {
        tool("odo"), "node", "create", (folder / "net").string(), name, "--services", services};
    if (!started.empty()) {
      create.emplace_back("--bootstrap");
      create.push_back(started.front().ready["addresses"][0]);
    }
    create.insert(create.end(), more.begin(), more.end());
    std::string config = must(std::move(create));
    while (config.ends_with('\n')) config.pop_back();
    Child child(home, {tool("odo"), "start", "--config", config}, folder / name);
    const auto line = child.first_line(kStartMax);
    ASSERT_TRUE(line) << name << ": " << child.output();
    started.push_back({name, std::move(child), Json::parse(*line)});
  }
  Started& find(const std::string& name) {
    for (Started& one : started)
      if (one.name == name) return one;
    CHECK(false);
    return started.front();
  }

  void start_network() {
    must({tool("odo"), "network", "create", (folder / "net").string(), "--name", "home"});
    suffix = "home.localhost";
    ASSERT_NO_FATAL_FAILURE(start("tns", "tns"));
    ASSERT_NO_FATAL_FAILURE(start("auth", "auth"));
    ASSERT_NO_FATAL_FAILURE(start("seer", "seer", {"--dns", "127.0.0.1:0"}));
    ASSERT_NO_FATAL_FAILURE(start("patrick", "patrick", {"--api", "127.0.0.1:0"}));
    ASSERT_NO_FATAL_FAILURE(start("hoarder-1", "hoarder"));
    ASSERT_NO_FATAL_FAILURE(start("hoarder-2", "hoarder"));
    ASSERT_NO_FATAL_FAILURE(start("monkey", "monkey"));
    // Addresses of this process's own, so that two runs of the test do not meet.
    const auto pid = static_cast<unsigned>(getpid());
    const std::string net =
        "127." + std::to_string(1 + pid / 256 % 254) + "." + std::to_string(pid % 256) + ".";
    ASSERT_NO_FATAL_FAILURE(
        start("substrate-1", "substrate", {"--http-address", net + "2", "--http-port", "0"}));
    const auto first = endpoint(find("substrate-1").ready["http"]);
    ASSERT_NO_FATAL_FAILURE(
        start("substrate-2", "substrate",
              {"--http-address", net + "3", "--http-port", std::to_string(first.port)}));
    home.environment["TAU_CLOUD"] =
        "http://" + find("patrick").ready["api"].get<std::string>() + "/v1/cloud";
  }

  std::vector<Started> started;
};

TEST_F(OdoForm, SeparateProcessesServeAndOneThatDiesIsLeftBehindByDns) {
  ASSERT_NO_FATAL_FAILURE(start_network());
  make_and_push_project();
  for (const auto* name : {"substrate-1", "substrate-2"})
    ASSERT_TRUE(answers(endpoint(find(name).ready["http"]), "pong"));
  change_code_and_push("pong", "pong, again");
  for (const auto* name : {"substrate-1", "substrate-2"})
    ASSERT_TRUE(answers(endpoint(find(name).ready["http"]), "pong, again"));

  {
    Member member(visitor, folder / "net" / "root.key", "home", folder / "member",
                  started.front().ready["addresses"][0]);
    const Status met = member.start();
    ASSERT_TRUE(met) << met.error().to_string();
    check_where_it_came_from(member);
  }

  // A client that follows DNS: takes the first address, and the next when it gets no answer.
  const auto seer = endpoint(find("seer").ready["dns"]);
  const auto before = visitor.resolve(seer, host());
  ASSERT_TRUE(before);
  ASSERT_EQ(before->addresses.size(), 2u);
  EXPECT_EQ(visitor.resolve(seer, "nobody." + suffix)->code, 3);
  const std::string serving = before->addresses.front();
  for (const auto* name : {"substrate-1", "substrate-2"}) {
    const auto at = endpoint(find(name).ready["http"]);
    if (at.address != serving) continue;
    find(name).process.signal(SIGKILL);
    ASSERT_TRUE(find(name).process.wait(5s));
  }
  const std::uint16_t port = endpoint(find("substrate-1").ready["http"]).port;
  std::vector<std::string> answered;
  for (const auto& address : before->addresses) {
    if (visitor.ask({address, port}, host(), "/ping").status == 200) answered.push_back(address);
  }
  EXPECT_EQ(answered, std::vector{before->addresses.back()});
  const auto killed = std::chrono::steady_clock::now();
  EXPECT_TRUE(visitor.wait_until(10s, [&] {
    const auto after = visitor.resolve(seer, host());
    return after && !after->addresses.empty() && after->addresses.size() == 1 &&
           after->addresses.front() != serving;
  }));
  EXPECT_LT(std::chrono::steady_clock::now() - killed, 3s);

  // A clean stop: every process ends by itself, with code 0.
  for (auto one = started.rbegin(); one != started.rend(); ++one) one->process.signal(SIGTERM);
  for (Started& one : started) {
    const auto code = one.process.wait(20s);
    ASSERT_TRUE(code) << one.name << " goes on after SIGTERM";
    if (*code != 128 + SIGKILL) {
      EXPECT_EQ(*code, 0) << one.name << ": " << one.process.output();
    }
  }
}

}  // namespace
}  // namespace tau::test
