// The power of every machine goes at once, in the middle of registrations, pushes and builds; disks
// lose what was not synced. What was acknowledged is there afterwards. Virtual time, many seeds.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <charconv>
#include <cstdlib>

#include "codec/signed.h"
#include "http/client.h"
#include "project/writer.h"
#include "runtime/task_group.h"
#include "services/auth/api.h"
#include "services/patrick/api.h"
#include "services/tns/api.h"
#include "testnet/simulated_process.h"
#include "testnet/universe.h"

namespace tau::testnet {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr std::uint64_t kSeedsOfMakeTest = 4;
constexpr int kCuts = 3;  // of one seed
// A lease that its monkey lost with the power, and the builds that waited for it.
constexpr Duration kSettleMax = 120s;

std::string id_of(std::string_view what) {
  return codec::Cid::of(codec::ContentType::raw, as_bytes(what)).to_string();
}

class World {
 public:
  explicit World(std::uint64_t seed) : process(loop, seed), random(seed) {
    std::string name = (fs::temp_directory_path() / "tau-power-XXXXXX").string();
    CHECK(::mkdtemp(name.data()));
    keys = name;
    add_project("hello");
  }
  ~World() {
    if (universe) runtime::block_on(loop, universe->stop());
    fs::remove_all(keys);
  }

  void power_on() {
    process.power_on();
    UniverseOptions options;
    options.data = keys;
    options.keep = Keep::yes;
    universe = std::make_unique<Universe>(process, options, Logger());
    const Status started = runtime::block_on(loop, universe->start());
    ASSERT_TRUE(started) << started.error().to_string();
    powered = true;
  }
  // Whatever people were told until now counts; what happens from now on reaches nobody.
  void power_cut() {
    powered = false;
    process.power_cut();
    for (const auto& node : universe->nodes()) {
      const Status killed = runtime::block_on(loop, universe->kill(node.name));
      ASSERT_TRUE(killed) << killed.error().to_string();
    }
    runtime::block_on(loop, universe->stop());
    runtime::block_on(loop, people->stop());
    universe.reset();
  }

  void add_project(const std::string& name) {
    auth::Registration r;
    r.genesis = {name, owner.public_key().raw(), {}};
    r.label = name;
    r.repositories = {{"config", auth::RepositoryKind::config, "local"},
                      {"code", auth::RepositoryKind::code, "local"}};
    r.made_unix_ms = 1;
    registrations.push_back(r);
  }
  const auth::Registration& hello() const { return registrations.front(); }

  Tree config() const {
    Tree tree;
    tree["config.yaml"] = project::project_yaml({hello().project().str(), "hello", ""});
    tree["domains/main.yaml"] = project::domain_yaml({id_of("main"), "", "hello"});
    project::NewFunction ping;
    ping.id = id_of("ping");
    ping.paths = {"/ping"};
    ping.domains = {"main"};
    ping.call = "ping";
    tree["functions/ping.yaml"] = project::function_yaml(ping);
    return tree;
  }
  static Tree code(std::uint64_t version) {
    return {{"functions/ping/.taubyte/config.yaml",
             project::workflow_yaml("taubyte/cpp-wasi", {"build"})},
            {"functions/ping/.taubyte/build.sh", ". /utils/wasm.sh\nbuild\n"},
            {"functions/ping/main.cc",
             "TAU_HTTP_FUNCTION(ping) { event.write(\"" + std::to_string(version) + "\"); }\n"}};
  }

  // One person does one thing after the other, whether it succeeds or not.
  Task<void> person() {
    while (powered && pushing) {
      if (!known.contains(hello().project())) {
        co_await register_one(registrations.front());
      } else if (random.below(8) == 0) {
        add_project("other" + std::to_string(registrations.size()));
        co_await register_one(registrations.back());
      } else if (config_seq == 0) {
        config_seq = co_await push("config", config());
      } else {
        const std::uint64_t version = ++pushed_version;
        const std::uint64_t seq = co_await push("code", code(version));
        if (seq > 0) accepted[seq] = version;
      }
      if (!co_await runtime::sleep_for(std::chrono::milliseconds(random.below(400)))) co_return;
    }
  }
  Task<void> register_one(auth::Registration registration) {
    const auto done = co_await universe->client()->caller().call_any<auth::Register>(
        auth::kRole, auth::kProtocol, {codec::sign_record(owner, registration)});
    if (done && powered) known.insert(registration.project());
  }
  Task<std::uint64_t> push(std::string repository, Tree tree) {
    const auto done =
        co_await process.git().push(hello().project(), repository, "main", std::move(tree));
    co_return done&& powered ? done->seq : 0;
  }
  Task<void> visitor(net::Endpoint at) {
    while (powered) {
      http::Client client(process.network("127.0.0.1"));
      http::ClientRequest request;
      request.target = "/ping";
      request.host = "hello.blackhole.localhost";
      const auto response = co_await client.send(at, std::move(request));
      if (response && response->status == 200 && powered) see(response->body);
      if (!co_await runtime::sleep_for(50ms)) co_return;
    }
  }
  void see(const std::string& body) {
    std::uint64_t version = 0;
    const auto read = std::from_chars(body.data(), body.data() + body.size(), version);
    if (read.ec != std::errc() || version < before_cut) {
      wrong.push_back(
          fmt::format("answered \"{}\" after {} was seen before the cut", body, before_cut));
    }
    seen = std::max(seen, version);
  }

