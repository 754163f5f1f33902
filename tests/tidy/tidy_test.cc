// Rules of the house that a compiler does not check. Each failure names the file and the rule.
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace fs = std::filesystem;

namespace tau {
namespace {

const fs::path kRoot = TAU_SOURCE_DIR;

struct File {
  fs::path path;  // from the root of the repository
  std::vector<std::string> lines;
  bool is_cpp() const { return path.extension() == ".h" || path.extension() == ".cc"; }
};

std::vector<File> files_under(const std::vector<std::string>& folders) {
  static const std::set<std::string> kText = {".h",     ".cc",   ".rs",   ".md",   ".txt",
                                              ".cmake", ".toml", ".json", ".yaml", ".sh",
                                              ".ts",    ".js",   ".py",   ".def",  ""};
  std::vector<File> files;
  for (const auto& folder : folders) {
    if (!fs::exists(kRoot / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
      const auto relative = fs::relative(entry.path(), kRoot);
      if (!entry.is_regular_file() || !kText.contains(entry.path().extension().string())) continue;
      if (relative.string().find("node_modules") != std::string::npos ||
          relative.string().find("native/target") != std::string::npos)
        continue;
      File file{relative, {}};
      std::ifstream in(entry.path());
      for (std::string line; std::getline(in, line);) file.lines.push_back(line);
      files.push_back(std::move(file));
    }
  }
  return files;
}

const std::vector<File>& sources() {
  static const auto files = files_under(
      {"src", "native", "sdk", "tests", "bench", "cmake", "tools", "docs", "web", "examples"});
  return files;
}

TEST(Tidy, NoFileIsLongerThan650Lines) {
  for (const auto& file : sources())
    if (file.is_cpp() || file.path.extension() == ".rs" || file.path.extension() == ".ts")
      EXPECT_LE(file.lines.size(), 650u)
          << file.path << " is too long: split it by what its parts are for";
}

TEST(Tidy, NoFileHasANameThatSaysNothing) {
  static const std::regex kEmpty("(types|vars|helpers?|utils?|common|misc|manager)",
                                 std::regex::icase);
  for (const auto& file : sources())
    for (const auto& part : file.path)
      EXPECT_FALSE(std::regex_match(part.stem().string(), kEmpty))
          << file.path << ": name it for what it is";
}

TEST(Tidy, HeadersGuardThemselvesOnce) {
  for (const auto& file : sources()) {
    if (file.path.extension() != ".h" || *file.path.begin() == "sdk") continue;
    bool guarded = false;
    for (const auto& line : file.lines) guarded |= line == "#pragma once";
    EXPECT_TRUE(guarded) << file.path << " lacks #pragma once";
  }
}

// Each outside library has one door.
TEST(Tidy, OutsideLibrariesAreIncludedOnlyWhereTheyAreWrapped) {
  static const std::map<std::string, std::vector<std::string>> kDoors = {
      {"#include <boost/asio", {"src/runtime/", "src/net/", "src/process/"}},
      {"#include <rocksdb/", {"src/store/"}},
      {"#include <raft.h>", {"src/consensus/"}},
      {"#include <yaml-cpp/", {"src/project/", "src/node/"}},
      {"#include <archive", {"src/process/"}},
      {"#include \"wasm/", {"src/vm/wasmtime/"}},
      {"#include \"p2p/src/", {"src/p2p/libp2p/"}},
      {"#include <openssl/", {"src/crypto/", "src/http/"}},
  };
  for (const auto& file : sources()) {
    if (!file.is_cpp() || file.path.string().starts_with("tests/tidy")) continue;
    for (const auto& [include, doors] : kDoors)
      for (const auto& line : file.lines) {
        if (!line.starts_with(include)) continue;
        bool allowed = false;
        for (const auto& door : doors) allowed |= file.path.string().starts_with(door);
        EXPECT_TRUE(allowed) << file.path << ": " << line;
      }
  }
}

TEST(Tidy, ServicesUseOfOneAnotherOnlyTheApi) {
  static const std::regex kInclude(R"re(#include "services/([a-z]+)/(.+)")re");
  for (const auto& file : sources()) {
    const auto path = file.path.string();
    if (!path.starts_with("src/services/")) continue;
    const auto own = path.substr(13, path.find('/', 13) - 13);
    for (const auto& line : file.lines) {
      std::smatch m;
      if (!std::regex_search(line, m, kInclude) || m[1] == own) continue;
      EXPECT_TRUE(m[2] == "api.h" || m[2] == "client.h") << path << ": " << line;
    }
  }
}

TEST(Tidy, NothingIsLeftForLaterInComments) {
  static const std::regex kLater(R"(\b(TODO|FIXME|XXX|HACK)\b)");
  for (const auto& file : sources()) {
    if (file.path.string().starts_with("tests/tidy")) continue;
    for (std::size_t i = 0; i < file.lines.size(); ++i)
      EXPECT_FALSE(std::regex_search(file.lines[i], kLater)) << file.path << ":" << i + 1;
  }
}

TEST(Tidy, NoFileNamesAMachinesFoldersOrARegistry) {
  static const std::regex kAbsolute(R"((/home/[a-z]|/root/|/work/))");
  for (const auto& file : sources()) {
    if (file.path.string().starts_with("tests/tidy") || file.path.filename() == "Cargo.lock")
      continue;
    for (std::size_t i = 0; i < file.lines.size(); ++i)
      EXPECT_FALSE(std::regex_search(file.lines[i], kAbsolute))
          << file.path << ":" << i + 1 << ": " << file.lines[i];
  }
}

// A document that says what a test shows names one that is there.
TEST(Tidy, TestsThatDocumentsNameExist) {
  static const std::regex kTest(R"(^(TEST|TEST_F|TEST_P|TYPED_TEST_P)\((\w+),\s*(\w*)\)?)");
  static const std::regex kName(R"(\b([A-Z][A-Za-z0-9]+\.[A-Z][A-Za-z0-9]{12,})\b)");
  std::set<std::string> tests;
  for (const auto& file : sources()) {
    const std::string path = file.path.string();
    if (!path.ends_with("_test.cc") && !path.ends_with("_conformance.h")) continue;
    for (std::size_t i = 0; i < file.lines.size(); ++i) {
      std::smatch m;
      std::string line = file.lines[i];
      // clang-format breaks a long one behind the comma.
      if (line.starts_with("TEST") && line.ends_with(",") && i + 1 < file.lines.size())
        line += file.lines[i + 1];
      if (std::regex_search(line, m, kTest)) tests.insert(m[2].str() + "." + m[3].str());
    }
  }
  std::size_t named = 0;
  for (const auto& file : sources()) {
    if (file.path.filename() != "hostile-input.md") continue;
    for (std::size_t i = 0; i < file.lines.size(); ++i) {
      const std::string& line = file.lines[i];
      for (std::sregex_iterator at(line.begin(), line.end(), kName), end; at != end; ++at, ++named)
        EXPECT_TRUE(tests.contains((*at)[1].str()))
            << file.path << ":" << i + 1 << ": no test is called " << (*at)[1];
    }
  }
  EXPECT_GT(named, 50u);
}

// Time and chance are arguments: only their real implementations may ask the system.
TEST(Tidy, OnlyTheRealClockAndTheRealRandomAskTheSystem) {
  static const std::regex kClock(
      R"((steady_clock::now|system_clock::now|std::random_device|\bgetrandom\())");
  static const std::set<std::string> kAllowed = {"src/base/time.h", "src/base/random.cc",
                                                 "src/runtime/loop.cc"};
  for (const auto& file : sources()) {
    const auto path = file.path.string();
    if (!path.starts_with("src/") || path.ends_with("_test.cc") || path.ends_with("_bench.cc") ||
        kAllowed.contains(path) || path.starts_with("src/bin/") ||
        path.starts_with("src/testnet/") || path.contains("test_guests"))
      continue;
    for (std::size_t i = 0; i < file.lines.size(); ++i)
      EXPECT_FALSE(std::regex_search(file.lines[i], kClock)) << path << ":" << i + 1;
  }
}

}  // namespace
}  // namespace tau
