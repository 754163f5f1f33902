// The registry of a network whose tns nodes are processes of their own, killed while it is written
// to: what was acknowledged is there, on each of them, and on one that joins at the end.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <list>

#include "child.h"
#include "http/json.h"
#include "services/monkey/api.h"
#include "services/patrick/api.h"
#include "services/tns/api.h"
#include "visitor.h"

namespace tau::test {
namespace {

using namespace std::chrono_literals;
using http::Json;

constexpr auto kStartMax = 60s;
constexpr auto kGoesOnMax = 60s;  // an election takes about a second; a loaded machine more

std::string tool(const std::string& name) { return std::string(TAU_BIN) + "/" + name; }

// Publishes and claims, one after the other, and knows what was acknowledged.
struct Stream {
  explicit Stream(Member& m) : member(m), owner(crypto::KeyPair::generate(random)) {}

  auth::Registration registration(const std::string& label) const {
    auth::Registration r;
    r.genesis = {label, owner.public_key().raw(), {}};
    r.label = label;
    r.repositories = {{"code", auth::RepositoryKind::code, "local"}};
    r.made_unix_ms = 1;
    return r;
  }
  Task<Status> publish(std::uint64_t seq) {
    const auto r = registration("stream");
    patrick::Job job;
    job.id = JobId("job-" + std::to_string(seq));
    job.project = r.project();
    job.branch = "main";
    job.seq = seq;
    job.registration = codec::sign_record(owner, r);
    monkey::Receipt receipt;
    receipt.job = job.id;
    receipt.project = job.project;
    receipt.branch = job.branch;
    receipt.seq = seq;
    receipt.deployment =
        codec::Cid::of(codec::ContentType::dag_cbor, as_bytes(std::to_string(seq)));
    receipt.hosts = {"stream.home.localhost"};
    CO_TRY(const auto done, member.node().caller().call_any<tns::Publish>(
                                tns::kRole, tns::kProtocol,
                                {member.identity().sign(job), member.identity().sign(receipt)}));
    (void)done;
    co_return Status{};
  }
  Task<Status> claim(std::string label) {
    CO_TRY(const auto done,
           member.node().caller().call_any<tns::Claim>(
               tns::kRole, tns::kProtocol, {codec::sign_record(owner, registration(label))}));
    (void)done;
    co_return Status{};
  }
  Task<void> run() {
    while (!ending) {
      // What was not acknowledged is told again.
      if (co_await publish(published + 1)) ++published;
      const std::string label = "label-" + std::to_string(claimed.size());
      if (co_await claim(label)) claimed.push_back(label);
      if (!co_await runtime::sleep_for(20ms)) co_return;
    }
  }
  std::size_t acknowledged() const { return published + claimed.size(); }

  Member& member;
  SystemRandom random;
  crypto::KeyPair owner;
  std::uint64_t published = 0;
  std::vector<std::string> claimed;
  bool ending = false;
};

class TnsNodes : public ::testing::Test {
 protected:
  struct Started {
    std::string name;
    Child process;
    Json ready;
    PeerId id() const { return PeerId(ready["id"].get<std::string>()); }
  };

  TnsNodes() {
    const char* path = std::getenv("PATH");
    home.directory = folder.path();
    home.environment = {{"PATH", std::string(TAU_BIN) + ":" + (path ? path : "/usr/bin:/bin")},
                        {"HOME", folder.path().string()}};
  }
  void must(std::vector<std::string> argv) {
    const Said said = run(home, std::move(argv), 60s);
    EXPECT_EQ(said.code, 0) << said.out << said.err;
  }
  void create(const std::string& name, const std::string& service) {
    std::vector<std::string> argv = {tool("odo"), "node",       "create", (folder / "net").string(),
                                     name,        "--services", service};
    if (started.empty()) {
      argv.insert(argv.end(), {"--api", "127.0.0.1:0"});
    } else {
      argv.emplace_back("--bootstrap");
      argv.push_back(started.front().ready["addresses"][0]);
    }
    must(std::move(argv));
  }
  void start(const std::string& name) {
    Child child(
        home, {tool("odo"), "start", "--config", (folder / "net" / name / "config.yaml").string()},
        folder / (name + "-" + std::to_string(++starts)));
    const auto line = child.first_line(kStartMax);
    ASSERT_TRUE(line) << name << ": " << child.output();
    started.push_back({name, std::move(child), Json::parse(*line)});
  }
  void kill(const std::string& name) {
    const auto at = std::ranges::find(started, name, &Started::name);
    ASSERT_NE(at, started.end());
    at->process.signal(SIGKILL);
    ASSERT_TRUE(at->process.wait(5s));
    started.erase(at);
  }
  // Nothing: this node answers all that was acknowledged; else what is missing.
  std::string missing(Member& member, const Started& at, const Stream& stream) {
    const auto project = stream.registration("stream").project();
    const auto found = member.call<tns::GetPointer>(at.id(), tns::kProtocol, {project, "main"});
    if (!found) return "pointer: " + found.error().to_string();
    const auto pointer = codec::from_cbor<tns::Pointer>(found->pointer.record.body);
    if (!pointer || pointer->seq < stream.published) return "an older pointer";
    for (const std::string& label : stream.claimed) {
      const auto owner =
          member.call<tns::Resolve>(at.id(), tns::kProtocol, {label + ".home.localhost"});
      if (!owner) return label + ": " + owner.error().to_string();
      if (owner->project != stream.registration(label).project()) return label + ": nobody's";
    }
    return "";
  }
  void expect_all_at(const std::string& name, Member& member, const Stream& stream) {
    const auto at = std::ranges::find(started, name, &Started::name);
    ASSERT_NE(at, started.end());
    std::string lacks;
    EXPECT_TRUE(visitor.wait_until(kGoesOnMax,
                                   [&] { return (lacks = missing(member, *at, stream)).empty(); }))
        << name << " lacks " << lacks << "\n"
        << at->process.output();
  }

