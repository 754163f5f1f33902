// Who builds: monkeys that are processes of their own are stopped, and patrick is killed, at the
// worst of times. One monkey holds a job, what comes late is refused, and no job is lost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <list>

#include "child.h"
#include "http/json.h"
#include "services/monkey/api.h"
#include "services/patrick/api.h"
#include "services/tns/api.h"
#include "visitor.h"

namespace tau::test {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using http::Json;
using ::testing::HasSubstr;

constexpr auto kStartMax = 60s;
constexpr auto kBuildMax = 120s;  // the first build of a loaded machine

std::string tool(const std::string& name) { return std::string(TAU_BIN) + "/" + name; }

net::Endpoint endpoint(const Json& value) {
  auto parsed = net::Endpoint::parse(value.get<std::string>());
  CHECK(parsed);
  return *parsed;
}

// Whether a program with this word among its arguments runs on the machine.
bool runs_with(const std::string& word) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
    std::ifstream in(entry.path() / "cmdline", std::ios::binary);
    const std::string line{std::istreambuf_iterator<char>(in), {}};
    if (line.starts_with("sleep") && line.find(word) != line.npos) return true;
  }
  return false;
}

class Race : public ::testing::Test {
 protected:
  struct Started {
    std::string name, config;
    Child process;
    Json ready;
    PeerId id() const { return PeerId(ready["id"].get<std::string>()); }
  };

