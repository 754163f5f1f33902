// Functions in Go: the real toolchain in the real sandbox. What this user's cache does not have yet
// (the compiled standard library, modules) is made and fetched first.
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
constexpr Duration kFirstBuildMax = std::chrono::minutes(8);
constexpr const char* kNoProxy = "http://127.0.0.1:9";  // nobody listens there (discard)

fs::path user_cache() {
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg && *xdg == '/')
    return fs::path(xdg) / "tau";
  const char* home = std::getenv("HOME");
  return fs::path(home && *home ? home : "/tmp") / ".cache" / "tau";
}

class GoSandboxTest : public ::testing::Test {
 protected:
  // A project of its own on the network, with the template's function.
  struct Place {
    Place(runtime::RealLoop& loop, process::Runner& runner, Options options)
        : network(loop, random), town(loop, random, hosts_on(network), runner, std::move(options)) {
      town.wait_max = kFirstBuildMax;
      town.code.clear();
      const fs::path templ = fs::path(TAU_TEMPLATES) / "go" / "ping";
      for (const auto& entry : fs::recursive_directory_iterator(templ)) {
        if (!entry.is_regular_file()) continue;
        std::ifstream in(entry.path(), std::ios::binary);
        source(entry.path().lexically_relative(templ).string()) =
            std::string(std::istreambuf_iterator<char>(in), {});
      }
    }
    std::string& source(const std::string& path) { return town.code["functions/ping/" + path]; }
    void import(const std::string& path) {
      replace(source("ping.go"), "import (\n", "import (\n\t_ \"" + path + "\"\n");
    }
    codec::Cid build() {
      const auto done = town.push_and_wait();
      EXPECT_TRUE(done.deployment) << done.error << "\n" << town.patrick.log;
      return town.tns.published.empty() ? codec::Cid{}
                                        : town.tns.published.back().functions[0].module;
    }
    std::string failure() {
      const auto done = town.push_and_wait();
      EXPECT_FALSE(done.deployment) << town.patrick.log;
      return done.error;
    }
    const std::string& log() const { return town.patrick.log; }

    SystemRandom random;
    p2p::simulated::SimulatedNetwork network;
    Town town;
  };

  void SetUp() override {
    const Status sandbox = runtime::block_on(loop, runner.sandbox_available());
    ASSERT_TRUE(sandbox) << sandbox.error().message();
    Images images({runner, BuilderOptions{}.toolchains, {}});
    const auto image = runtime::block_on(loop, images.get(std::string(go().image())));
    if (!image) GTEST_SKIP() << image.error().message();
    std::string name = (fs::temp_directory_path() / "monkey-go-test-XXXXXX").string();
    ASSERT_TRUE(::mkdtemp(name.data()));
    cache = name;
    // Costly and the same for everybody: this user's. What projects keep: this test's.
    for (const char* shared : {"warm", "modules"}) {
      fs::create_directories(user_cache() / "builds" / shared);
      fs::create_directory_symlink(user_cache() / "builds" / shared, cache / shared);
    }
  }
  ~GoSandboxTest() override {
    std::error_code error;
    if (!cache.empty()) fs::remove_all(cache, error);
  }
  std::unique_ptr<Place> place(const std::string& proxy = "") {
    Options options;
    options.builder.cache = cache;
    options.builder.go_proxy = proxy;
    return std::make_unique<Place>(loop, runner, options);
  }
  static void replace(std::string& text, const std::string& from, const std::string& to) {
    const auto at = text.find(from);
    ASSERT_NE(at, text.npos) << text;
    text.replace(at, from.size(), to);
  }
  static void expect_in(const std::string& text, const std::string& words) {
    EXPECT_NE(text.find(words), text.npos) << "wanted " << words << "\n" << text;
  }

  fs::path cache;
  runtime::RealLoop loop;
  process::LocalRunner runner{loop, {}, Logger()};
};

TEST_F(GoSandboxTest, BuildsTheTemplateWithThePublishedSdkAndOnceWarmWithoutANetwork) {
  {
    const auto first = place();
    first->build();
    // So that the second project meets a store that has its modules.
  }
  const auto second = place(kNoProxy);
  const auto module = second->build();
  second->source("ping.go") += "\nvar changed = \"yes\"\n";
  replace(second->source("ping.go"), "[]byte(\"pong\")", "[]byte(changed)");
  const TimePoint start = loop.now();
  EXPECT_NE(second->build(), module);
  std::printf("push to published, warm: %ld ms\n%s",
              static_cast<long>((loop.now() - start) / std::chrono::milliseconds(1)),
              second->log().c_str());
}

TEST_F(GoSandboxTest, TheFolderOfToolchainsComesFirstAndAnOldGoIsPassedOver) {
  const auto folder = cache / "toolchains";
  fs::create_directories(folder / "bin");
  fs::permissions(cache, fs::perms(0755));  // builds are users of their own
  const auto toolchain = [&](const std::string& version) {
    std::ofstream(folder / "bin" / "go") << "#!/bin/sh\necho go version go" << version << " x/y\n";
    fs::permissions(folder / "bin" / "go", fs::perms(0755));
    Images images({runner, folder, {}});
    const auto image = runtime::block_on(loop, images.get(std::string(go().image())));
    return image ? (*image)->toolchain : "none: " + image.error().message();
  };
  expect_in(toolchain("1.99.1"), "go 1.99.1, ");
  // Another one is found, or none: the error then names the old one.
  const std::string with_old = toolchain("1.19.8");
  EXPECT_TRUE(with_old.find("1.19") == std::string::npos || with_old.starts_with("none: "))
      << with_old;
}

