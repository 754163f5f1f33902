// Functions in Go: the real toolchain in the real sandbox, with modules from a real proxy the first
// time that this user's cache sees them.
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "process/local.h"
#include "services/monkey/service_scenario.h"

namespace tau::monkey {
namespace {

namespace fs = std::filesystem;

// A toolchain's standard library is compiled once for a user: 40 s of CPU, on a busy machine.
constexpr Duration kFirstBuildMax = std::chrono::minutes(5);

fs::path user_cache() {
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg && *xdg == '/')
    return fs::path(xdg) / "tau";
  const char* home = std::getenv("HOME");
  return fs::path(home && *home ? home : "/tmp") / ".cache" / "tau";
}

class GoSandboxTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const Status sandbox = runtime::block_on(loop, runner.sandbox_available());
    ASSERT_TRUE(sandbox) << sandbox.error().message();
    BuilderOptions options;
    options.cache = user_cache() / "builds";
    town = std::make_unique<Town>(loop, random, hosts_on(network), runner, options);
    town->wait_max = kFirstBuildMax;
    town->code.clear();
    const fs::path templ = fs::path(TAU_TEMPLATES) / "go" / "ping";
    for (const auto& entry : fs::recursive_directory_iterator(templ)) {
      if (!entry.is_regular_file()) continue;
      std::ifstream in(entry.path(), std::ios::binary);
      source(entry.path().lexically_relative(templ).string()) =
          std::string(std::istreambuf_iterator<char>(in), {});
    }
    ASSERT_TRUE(town->code.contains("functions/ping/ping.go"));
  }
  std::string& source(const std::string& path) { return town->code["functions/ping/" + path]; }
  static void replace(std::string& text, const std::string& from, const std::string& to) {
    const auto at = text.find(from);
    ASSERT_NE(at, text.npos) << text;
    text.replace(at, from.size(), to);
  }
  std::string failure() {
    const auto done = town->push_and_wait();
    EXPECT_FALSE(done.deployment);
    return done.error;
  }

  runtime::RealLoop loop;
  SystemRandom random;
  p2p::simulated::SimulatedNetwork network{loop, random};
  process::LocalRunner runner{loop, {}, Logger()};
  std::unique_ptr<Town> town;
};

TEST_F(GoSandboxTest, BuildsTheTemplateWithThePublishedSdk) {
  const auto done = town->push_and_wait();
  ASSERT_TRUE(done.deployment) << done.error << "\n" << town->patrick.log;
  std::printf("%s", town->patrick.log.c_str());
  source("ping.go") += "\n// changed\n";
  const TimePoint start = loop.now();
  const auto again = town->push_and_wait();
  ASSERT_TRUE(again.deployment) << again.error;
  std::printf("push to published, warm: %ld ms\n%s",
              static_cast<long>((loop.now() - start) / std::chrono::milliseconds(1)),
              town->patrick.log.c_str());
}

TEST_F(GoSandboxTest, ShowsTheCompilersWordsAndTheirPlaces) {
  replace(source("ping.go"), "return 1\n", "return undeclared\n");
  const std::string error = failure();
  EXPECT_NE(error.find("functions/ping/ping.go:13:10: error: undefined: undeclared"),
            std::string::npos)
      << error;
}

}  // namespace
}  // namespace tau::monkey