  void live() {
    before_cut = seen;
    people = std::make_unique<runtime::TaskGroup>(loop);
    people->spawn(person());
    for (const auto& node : universe->nodes())
      if (node.http) people->spawn(visitor(*node.http));
  }

  bool wait_until(Duration limit, const std::function<bool()>& met) {
    const TimePoint until = loop.now() + limit;
    while (!met()) {
      if (loop.now() >= until) return false;
      (void)runtime::block_on(loop, runtime::sleep_for(50ms));
    }
    return true;
  }
  template <class C>
  Result<typename C::Response> call(std::string_view role, std::string_view protocol,
                                    typename C::Request request) {
    return runtime::block_on(loop, call_task<C>(*universe->client(), role, protocol, request));
  }
  template <class C>
  static Task<Result<typename C::Response>> call_task(node::Node& from, std::string_view role,
                                                      std::string_view protocol,
                                                      typename C::Request request) {
    co_return co_await from.caller().call_any<C>(role, protocol, std::move(request));
  }

  // What is missing of all that was acknowledged; empty: nothing.
  std::string missing() {
    for (const auto& project : known)
      if (!call<auth::GetProject>(auth::kRole, auth::kProtocol, {project}))
        return "auth forgot project " + project.str();
    const auto jobs =
        call<patrick::ListJobs>(patrick::kRole, patrick::kProtocol, {hello().project(), 100});
    if (!jobs) return "patrick: " + jobs.error().to_string();
    std::map<std::uint64_t, patrick::JobState> states;
    for (const auto& job : jobs->jobs) {
      if (!states.emplace(job.seq, job.state).second)
        return fmt::format("two jobs have seq {}", job.seq);
      if (job.state != patrick::JobState::succeeded && job.state != patrick::JobState::superseded)
        return fmt::format("seq {} is {}: {}", job.seq, patrick::name_of(job.state), job.error);
    }
    for (const auto& [seq, version] : accepted)
      if (!states.contains(seq)) return fmt::format("patrick forgot the push with seq {}", seq);
    if (accepted.empty()) return "";
    const auto pointer =
        call<tns::GetPointer>(tns::kRole, tns::kProtocol, {hello().project(), std::string("main")});
    if (!pointer) return "tns: " + pointer.error().to_string();
    const std::uint64_t newest = accepted.rbegin()->second;
    if (seen < newest) return fmt::format("version {} answers, {} was pushed", seen, newest);
    return "";
  }

  runtime::VirtualLoop loop;
  SimulatedProcess process;
  SeededRandom random;
  crypto::KeyPair owner = crypto::KeyPair::generate(random);
  fs::path keys;
  std::unique_ptr<Universe> universe;
  std::unique_ptr<runtime::TaskGroup> people;  // of one life
  bool powered = false, pushing = true;

  std::vector<auth::Registration> registrations;
  std::set<ProjectId> known;                        // acknowledged registrations
  std::map<std::uint64_t, std::uint64_t> accepted;  // acknowledged pushes: seq -> version
  std::uint64_t config_seq = 0, pushed_version = 0, seen = 0, before_cut = 0;
  std::vector<std::string> wrong;
};

class PowerCut : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(PowerCut, LosesNothingThatWasAcknowledged) {
  World world(GetParam());
  SeededRandom random(GetParam() + 1000);
  std::size_t acknowledged = 0;
  for (int cut = 0; cut <= kCuts; ++cut) {
    ASSERT_NO_FATAL_FAILURE(world.power_on()) << "after cut " << cut;
    world.live();
    if (cut < kCuts) {
      const auto life = std::chrono::milliseconds(500 + random.below(8000));
      (void)runtime::block_on(world.loop, runtime::sleep_for(life));
      acknowledged = world.accepted.size() + world.known.size();
      ASSERT_NO_FATAL_FAILURE(world.power_cut());
    }
  }
  EXPECT_TRUE(world.wait_until(kSettleMax, [&] {
    return world.accepted.size() + world.known.size() > acknowledged;
  })) << "nothing is acknowledged any more";
  world.pushing = false;
  std::string missing;
  EXPECT_TRUE(world.wait_until(kSettleMax, [&] { return (missing = world.missing()).empty(); }))
      << missing;
  EXPECT_EQ(world.wrong, std::vector<std::string>());
  EXPECT_GT(world.seen, 0u);
  ASSERT_NO_FATAL_FAILURE(world.power_cut());
}

std::uint64_t seeds() {
  const char* text = std::getenv("TAU_POWER_SEEDS");
  return text && *text ? std::strtoull(text, nullptr, 10) : kSeedsOfMakeTest;
}

INSTANTIATE_TEST_SUITE_P(Seeds, PowerCut, ::testing::Range(std::uint64_t{1}, seeds() + 1));

}  // namespace
}  // namespace tau::testnet
