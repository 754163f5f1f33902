// Languages other than C++: real compilers in the real sandbox, where this machine has them.
#include <fstream>
#include <iterator>

#include "process/local.h"
#include "services/monkey/service_scenario.h"

namespace tau::monkey {
namespace {

class LanguagesSandboxTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const Status sandbox = runtime::block_on(loop, runner.sandbox_available());
    ASSERT_TRUE(sandbox) << sandbox.error().message();
  }

  // A town whose function "ping" is made from this language's template.
  void use(const std::string& language) {
    Images images({runner, BuilderOptions{}.toolchains, {}});
    const std::filesystem::path folder = std::filesystem::path(TAU_TEMPLATES) / language / "ping";
    town = std::make_unique<Town>(loop, random, hosts_on(network), runner);
    town->code.clear();
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
      if (!entry.is_regular_file()) continue;
      std::ifstream in(entry.path(), std::ios::binary);
      town->code["functions/ping/" + entry.path().lexically_relative(folder).string()] = {
          std::istreambuf_iterator<char>(in), {}};
    }
    const std::string& config = town->code.at("functions/ping/.taubyte/config.yaml");
    const auto at = config.find("image: ") + 7;
    const auto image =
        runtime::block_on(loop, images.get(config.substr(at, config.find('\n', at) - at)));
    if (!image) GTEST_SKIP() << image.error().message();
  }
  void replace(const std::string& file, const std::string& from, const std::string& to) {
    std::string& text = town->code.at("functions/ping/" + file);
    const auto at = text.find(from);
    ASSERT_NE(at, std::string::npos) << text;
    text.replace(at, from.size(), to);
  }
  void expect_refused(const std::string& words) {
    const auto done = town->push_and_wait();
    EXPECT_FALSE(done.deployment);
    EXPECT_NE(done.error.find(words), std::string::npos) << done.error << "\n" << town->patrick.log;
  }

  runtime::RealLoop loop;
  SystemRandom random;
  p2p::simulated::SimulatedNetwork network{loop, random};
  process::LocalRunner runner{loop, {}, Logger()};
  std::unique_ptr<Town> town;
};

TEST_F(LanguagesSandboxTest, OneWithoutItsToolchainSaysWhatMakesIt) {
  Images images({runner, "/nonexistent", {}});
  ASSERT_TRUE(runtime::block_on(loop, images.probe()));
  for (const auto* language : {&rust(), &assemblyscript()}) {
    const std::string name(language->image());
    const auto image = runtime::block_on(loop, images.get(name));
    ASSERT_FALSE(image) << name;
    EXPECT_EQ(image.error().code(), ErrorCode::failed_precondition);
    EXPECT_NE(image.error().message().find(name + " needs"), std::string::npos)
        << image.error().message();
    EXPECT_NE(image.error().message().find("tools/setup"), std::string::npos);
  }
}

TEST_F(LanguagesSandboxTest, AssemblyScriptMistakesHaveTheirPlaces) {
  use("assemblyscript");
  if (IsSkipped()) return;
  replace("ping.ts", "\"pong\"", "pong");
  expect_refused("functions/ping/ping.ts:7:39: error: Cannot find name 'pong'.");
}

TEST_F(LanguagesSandboxTest, AssemblyScriptPackagesOfOthersAreRefusedWithAdvice) {
  use("assemblyscript");
  if (IsSkipped()) return;
  town->code["functions/ping/package.json"] = R"({"dependencies": {"left-pad": "1.3.0"}})";
  expect_refused("copy the sources of left-pad into the function's folder");
}

TEST_F(LanguagesSandboxTest, RustMistakesHaveTheirPlaces) {
  use("rust");
  if (IsSkipped()) return;
  replace("lib.rs", "\"pong\"", "pong");
  expect_refused("functions/ping/lib.rs:7:22: error: cannot find value `pong` in this scope");
}

TEST_F(LanguagesSandboxTest, RustCratesOfOthersNeedALockFile) {
  use("rust");
  if (IsSkipped()) return;
  town->code["functions/ping/Cargo.toml"] += "serde = \"1\"\n";
  expect_refused("no matching package named `serde` found");
}

TEST_F(LanguagesSandboxTest, RustCratesOfOthersAreFetchedAsTheLockFileSaysAndCompiled) {
  use("rust");
  if (IsSkipped()) return;
  town->code["functions/ping/Cargo.toml"] += "hex = \"=0.4.3\"\n";
  replace("lib.rs", "\"pong\"", "hex::encode(\"pong\")");
  replace("Cargo.lock", " \"taubyte-sdk\",\n]", " \"hex\",\n \"taubyte-sdk\",\n]");
  // What `cargo generate-lockfile` adds.
  town->code["functions/ping/Cargo.lock"] +=
      "\n"
      "[[package]]\n"
      "name = \"hex\"\n"
      "version = \"0.4.3\"\n"
      "source = \"registry+https://github.com/rust-lang/crates.io-index\"\n"
      "checksum = \"7f24254aa9a54b5c858eaee2f5bccdb46aaf0e486a595ed5fd8f86ba55232a70\"\n";
  const auto done = town->push_and_wait();
  EXPECT_TRUE(done.deployment) << done.error << "\n" << town->patrick.log;
}

TEST_F(LanguagesSandboxTest, RustCratesOutOfGitAreRefused) {
  use("rust");
  if (IsSkipped()) return;
  town->code["functions/ping/Cargo.lock"] +=
      "\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"git+file:///a#12\"\n";
  expect_refused("functions/ping/Cargo.lock:554:1: error: the crate a comes from a git repository");
}

}  // namespace
}  // namespace tau::monkey