  Race() {
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

  std::string must(std::vector<std::string> argv, const Place& place) {
    std::string line;
    for (const auto& word : argv) line += word + " ";
    const Said said = run(place, std::move(argv), 120s);
    EXPECT_EQ(said.code, 0) << line << "\n" << said.out << said.err;
    return said.out;
  }
  Json tau(std::vector<std::string> argv) {
    argv.insert(argv.begin(), tool("tau"));
    argv.emplace_back("--json");
    const std::string said = must(std::move(argv), project_place());
    const Json value = Json::parse(said, nullptr, false);
    EXPECT_FALSE(value.is_discarded()) << said;
    return value;
  }
  Place project_place() const {
    Place place = home;
    if (fs::exists(folder / "hello")) place.directory = folder / "hello";
    return place;
  }

  void start(const std::string& name, const std::string& services,
             std::vector<std::string> more = {}) {
    std::vector<std::string> create = {
        tool("odo"), "node", "create", (folder / "net").string(), name, "--services", services};
    if (!started.empty()) {
      create.emplace_back("--bootstrap");
      create.push_back(started.front().ready["addresses"][0]);
    }
    create.insert(create.end(), more.begin(), more.end());
    std::string config = must(std::move(create), home);
    while (config.ends_with('\n')) config.pop_back();
    std::string text = read_text(config);
    const std::string lease = "# lease: 10s";
    ASSERT_NE(text.find(lease), std::string::npos) << text;
    write_text(config, text.replace(text.find(lease), lease.size(), "lease: 3s"));
    Child child(home, {tool("odo"), "start", "--config", config}, folder / name);
    started.push_back({name, config, std::move(child), {}});
    ASSERT_NO_FATAL_FAILURE(meet(started.back()));
  }
  void meet(Started& one) {
    const auto line = one.process.first_line(kStartMax);
    ASSERT_TRUE(line) << one.name << ": " << one.process.output();
    one.ready = Json::parse(*line);
    if (one.ready["api"].is_string())
      home.environment["TAU_CLOUD"] = "http://" + one.ready["api"].get<std::string>() + "/v1/cloud";
  }
  // As when the machine loses power, and comes back.
  void kill_and_start(const std::string& name) {
    const auto at = std::ranges::find(started, name, &Started::name);
    ASSERT_NE(at, started.end());
    at->process.signal(SIGKILL);
    ASSERT_TRUE(at->process.wait(10s));
    const std::string config = at->config;
    started.erase(at);
    ++restarts;
    Child child(home, {tool("odo"), "start", "--config", config},
                folder / (name + "-" + std::to_string(restarts)));
    started.push_back({name, config, std::move(child), {}});
    ASSERT_NO_FATAL_FAILURE(meet(started.back()));
  }
  Started& find(const std::string& name) {
    const auto at = std::ranges::find(started, name, &Started::name);
    CHECK(at != started.end());
    return *at;
  }
  Started& find(const PeerId& id) {
    const auto at = std::ranges::find(started, id, &Started::id);
    CHECK(at != started.end());
    return *at;
  }

  void start_network() {
    must({tool("odo"), "network", "create", (folder / "net").string(), "--name", "home"}, home);
    const auto pid = static_cast<unsigned>(getpid());
    const std::string address =
        "127." + std::to_string(1 + pid / 256 % 254) + "." + std::to_string(pid % 256) + ".2";
    ASSERT_NO_FATAL_FAILURE(
        start("core", "tns,auth,seer,hoarder,substrate",
              {"--dns", "127.0.0.1:0", "--http-address", address, "--http-port", "0"}));
    ASSERT_NO_FATAL_FAILURE(start("patrick", "patrick", {"--api", "127.0.0.1:0"}));
    ASSERT_TRUE(visitor.wait_until(kStartMax, [&] {
      return run(home, {tool("tau"), "query", "projects"}).code == 0;
    })) << "patrick meets auth";
    must({tool("tau"), "new", "project", "hello"}, home);
    must({tool("tau"), "new", "function", "ping", "--language", "cpp", "--path", "/ping"},
         project_place());
  }
  // What the build does first: part of what is pushed.
  void build_begins_with(const std::string& line) {
    write_text(folder / "hello" / "code" / "functions" / "ping" / ".taubyte" / "build.sh",
               "#!/bin/sh\n" + line + "\n. /utils/wasm.sh\nbuild \"${FILENAME:-}\"\n");
  }
  JobId push() {
    const Json pushed = tau({"push", "--no-follow"});
    return JobId(pushed["build"]["id"].get<std::string>());
  }
  Json build(const JobId& job) { return tau({"query", "build", job.str()}); }
  ::testing::AssertionResult reaches(const JobId& job, const std::string& state) {
    Json last;
    if (visitor.wait_until(kBuildMax, [&] { return (last = build(job))["state"] == state; }))
      return ::testing::AssertionSuccess();
    std::string logs;
    for (const Started& one : started) logs += one.name + ":\n" + one.process.output();
    return ::testing::AssertionFailure() << "not " << state << ": " << last.dump() << "\n" << logs;
  }
  ::testing::AssertionResult answers(const std::string& wanted) {
    Answer last;
    const auto at = endpoint(find("core").ready["http"]);
    if (visitor.wait_until(kBuildMax, [&] {
          last = visitor.ask(at, "hello.home.localhost", "/ping");
          return last.status == 200 && last.body == wanted;
        }))
      return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << last.status << " " << last.body;
  }

  Folder folder;
  Place home;
  Visitor visitor;
  std::list<Started> started;
  int restarts = 0;
};

// What patrick's record said, each time it was another.
struct Seen {
  patrick::JobState state;
  PeerId monkey;
  std::uint64_t fence;
  friend bool operator==(const Seen&, const Seen&) = default;
};

class Watcher {
 public:
  Watcher(Member& member, PeerId patrick, JobId job)
      : member_(member), patrick_(std::move(patrick)), job_(std::move(job)) {}
  patrick::JobStatus look() {
    auto found = member_.call<patrick::GetJob>(patrick_, patrick::kProtocol, {job_, {}, 0});
    if (!found) {
      ADD_FAILURE() << found.error().to_string();
      return {};
    }
    const Seen now{found->job.state, found->job.monkey.value_or(PeerId()),
                   found->job.fence.value_or(0)};
    if (seen.empty() || seen.back() != now) seen.push_back(now);
    return found->job;
  }
  std::vector<Seen> seen;

