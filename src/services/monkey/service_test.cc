#include "services/monkey/service.h"

#include "process/simulated.h"
#include "services/monkey/service_scenario.h"

namespace tau::monkey {
namespace {

using namespace std::chrono_literals;

bool is_build(const process::Command& command) {
  return command.argv.size() > 3 &&
         as_text(command.input).find("http.pch") == std::string_view::npos;
}

// Stands in for the sandbox: "builds" src/main.cc by what it says.
Task<Result<process::Exit>> build_script(const process::Command& command,
                                         process::OutputSink& sink) {
  if (command.argv.size() == 3) {  // the probe
    sink(process::Output::standard_output, as_bytes("Debian clang version 19.1.7 (3)\n"));
    co_return process::Exit{};
  }
  if (!is_build(command)) {
    process::Exit no;
    no.code = 1;
    co_return no;
  }
  CO_TRY_STATUS(runtime::sleep_for(1s));
  const auto files = process::read_tar(command.input, {}, process::Links::refuse);
  EXPECT_TRUE(files);
  const std::string source = to_text(files->at("src/main.cc").data);
  sink(process::Output::standard_error, as_bytes("compiling\n"));
  process::Exit exit;
  if (source.find("broken") != std::string::npos) {
    sink(process::Output::standard_error, as_bytes("/src/main.cc:3:7: error: broken\n"));
    exit.code = 1;
    co_return exit;
  }
  if (source.find("slow") != std::string::npos) CO_TRY_STATUS(runtime::sleep_for(5s));
  process::ArchivedFiles out;
  // Exports the function that the source names; ends with a custom section that holds the source.
  const std::string name = source.substr(source.find('(') + 1, 4);
  Bytes module = {0, 'a', 's', 'm', 1, 0, 0, 0, 7, 8, 1, 4};
  module.insert(module.end(), name.begin(), name.end());
  module.insert(module.end(), {0, 0, 0, static_cast<std::uint8_t>(source.size() + 1), 0});
  EXPECT_LT(source.size(), 127u);
  module.insert(module.end(), source.begin(), source.end());
  if (source.find("nothing") == std::string::npos) out["main.wasm"] = {module, false};
  CO_TRY_SYNC(exit.results, process::write_tar(out));
  co_return exit;
}

class MonkeyTest : public ::testing::Test {
 protected:
  MonkeyTest() {
    runner.on("/bin/sh", build_script);
    town = std::make_unique<Town>(loop, random, hosts_on(network), runner);
  }
  std::size_t builds() const {
    return static_cast<std::size_t>(
        std::ranges::count_if(runner.ran(), [](const auto& c) { return is_build(c); }));
  }
  void expect_failure(std::string_view says) {
    const auto done = town->push_and_wait();
    EXPECT_FALSE(done.deployment) << says;
    EXPECT_NE(done.error.find(says), std::string::npos) << "wanted " << says << "\n" << done.error;
    EXPECT_EQ(town->tns.published.size(), 0u);
  }

