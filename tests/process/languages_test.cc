// The same ping in every language that this machine has a toolchain for: written by `tau new
// function`, pushed with git, built by real toolchains, asked over HTTP.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "child.h"
#include "http/json.h"
#include "process/local.h"
#include "services/monkey/builder.h"
#include "visitor.h"

namespace tau::test {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using http::Json;
using ::testing::HasSubstr;

// The first build of each language on a loaded machine.
constexpr auto kBuildMax = 400s;
constexpr auto kStartMax = 60s;

// What tau calls a language, and the image that its template names.
struct LanguageOfTau {
  std::string name, image;
};

std::string tool(const std::string& name) { return std::string(TAU_BIN) + "/" + name; }

fs::path user_cache() {
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg && *xdg == '/') return xdg;
  const char* home = std::getenv("HOME");
  return fs::path(home && *home ? home : "/tmp") / ".cache";
}

std::vector<LanguageOfTau> languages_of_tau() {
  std::vector<LanguageOfTau> out;
  for (const auto& entry : fs::directory_iterator(TAU_TEMPLATES)) {
    if (entry.path().filename() == "wasm") continue;  // takes a module that is built already
    const std::string config = read_text(entry.path() / "ping" / ".taubyte" / "config.yaml");
    const std::string key = "image: ";
    const auto at = config.find(key);
    CHECK(at != std::string::npos);
    const auto start = at + key.size();
    out.push_back({entry.path().filename(), config.substr(start, config.find('\n', at) - start)});
  }
  std::ranges::sort(out, {}, &LanguageOfTau::name);
  return out;
}

class Languages : public ::testing::Test {
 protected:
  Languages() {
    const char* path = std::getenv("PATH");
    home.directory = folder.path();
    home.environment = {
        {"PATH", std::string(TAU_BIN) + ":" + (path ? path : "/usr/bin:/bin")},
        {"HOME", folder.path().string()},
        {"XDG_CONFIG_HOME", (folder / "settings").string()},
        // Whoever runs the tests compiles Go's standard library once, not each time.
        {"XDG_CACHE_HOME", user_cache().string()},
        {"GIT_CONFIG_NOSYSTEM", "1"},
        {"GIT_TERMINAL_PROMPT", "0"},
        {"GIT_AUTHOR_NAME", "newcomer"},
        {"GIT_AUTHOR_EMAIL", "newcomer@localhost"},
        {"GIT_COMMITTER_NAME", "newcomer"},
        {"GIT_COMMITTER_EMAIL", "newcomer@localhost"}};
  }

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
    const Json& universe = view["universes"][0];
    suffix = universe["suffix"];
    entry = net::Endpoint::parse(universe["entry"].get<std::string>()).value();
    home.environment["TAU_CLOUD"] =
        "http://" + view["control"].get<std::string>() + "/v1/universes/blackhole/cloud";
  }

  Said tau(std::vector<std::string> argv, std::chrono::seconds limit = 60s) {
    argv.insert(argv.begin(), tool("tau"));
    Place place = home;
    if (fs::exists(folder / "hello")) place.directory = folder / "hello";
    return run(place, std::move(argv), limit);
  }

  // Why each image that this machine cannot build with is absent, by its name.
  std::map<std::string, std::string> missing(const std::vector<LanguageOfTau>& all) {
    runtime::RealLoop loop;
    process::LocalRunner runner(loop, {}, Logger());
    monkey::Images images({runner, monkey::BuilderOptions{}.toolchains, {}});
    std::map<std::string, std::string> out;
    for (const auto& language : all) {
      const auto image = runtime::block_on(loop, images.get(language.image));
      if (!image) out[language.name] = image.error().message();
    }
    return out;
  }

  Folder folder;
  Place home;
  Visitor visitor;
  std::optional<Child> dream;
  std::string suffix;
  net::Endpoint entry;
};

TEST_F(Languages, TheSamePingAnswersInEachThatThisMachineHasAToolchainFor) {
  const auto all = languages_of_tau();
  ASSERT_GE(all.size(), 3u);
  const auto absent = missing(all);
  EXPECT_FALSE(absent.contains("cpp")) << absent.at("cpp");

  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_EQ(tau({"new", "project", "hello"}).code, 0);
  std::vector<std::string> present;
  for (const auto& [name, image] : all) {
    if (absent.contains(name)) continue;
    present.push_back(name);
    const Said made = tau({"new", "function", "ping_" + name, "--language", name, "--template",
                           "ping", "--path", "/" + name, "--memory", "64MB"});
    ASSERT_EQ(made.code, 0) << name << "\n" << made.out << made.err;
  }
  const Said pushed = tau({"push"}, kBuildMax);
  ASSERT_EQ(pushed.code, 0) << pushed.out << pushed.err;
  for (const auto& name : present) {
    Answer last;
    EXPECT_TRUE(visitor.wait_until(20s,
                                   [&] {
                                     last = visitor.ask(entry, "hello." + suffix, "/" + name);
                                     return last.status == 200 && last.body == "pong";
                                   }))
        << name << " answered " << last.status << " " << last.body << "\n"
        << pushed.out;
  }

  std::string skipped;
  for (const auto& [name, why] : absent) {
    // One without its toolchain says so, and what to do, to the person who pushes.
    EXPECT_THAT(why, HasSubstr("needs")) << name;
    skipped += "\n" + name + ": " + why;
  }
  if (!skipped.empty()) GTEST_SKIP() << "not asked, for want of a toolchain:" << skipped;
}

}  // namespace
}  // namespace tau::test