  // What `odo names` shows of those that begin with "label-", page by page.
  std::vector<std::string> listed() {
    const std::string api = "http://" + started.front().ready["api"].get<std::string>();
    std::vector<std::string> names;
    std::string cursor;
    for (int page = 0; page < 1000; ++page) {
      const Said said = run(home, {tool("odo"), "names", "label-", "--api", api, "--limit", "40",
                                   "--cursor", cursor, "--json"});
      EXPECT_EQ(said.code, 0) << said.err;
      const auto json = http::parse_json(said.out);
      if (!json) break;
      for (const Json& one : (*json)["names"]) names.push_back(one["name"]);
      if (!(*json)["next"].is_string()) break;
      cursor = (*json)["next"];
    }
    return names;
  }

  Folder folder;
  Place home;
  Visitor visitor;
  std::list<Started> started;
  int starts = 0;
};

TEST_F(TnsNodes, WhateverWasAcknowledgedIsThereWhicheverOfThemIsKilledAndOnOneThatJoins) {
  must({tool("odo"), "network", "create", (folder / "net").string(), "--name", "home"});
  create("hub", "auth");
  ASSERT_NO_FATAL_FAILURE(start("hub"));
  const std::vector<std::string> three = {"tns-1", "tns-2", "tns-3"};
  for (const auto& name : three) create(name, "tns");
  for (const auto& name : three) ASSERT_NO_FATAL_FAILURE(start(name));
  Member member(visitor, folder / "net" / "root.key", "home", folder / "member",
                started.front().ready["addresses"][0], {"client", "auth", "patrick", "monkey"});
  ASSERT_TRUE(member.start("tns"));

  Stream stream(member);
  runtime::TaskGroup writing(visitor.loop());
  writing.spawn(stream.run());
  const auto goes_on = [&] {
    const std::size_t before = stream.acknowledged();
    return visitor.wait_until(kGoesOnMax, [&] { return stream.acknowledged() > before + 20; });
  };
  EXPECT_TRUE(goes_on());
  for (const auto& name : three) {  // one of them leads
    ASSERT_NO_FATAL_FAILURE(kill(name));
    EXPECT_TRUE(goes_on()) << "without " << name;
    ASSERT_NO_FATAL_FAILURE(start(name));
  }
  EXPECT_TRUE(goes_on());
  // A fourth, made by the same command long after the others began.
  create("tns-4", "tns");
  ASSERT_NO_FATAL_FAILURE(start("tns-4"));
  EXPECT_TRUE(goes_on());
  stream.ending = true;
  runtime::block_on(visitor.loop(), writing.join());
  for (const std::string name : {"tns-1", "tns-2", "tns-3", "tns-4"})
    ASSERT_NO_FATAL_FAILURE(expect_all_at(name, member, stream));

  // And the operator sees each once.
  std::vector<std::string> claimed;
  for (const auto& label : stream.claimed) claimed.push_back(label + ".home.localhost");
  std::ranges::sort(claimed);
  auto shown = listed();
  std::ranges::sort(shown);
  EXPECT_TRUE(std::ranges::includes(shown, claimed));
  EXPECT_EQ(std::ranges::adjacent_find(shown), shown.end());
  const std::string api = "http://" + started.front().ready["api"].get<std::string>();
  const std::string project = stream.registration("stream").project().str();
  const Said table = run(home, {tool("odo"), "pointers", project, "--api", api});
  EXPECT_EQ(table.code, 0) << table.err;
  EXPECT_NE(table.out.find("main"), std::string::npos) << table.out;
  EXPECT_NE(table.out.find("stream.home.localhost"), std::string::npos) << table.out;
  const Said wrong = run(home, {tool("odo"), "names", "--api", api, "--cursor", "77"});
  EXPECT_EQ(wrong.code, 1);
  EXPECT_NE(wrong.err.find("cursor"), std::string::npos) << wrong.err;
}

}  // namespace
}  // namespace tau::test