 private:
  Member& member_;
  PeerId patrick_;
  JobId job_;
};

tns::Pointer pointer_of(Member& member, const PeerId& tns, const ProjectId& project) {
  const auto found = member.call<tns::GetPointer>(tns, tns::kProtocol, {project, "main"});
  EXPECT_TRUE(found) << found.error().to_string();
  if (!found) return {};
  const auto pointer = codec::from_cbor<tns::Pointer>(found->pointer.record.body);
  EXPECT_TRUE(pointer);
  return pointer.value_or(tns::Pointer{});
}

TEST_F(Race, OneMonkeyHoldsAJobAndWhatComesLateIsRefused) {
  ASSERT_NO_FATAL_FAILURE(start_network());
  Member member(visitor, folder / "net" / "root.key", "home", folder / "member",
                started.front().ready["addresses"][0], {"client", "monkey"});
  ASSERT_TRUE(member.start());
  const PeerId patrick = find("patrick").id(), tns = find("core").id();
  ASSERT_TRUE(
      visitor.wait_until(kStartMax, [&] { return member.with_role("patrick").size() == 1; }));

  // The first monkey is of this test: it takes the job and falls silent. A real one comes.
  const JobId first = push();
  const auto taken =
      member.call<patrick::TakeJob>(patrick, patrick::kProtocol, {20'000, patrick::Bid{}});
  ASSERT_TRUE(taken) << taken.error().to_string();
  ASSERT_TRUE(taken->job);
  ASSERT_NO_FATAL_FAILURE(start("monkey-1", "monkey"));
  ASSERT_TRUE(reaches(first, "succeeded"));
  ASSERT_TRUE(answers("pong"));
  const ProjectId project{build(first)["project"].get<std::string>()};
  const tns::Pointer live = pointer_of(member, tns, project);
  EXPECT_EQ(live.fence, 2u);

  // Then it sends everything, late.
  const auto refused = [&](const auto& answer, ErrorCode with) {
    EXPECT_FALSE(answer);
    if (!answer) {
      EXPECT_EQ(answer.error().code(), with) << answer.error().to_string();
    }
  };
  const auto job = codec::from_cbor<patrick::Job>(taken->job->record.body);
  ASSERT_TRUE(job);
  monkey::Receipt receipt;
  receipt.job = job->id;
  receipt.project = job->project;
  receipt.branch = job->branch;
  receipt.seq = job->seq;
  receipt.deployment = codec::Cid::of(codec::ContentType::dag_cbor, as_bytes("stale"));
  receipt.hosts = live.hosts;
  using namespace tau::patrick;
  refused(member.call<RenewLease>(patrick, kProtocol, {first, 1}), ErrorCode::aborted);
  refused(member.call<RenewLease>(patrick, kProtocol, {first, 1, {}, true}), ErrorCode::aborted);
  refused(member.call<AppendLog>(patrick, kProtocol, {first, 1, "late"}), ErrorCode::aborted);
  refused(member.call<FinishJob>(patrick, kProtocol, {first, 1, receipt.deployment, ""}),
          ErrorCode::aborted);
  refused(member.call<tns::Publish>(tns, tns::kProtocol,
                                    {*taken->job, member.identity().sign(receipt)}),
          ErrorCode::failed_precondition);
  EXPECT_EQ(pointer_of(member, tns, project), live);
  EXPECT_THAT(find("patrick").process.output(), HasSubstr("refused what monkey"));
  EXPECT_THAT(find("core").process.output(), HasSubstr("comes too late"));

  // Now two real ones; whoever wins is stopped.
  ASSERT_NO_FATAL_FAILURE(start("monkey-2", "monkey"));
  ASSERT_TRUE(
      visitor.wait_until(kStartMax, [&] { return member.with_role("monkey").size() == 3; }));
  build_begins_with("sleep 2");
  const JobId second = push();
  Watcher watcher(member, patrick, second);
  ASSERT_TRUE(
      visitor.wait_until(kBuildMax, [&] { return watcher.look().state == JobState::building; }));
  const PeerId winner = *watcher.look().monkey;
  ASSERT_NE(winner, member.node().id());
  Started& stopped = find(winner);
  stopped.process.signal(SIGSTOP);
  ASSERT_TRUE(visitor.wait_until(kBuildMax, [&] {
    return watcher.look().state == JobState::succeeded;
  })) << find("patrick").process.output();
  const JobStatus done = watcher.look();
  EXPECT_NE(*done.monkey, winner);
  const tns::Pointer published = pointer_of(member, tns, project);
  EXPECT_EQ(published.deployment, done.deployment);

  // It wakes, and learns that it lost; whatever it had is dropped.
  stopped.process.signal(SIGCONT);
  EXPECT_TRUE(visitor.wait_until(60s, [&] {
    const std::string said = stopped.process.output();
    return said.find("job " + second.str() + ": lease lost") != said.npos ||
           said.find("job " + second.str() + ": the result comes too late") != said.npos;
  })) << stopped.process.output();
  EXPECT_TRUE(visitor.wait_until(60s, [&] {
    return stopped.process.output().find("job " + second.str() + ": given up") != std::string::npos;
  })) << stopped.process.output();
  EXPECT_EQ(pointer_of(member, tns, project), published);
  EXPECT_EQ(watcher.look().deployment, done.deployment);
  ASSERT_TRUE(answers("pong"));

  // At any time one holder: each lease was one monkey's, and none came back.
  std::map<std::uint64_t, PeerId> holders;
  std::uint64_t newest = 0;
  for (const Seen& now : watcher.seen) {
    EXPECT_GE(now.fence, newest);
    newest = now.fence;
    if (now.state != JobState::building) continue;
    EXPECT_EQ(holders.emplace(now.fence, now.monkey).first->second, now.monkey);
  }
  ASSERT_EQ(holders.size(), 2u);
  EXPECT_EQ(holders.at(1), winner);
}

// Revoked while it builds, by the operator's own commands: what it has is refused, another one
// builds, and no restart lets it in again. Then all others get new certificates while they run.
TEST_F(Race, AMonkeyThatIsRevokedDuringItsBuildIsOutAndAnotherOneBuildsInItsPlace) {
  ASSERT_NO_FATAL_FAILURE(start_network());
  ASSERT_NO_FATAL_FAILURE(start("monkey-1", "monkey"));
  ASSERT_NO_FATAL_FAILURE(start("monkey-2", "monkey"));
  const std::string net = (folder / "net").string();
  const auto odo = [&](std::vector<std::string> argv) {
    argv.insert(argv.begin(), tool("odo"));
    argv.emplace_back("--json");
    return Json::parse(must(std::move(argv), home), nullptr, false);
  };
  const auto api = [&] { return "http://" + find("patrick").ready["api"].get<std::string>(); };
  const auto knows = [&](const PeerId& id) {
    for (const Json& peer : odo({"peers", "--api", api()})["peers"])
      if (peer["id"] == id.str()) return true;
    return false;
  };
  ASSERT_TRUE(visitor.wait_until(
      kStartMax, [&] { return knows(find("monkey-1").id()) && knows(find("monkey-2").id()); }));
  build_begins_with("sleep 3");
  const JobId job = push();
  ASSERT_TRUE(reaches(job, "building"));
  Started& out = find(PeerId(build(job)["monkey"].get<std::string>()));
  Started& other = find(out.name == "monkey-1" ? "monkey-2" : "monkey-1");
  const Json revoked =
      odo({"network", "revoke", net, out.name, "--reason", "its disk was stolen", "--give", api()});
  EXPECT_EQ(revoked["entries"].size(), 1u);
  EXPECT_FALSE(knows(out.id())) << "the node that was told acts before it answers";
  ASSERT_TRUE(reaches(job, "succeeded")) << out.process.output();
  EXPECT_EQ(build(job)["monkey"], other.id().str());
  EXPECT_EQ(build(job)["lease"], 2);
  ASSERT_TRUE(answers("pong"));

  // Nobody forgets it, and it is told why.
  ASSERT_NO_FATAL_FAILURE(kill_and_start("patrick"));
  ASSERT_TRUE(visitor.wait_until(kStartMax, [&] { return knows(other.id()); }));
  EXPECT_EQ(odo({"status", "--api", api()})["revocations"], revoked["number"]);
  const std::string name = out.name;
  ASSERT_NO_FATAL_FAILURE(kill_and_start(name));
  EXPECT_TRUE(visitor.wait_until(kStartMax, [&] {
    return find(name).process.output().find("was revoked: its disk was stolen") !=
           std::string::npos;
  })) << find(name).process.output();
  EXPECT_FALSE(knows(find(name).id()));

  // Certificates for all others, brought by one node.
  const auto before = odo({"status", "--api", api()})["certificate"]["not_after_unix_ms"];
  for (const std::string& one : {std::string("core"), std::string("patrick"), other.name}) {
    const Json renewed = odo({"network", "renew", net, one, "--days", "700", "--give", api()});
    EXPECT_EQ(renewed["renewed"][0]["given"], true) << renewed.dump();
  }
  const auto after = odo({"status", "--api", api()})["certificate"]["not_after_unix_ms"];
  EXPECT_GT(after.get<std::int64_t>(), before.get<std::int64_t>());
  for (const Json& peer : odo({"peers", "--api", api()})["peers"])
    EXPECT_GT(peer["not_after_unix_ms"].get<std::int64_t>(), before.get<std::int64_t>()) << peer;
  const Said refused = run(home, {tool("odo"), "network", "renew", net, name});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("odo network restore"));
  ASSERT_TRUE(answers("pong"));
}

TEST_F(Race, JobsSurvivePatrickAndAreCancelledAndTriedAgain) {
  ASSERT_NO_FATAL_FAILURE(start_network());
  build_begins_with("sleep 2");
  const JobId job = push();
  ASSERT_TRUE(reaches(job, "waiting"));
  ASSERT_NO_FATAL_FAILURE(kill_and_start("patrick"));
  ASSERT_TRUE(reaches(job, "waiting")) << "a job that waits";
  ASSERT_NO_FATAL_FAILURE(start("monkey", "monkey"));
  ASSERT_TRUE(reaches(job, "building"));
  ASSERT_NO_FATAL_FAILURE(kill_and_start("patrick"));
  ASSERT_TRUE(reaches(job, "succeeded")) << "a job that is being built";
  EXPECT_EQ(build(job)["lease"], 1) << "by the monkey that had it all along";
  ASSERT_TRUE(answers("pong"));

  // A build that would go on for a minute; the argument is of this test alone.
  const std::string word = "61." + std::to_string(getpid());
  build_begins_with("sleep " + word);
  const JobId slow = push();
  ASSERT_TRUE(reaches(slow, "building"));
  ASSERT_TRUE(visitor.wait_until(kBuildMax, [&] { return runs_with(word); }));
  Place stranger = project_place();
  stranger.environment["XDG_CONFIG_HOME"] = (folder / "stranger").string();
  const Said refused = run(stranger, {tool("tau"), "cancel", "build", "--jid", slow.str()});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("only the owner"));
  EXPECT_TRUE(runs_with(word));

  const Json cancelled = tau({"cancel", "build"});
  EXPECT_EQ(cancelled["id"], slow.str());
  EXPECT_EQ(cancelled["state"], "cancelled");
  EXPECT_TRUE(visitor.wait_until(1s, [&] { return !runs_with(word); }))
      << "the sandbox goes on: " << find("monkey").process.output();
  ASSERT_TRUE(answers("pong"));

  const Json again = tau({"retry", "build", "--jid", slow.str(), "--no-follow"});
  EXPECT_EQ(again["retry_of"], slow.str());
  EXPECT_EQ(again["commits"], cancelled["commits"]);
  ASSERT_TRUE(visitor.wait_until(kBuildMax, [&] { return runs_with(word); }));
  tau({"cancel", "build", again["id"].get<std::string>()});
  EXPECT_TRUE(visitor.wait_until(1s, [&] { return !runs_with(word); }));
  EXPECT_EQ(build(slow)["state"], "cancelled");
}

}  // namespace
}  // namespace tau::test