TEST_F(GoSandboxTest, ShowsTheCompilersWordsAndTheirPlaces) {
  const auto here = place();
  replace(here->source("ping.go"), "return 1\n", "return undeclared\n");
  expect_in(here->failure(), "functions/ping/ping.go:13:10: error: undefined: undeclared");
}

TEST_F(GoSandboxTest, TellsWhatGoSumLacksAndUsesTheModule) {
  const auto here = place();
  here->import("github.com/google/uuid");
  // Said when it is fetched; what somebody asked for before is in the store, and was said to them.
  replace(here->source("go.mod"), "go-sdk v0.3.9\n",
          "go-sdk v0.3.9\nrequire github.com/google/uuid v1.6.0\n// " +
              std::to_string(here->random.next_u64()) + "\n");
  here->build();
  expect_in(here->log(), "go.sum lacks github.com/google/uuid v1.6.0: checked by ");
}

TEST_F(GoSandboxTest, ExplainsAModuleThatIsNotThere) {
  // A proxy that has nothing more than the store.
  const auto here = place("file:///known");
  here->town.code.erase("functions/ping/go.sum");
  here->source("go.mod") = "module function\n\ngo 1.24\n";
  here->source("ping.go") =
      "package lib\n\nimport _ \"example.invalid/nothing\"\n\n//export ping\n"
      "func ping(event uint32) {}\n";
  const std::string error = here->failure();
  expect_in(error, "cannot be had");
  expect_in(error, "functions/ping/ping.go:3:8");
  expect_in(error, "example.invalid/nothing");
}

TEST_F(GoSandboxTest, ExplainsThatThereIsNoNetwork) {
  const auto here = place(kNoProxy);
  here->import("example.invalid/nothing");
  expect_in(here->failure(), "cannot reach a module proxy");
}

TEST_F(GoSandboxTest, RefusesAModuleThatIsNotWhatGoSumSays) {
  const auto here = place();
  here->build();  // the true one is in the store
  std::string& sum = here->source("go.sum");
  const std::string line = "github.com/taubyte/go-sdk v0.3.9 h1:";
  const auto at = sum.find(line);
  ASSERT_NE(at, sum.npos);
  sum.replace(at + line.size(), 4, "AAAA");
  const std::string error = here->failure();
  expect_in(error, "a module is not what go.sum says");
  expect_in(error, "go-sdk@v0.3.9");
}

TEST_F(GoSandboxTest, ABuildHasNoNetwork) {
  const auto here = place();
  here->source(".taubyte/build.sh") =
      "if [ \"$(grep -c : /proc/net/dev)\" != 1 ]; then cat /proc/net/dev; exit 7; fi\n"
      "cd /tmp && GOFLAGS=-mod=mod GOPROXY=$(GOENV=off go env -json GOPROXY >/dev/null; "
      "sed -n 's/^GOPROXY=//p' \"$(go env GOROOT)/go.env\") "
      "go mod download github.com/google/uuid@v1.5.0 && exit 8\n"
      "exit 9\n";
  expect_in(here->failure(), "exit code 9");
}

TEST_F(GoSandboxTest, WhatABuildLeavesInItsCacheReachesNoOtherProject) {
  const auto victim = place();
  const auto module = victim->build();

  // Spoils what it compiled and some of what everybody's builds start from; all of it would be more
  // than is kept.
  const auto attacker = place();
  attacker->source(".taubyte/build.sh") =
      ". /utils/wasm.sh\nbuild\n"
      "{ find /tmp/go/cache -type f -name '*-d' -newer /tmp/.tau-warm;\n"
      "  find /tmp/go/cache -type f -name '*-d' -size +200k -size -900k | head -n 20; } |\n"
      "while read -r f; do\n"
      "  size=$(wc -c < \"$f\"); head -c \"$size\" /dev/zero > /tmp/z && cat /tmp/z > \"$f\"\n"
      "done\n";
  attacker->build();
  attacker->source(".taubyte/build.sh") = ". /utils/wasm.sh\nbuild\n";
  attacker->source("ping.go") += "\nvar other = 1\n";
  // Its own next build suffers, which shows that the attack works.
  const std::string suffered = attacker->failure();
  EXPECT_NE(suffered, "");

  const auto third = place();
  EXPECT_EQ(third->build(), module);
  victim->source("ping.go") += "\n\n";
  EXPECT_EQ(victim->build(), module);
}

TEST_F(GoSandboxTest, EveryCallOfTheSdkCompilesAndAnExportWithoutAFormIsLeftOut) {
  const auto here = place();
  here->source("more.go") = R"(package lib

import (
	"io"

	"github.com/taubyte/go-sdk/globals/str"
	"github.com/taubyte/go-sdk/i2mv/fifo"
	ipfs "github.com/taubyte/go-sdk/ipfs/client"
	"github.com/taubyte/go-sdk/storage"
)

//export helper
func helper(text string) string { return text }

//export all
func all(event uint32) {
	v, _ := str.GetOrCreate("name")
	_ = v.Set("value")
	id, _ := fifo.New(true)
	_ = id
	client, _ := ipfs.New()
	content, _ := client.Create()
	_, _ = content.Seek(0, io.SeekStart)
	file, _ := storage.Create()
	_, _ = file.Seek(0, io.SeekStart)
}
)";
  const std::string error = here->failure();
  // It was built: what is wrong is that nodes do not offer these yet.
  expect_in(here->log(), "not exported, because the signature has no form in WebAssembly");
  expect_in(error, "the module imports what no node offers");
}

}  // namespace
}  // namespace tau::monkey
