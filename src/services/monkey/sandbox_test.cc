// Real builds: the real compiler in the real sandbox, on a simulated network in real time.
#include <unistd.h>

#include "process/local.h"
#include "services/monkey/service_scenario.h"

namespace tau::monkey {
namespace {

class MonkeySandboxTest : public ::testing::Test {
 protected:
  MonkeySandboxTest() {
    folder = std::filesystem::temp_directory_path() /
             ("monkey-sandbox-test-" + std::to_string(::getpid()));
  }
  ~MonkeySandboxTest() override {
    std::error_code error;
    std::filesystem::remove_all(folder, error);
  }
  void SetUp() override {
    const Status sandbox = runtime::block_on(loop, runner.sandbox_available());
    ASSERT_TRUE(sandbox) << sandbox.error().message();
    town = std::make_unique<Town>(loop, random, hosts_on(network), runner);
  }

  std::filesystem::path folder;
  runtime::RealLoop loop;
  SystemRandom random;
  p2p::simulated::SimulatedNetwork network{loop, random};
  process::LocalRunner runner{loop, {}, Logger()};
  std::unique_ptr<Town> town;
};

TEST_F(MonkeySandboxTest, CompilesACppFunctionIntoAModule) {
  const TimePoint start = loop.now();
  const auto done = town->push_and_wait();
  ASSERT_TRUE(done.deployment) << done.error << "\n" << town->patrick.log;
  std::printf("push to published: %ld ms\n%s",
              static_cast<long>((loop.now() - start) / std::chrono::milliseconds(1)),
              town->patrick.log.c_str());
  const auto again = town->push_and_wait();
  EXPECT_EQ(again.deployment, done.deployment);
}

TEST_F(MonkeySandboxTest, HandsOnAModuleThatIsCompiledAlready) {
  const auto cpp_module = town->push_and_wait();
  ASSERT_TRUE(cpp_module.deployment) << cpp_module.error;
  const codec::Cid module = town->tns.published.back().functions[0].module;
  content::LocalSource source(town->monkey_store->blocks);
  const auto wasm = runtime::block_on(loop, content::read_file(source, module, 1u << 20));
  ASSERT_TRUE(wasm);
  const std::string folder = "functions/ping/";
  town->code.erase(folder + "main.cc");
  town->code[folder + ".taubyte/config.yaml"] =
      "version: 1.00\nenvironment:\n  image: taubyte/prebuilt\n  variables: {}\nworkflow:\n"
      "  - build\n";
  town->code[folder + ".taubyte/build.sh"] = ". /utils/wasm.sh\nbuild main.wasm\n";
  const auto missing = town->push_and_wait();
  EXPECT_NE(missing.error.find("there is no main.wasm"), std::string::npos) << missing.error;
  town->code[folder + "main.wasm"] = to_text(*wasm);
  const auto handed_on = town->push_and_wait();
  ASSERT_TRUE(handed_on.deployment) << handed_on.error;
  EXPECT_EQ(town->tns.published.back().functions[0].module, module);
}

TEST_F(MonkeySandboxTest, BuildsTheSameWithPrecompiledHeaders) {
  const std::string name(cpp().image());
  Images images({runner, {}, {}});
  ASSERT_TRUE(runtime::block_on(loop, images.probe()));
  const auto plain = runtime::block_on(loop, images.get(name));
  const auto headers = runtime::block_on(loop, images.warm_up(name));
  ASSERT_TRUE(headers) << headers.error().to_string();
  FileCache files_of_warmth(folder, 1u << 30);
  const auto tar = files_of_warmth.put("headers.tar", *headers);
  ASSERT_TRUE(tar);
  images.use(name, *tar);
  const auto precompiled = runtime::block_on(loop, images.get(name));
  ASSERT_TRUE((*precompiled)->warmth);
  std::map<std::string, Bytes> files;
  for (const auto& [path, text] : town->code)
    files[path.substr(std::string("functions/ping/").size())] = to_bytes(text);
  std::vector<Bytes> modules;
  for (const auto& image : {*plain, *precompiled}) {
    const project::Workflow workflow{".taubyte", name, {}, {"build"}};
    auto command = build_command({*image, workflow, files, {}, {}}, {});
    ASSERT_TRUE(command);
    const TimePoint start = loop.now();
    const auto exit = runtime::block_on(loop, runner.run(*std::move(command), {}));
    ASSERT_TRUE(exit && exit->code == 0);
    std::printf("%s headers: %ld ms\n", image == *plain ? "plain" : "precompiled",
                static_cast<long>((loop.now() - start) / std::chrono::milliseconds(1)));
    modules.push_back(outcome_of(exit->results, {})->module);
  }
  EXPECT_EQ(modules[0], modules[1]);
}

TEST_F(MonkeySandboxTest, ShowsTheCompilersWordsAndTheirPlaces) {
  town->code["functions/ping/main.cc"] = "int f() {\n  return undeclared_name;\n}\n";
  const auto done = town->push_and_wait();
  EXPECT_FALSE(done.deployment);
  EXPECT_NE(done.error.find("functions/ping/main.cc:2:10: error: use of undeclared identifier"),
            std::string::npos)
      << done.error;
}

TEST_F(MonkeySandboxTest, BearsHostileBuilds) {
  const char* const scripts[] = {
      "ln -s /etc/passwd /out/main.wasm",
      "mkfifo /out/main.wasm",
      "yes | head -c 50000000",
      "head -c 2000000000 /dev/zero > /out/main.wasm",
      "kill -9 $PPID",
      "cat /dev/zero > /proc/$PPID/fd/3",
      "exit 3",
      "rm -rf /src /out/* / 2>/dev/null; true",
  };
  for (const char* script : scripts) {
    town->code["functions/ping/.taubyte/build.sh"] = script;
    const auto done = town->push_and_wait();
    EXPECT_FALSE(done.deployment) << script;
    EXPECT_NE(done.error.find("function \"ping\""), std::string::npos) << script << done.error;
  }
  EXPECT_TRUE(town->tns.published.empty());
}

}  // namespace
}  // namespace tau::monkey