  runtime::VirtualLoop loop;
  SeededRandom random{1};
  p2p::simulated::SimulatedNetwork network{loop, random};
  process::SimulatedRunner runner;
  std::unique_ptr<Town> town;
};

TEST_F(MonkeyTest, TurnsAPushIntoADeploymentThatIsHeldAndPublished) {
  town->add_function("pong");
  const auto done = town->push_and_wait();
  ASSERT_TRUE(done.deployment) << done.error;
  ASSERT_EQ(town->tns.published.size(), 1u);
  const Receipt& receipt = town->tns.published[0];
  EXPECT_EQ(receipt.deployment, *done.deployment);
  EXPECT_EQ(receipt.hosts, std::vector<std::string>{"hello.blackhole.localhost"});
  EXPECT_EQ(receipt.holders, std::vector<PeerId>{town->hoarder_node.host->id()});
  EXPECT_EQ(receipt.functions.size(), 2u);
  EXPECT_NE(receipt.functions[0].toolchain.find("clang 19.1.7"), std::string::npos);
  EXPECT_EQ(town->holders->held, std::vector<codec::Cid>{*done.deployment});

  const auto block = runtime::block_on(loop, town->hoarder_store->blocks.get(*done.deployment));
  ASSERT_TRUE(block && *block);
  const auto deployment = project::decode_deployment(**block);
  ASSERT_TRUE(deployment) << deployment.error().to_string();
  EXPECT_EQ(deployment->functions.size(), 2u);
  content::LocalSource source(town->hoarder_store->blocks);
  const auto module =
      runtime::block_on(loop, content::read_file(source, deployment->functions[0].module, 1 << 20));
  ASSERT_TRUE(module);
  EXPECT_EQ((*module)[1], 'a');
  for (const char* says : {"[ping] compiling", "[ping] built in", "held by 1 hoarder",
                           "live at hello.blackhole.localhost"})
    EXPECT_NE(town->patrick.log.find(says), std::string::npos) << town->patrick.log;
}

TEST_F(MonkeyTest, BuildsOnlyWhatChanged) {
  town->add_function("pong");
  const auto first = town->push_and_wait();
  ASSERT_TRUE(first.deployment);
  EXPECT_EQ(builds(), 2u);
  const auto same = town->push_and_wait();
  EXPECT_EQ(same.deployment, first.deployment);
  EXPECT_EQ(builds(), 2u);
  town->code["functions/ping/main.cc"] += "// more\n";
  const auto other = town->push_and_wait();
  ASSERT_TRUE(other.deployment) << other.error;
  EXPECT_NE(other.deployment, first.deployment);
  EXPECT_EQ(builds(), 3u);
  EXPECT_NE(town->patrick.log.find("[pong] unchanged"), std::string::npos) << town->patrick.log;
}

TEST_F(MonkeyTest, BuildsEverythingAnewWhenTheJobSaysSo) {
  ASSERT_TRUE(town->push_and_wait().deployment);
  ASSERT_TRUE(town->push_and_wait().deployment);
  EXPECT_EQ(builds(), 1u);
  town->clean = true;
  ASSERT_TRUE(town->push_and_wait().deployment);
  EXPECT_EQ(builds(), 2u);
}

TEST_F(MonkeyTest, ReportsEveryMistakeAndPublishesNothing) {
  town->add_function("pong");
  town->add_function("pang");
  town->code["functions/ping/main.cc"] = "broken";
  town->code["functions/pang/main.cc"] = "nothing(pang)";
  const auto done = town->push_and_wait();
  EXPECT_FALSE(done.deployment);
  EXPECT_NE(done.error.find("functions/ping/main.cc:3:7: error: broken"), std::string::npos)
      << done.error;
  EXPECT_NE(done.error.find("function \"pang\": the build ended well, but wrote no"),
            std::string::npos)
      << done.error;
  EXPECT_NE(town->patrick.log.find("[pong] built in"), std::string::npos) << town->patrick.log;
  EXPECT_TRUE(town->tns.published.empty());
  EXPECT_TRUE(town->holders->held.empty());
}

TEST_F(MonkeyTest, ShowsThePlaceOfAMistakeInTheConfig) {
  auto& text = town->config["functions/ping.yaml"];
  text.replace(text.find("GET"), 3, "GOT");
  expect_failure("functions/ping.yaml:4:11: function \"ping\": \"GOT\" is no method of HTTP");
  EXPECT_EQ(builds(), 0u);
}

TEST_F(MonkeyTest, SaysWhatIsMissingInTheCode) {
  town->code.erase("functions/ping/.taubyte/build.sh");
  expect_failure("functions/ping/.taubyte/config.yaml:5:12");
  town->code.clear();
  expect_failure("there is no folder functions/ping/ in the code repository");
  town->add_function("ping");
  auto& workflow = town->code["functions/ping/.taubyte/config.yaml"];
  workflow.replace(workflow.find("cpp-wasi"), 8, "cobol-wasi");
  expect_failure("the image \"taubyte/cobol-wasi\" is unknown here: use taubyte/cpp-wasi");
}

TEST_F(MonkeyTest, SaysThatTheModuleLacksTheFunctionToCall) {
  auto& text = town->config["functions/ping.yaml"];
  text.replace(text.find("call: ping"), 10, "call: pang");
  expect_failure(
      "functions/ping.yaml says call: pang, but the module exports no such function (it "
      "exports: ping)");
  expect_failure("says call: pang");  // the cached module, too
  text.replace(text.find("call: pang"), 10, "call: ping");
  EXPECT_TRUE(town->push_and_wait().deployment);
}

TEST_F(MonkeyTest, AcceptsBothLayoutsOfAnApplicationsFunctions) {
  for (const std::string prefix : {"applications/shop/", "shop/"}) {
    auto config = town->config;
    auto code = town->code;
    town->config["applications/shop/config.yaml"] = project::application_yaml({id_of("shop"), ""});
    town->config["applications/shop/functions/ping.yaml"] = town->config["functions/ping.yaml"];
    town->config.erase("functions/ping.yaml");
    for (const auto& [path, text] : code) {
      town->code.erase(path);
      town->code[prefix + path] = text;
    }
    const auto done = town->push_and_wait();
    EXPECT_TRUE(done.deployment) << done.error;
    EXPECT_EQ(town->tns.published.back().functions[0].name, "shop/ping");
    town->config = config;
    town->code = code;
  }
}

TEST_F(MonkeyTest, GivesUpABuildWhoseLeaseIsLostWithoutAWord) {
  town->code["functions/ping/main.cc"] = "slow(ping)";
  town->push();
  ASSERT_TRUE(town->wait([&] { return builds() == 1; }));
  town->patrick.lease_lost = true;
  ASSERT_TRUE(town->wait([&] { return town->service->building() == 0; }));
  EXPECT_TRUE(town->patrick.finished.empty());
  EXPECT_TRUE(town->tns.published.empty());
  town->patrick.lease_lost = false;
  EXPECT_TRUE(town->push_and_wait().deployment);
  EXPECT_GT(town->patrick.renewed, 1);
}

TEST_F(MonkeyTest, EndsARunningSandboxWithinASecondWhenTheJobIsCancelled) {
  town->code["functions/ping/main.cc"] = "slow(ping)";
  town->push();
  ASSERT_TRUE(town->wait([&] { return builds() == 1; }));
  const TimePoint cancelled = loop.now();
  town->patrick.lose_lease();
  ASSERT_TRUE(town->wait([&] { return town->service->building() == 0; }));
  EXPECT_LT(loop.now() - cancelled, 1s);
  EXPECT_TRUE(town->patrick.finished.empty());
}

TEST_F(MonkeyTest, AsksPatrickBeforeItPublishesAndDropsAResultThatComesTooLate) {
  town->patrick.too_late = true;
  town->push();
  ASSERT_TRUE(town->wait([&] { return builds() == 1; }));
  ASSERT_TRUE(town->wait([&] { return town->service->building() == 0; }));
  EXPECT_TRUE(town->tns.published.empty());
  EXPECT_TRUE(town->patrick.finished.empty());
}

TEST_F(MonkeyTest, BuildsOnWhilePatrickRestartsAndFinishesThen) {
  town->code["functions/ping/main.cc"] = "slow(ping)";
  town->push();
  ASSERT_TRUE(town->wait([&] { return builds() == 1; }));
  town->patrick.deaf = true;  // for longer than the lease, and than the build
  (void)runtime::block_on(loop, runtime::sleep_for(15s));
  EXPECT_TRUE(town->tns.published.empty()) << "not without patrick's word";
  EXPECT_EQ(town->service->building(), 1u);
  town->patrick.deaf = false;
  ASSERT_TRUE(town->wait([&] { return town->service->building() == 0; }));
  EXPECT_EQ(town->tns.published.size(), 1u);
  ASSERT_EQ(town->patrick.finished.size(), 1u);
  EXPECT_EQ(builds(), 1u);
}

TEST_F(MonkeyTest, GivesUpWhenPatrickStaysAway) {
  town->code["functions/ping/main.cc"] = "slow(ping)";
  town->push();
  ASSERT_TRUE(town->wait([&] { return builds() == 1; }));
  town->patrick.deaf = true;
  ASSERT_TRUE(town->wait([&] { return town->service->building() == 0; }));
  EXPECT_TRUE(town->tns.published.empty());
}

TEST_F(MonkeyTest, BidsWhatIsFreeAndWhatItKnows) {
  ASSERT_TRUE(town->wait([&] { return !town->patrick.bids.empty(); }));
  EXPECT_EQ(town->patrick.bids.back().slots, 1u);
  EXPECT_TRUE(town->patrick.bids.back().warm.empty());
  ASSERT_TRUE(town->push_and_wait().deployment);
  ASSERT_TRUE(town->wait([&] { return !town->patrick.bids.back().warm.empty(); }));
  EXPECT_EQ(town->patrick.bids.back().warm, std::vector<ProjectId>{town->registration.project()});
}

TEST(MonkeyMemory, SeveralJobsAreBuiltAtOnceAsFarAsTheirMemoryGoes) {
  runtime::VirtualLoop loop;
  SeededRandom random(1);
  p2p::simulated::SimulatedNetwork network(loop, random);
  process::SimulatedRunner runner;
  runner.on("/bin/sh", build_script);
  Options options;
  options.jobs_max = 5;
  options.builder.limits.memory_bytes_max = 1ull << 30;
  options.memory_bytes_max = (2ull << 30) + 1000;
  options.load_percent = [] { return 42u; };
  Town town(loop, random, hosts_on(network), runner, options);
  ASSERT_TRUE(town.wait([&] { return !town.patrick.bids.empty(); }));
  EXPECT_EQ(town.patrick.bids[0].slots, 2u);
  EXPECT_EQ(town.patrick.bids[0].memory_mib, 2048u);
  EXPECT_EQ(town.patrick.bids[0].load_percent, 42u);
  for (int i = 0; i < 3; ++i) {
    town.code["functions/ping/main.cc"] = "slow(ping)//" + std::to_string(i);
    town.push();
  }
  ASSERT_TRUE(town.wait([&] { return town.service->building() == 2; }));
  EXPECT_EQ(town.patrick.waiting.size(), 1u) << "the third is left to others";
  std::size_t most = 0;
  ASSERT_TRUE(town.wait([&] {
    most = std::max(most, town.service->building());
    return town.patrick.finished.size() == 3;
  }));
  EXPECT_EQ(most, 2u);
  EXPECT_TRUE(std::ranges::any_of(town.patrick.bids, [](const patrick::Bid& bid) {
    return bid.slots == 1 && bid.memory_mib == 1024;
  })) << "one that builds offers the rest";
}

TEST(MonkeyMemory, OneBuildIsTakenHoweverLittleThereIs) {
  Options options;
  options.jobs_max = 4;
  options.memory_bytes_max = 1000;
  EXPECT_EQ(jobs_that_fit(options), 1u);
  EXPECT_EQ(sandboxes_that_fit(options), 1u);
  options.memory_bytes_max = 100ull << 30;
  EXPECT_EQ(jobs_that_fit(options), 4u);
  EXPECT_EQ(sandboxes_that_fit(options), 4u);
}

TEST_F(MonkeyTest, WaitsForTnsToComeBack) {
  town->tns.unavailable = 3;
  EXPECT_TRUE(town->push_and_wait().deployment);
}

TEST_F(MonkeyTest, PublishesNothingThatNobodyHolds) {
  town->holders->refuse = true;
  expect_failure("no hoarder is connected");
}

TEST_F(MonkeyTest, EndsInTheMiddleOfABuild) {
  town->code["functions/ping/main.cc"] = "slow(ping)";
  town->push();
  ASSERT_TRUE(town->wait([&] { return builds() == 1; }));
  runtime::block_on(loop, town->service->stop());
  EXPECT_EQ(town->service->building(), 0u);
  EXPECT_TRUE(town->patrick.finished.empty());
}

TEST(MonkeyWithoutSandbox, RefusesJobsAndSaysWhatToEnable) {
  runtime::VirtualLoop loop;
  SeededRandom random(1);
  p2p::simulated::SimulatedNetwork network(loop, random);
  process::SimulatedRunner runner;
  runner.refuse_sandboxes("run: sysctl -w user.max_user_namespaces=15000");
  Town town(loop, random, hosts_on(network), runner);
  const auto done = town.push_and_wait();
  EXPECT_FALSE(done.deployment);
  EXPECT_NE(done.error.find("sysctl -w"), std::string::npos) << done.error;
}

TEST(Modules, AreTakenOnlyFromPlainFiles) {
  const Bytes wasm = {0, 'a', 's', 'm', 1, 0, 0, 0};
  const auto tar = [](const process::ArchivedFiles& files) { return *process::write_tar(files); };
  EXPECT_EQ(*module_of(tar({{"artifact.wasm", {wasm, false}}}), {}), wasm);
  EXPECT_FALSE(module_of(tar({{"main.wasm", {to_bytes("#!/bin/sh"), true}}}), {}));
  EXPECT_FALSE(module_of(tar({{"other.wasm", {wasm, false}}}), {}));
  EXPECT_FALSE(
      module_of(tar({{"main.wasm", {wasm, false}}, {"ret-code", {to_bytes("1\n"), false}}}), {}));
  EXPECT_TRUE(
      module_of(tar({{"main.wasm", {wasm, false}}, {"ret-code", {to_bytes("0\n"), false}}}), {}));
  BuildLimits small;
  small.output_bytes_max = 4;
  EXPECT_FALSE(module_of(tar({{"main.wasm", {wasm, false}}}), small));
}

}  // namespace
}  // namespace tau::monkey
