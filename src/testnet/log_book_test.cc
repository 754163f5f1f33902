#include "testnet/log_book.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

namespace tau::testnet {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> texts(const std::vector<LogLine>& lines) {
  std::vector<std::string> out;
  for (const LogLine& line : lines) out.push_back(line.text);
  return out;
}

TEST(LogBook, KnowsWhichNodeAndWhichPartOfItSaidALine) {
  runtime::VirtualLoop loop;
  LogBook book(loop, {});
  book.add(LogLevel::warning, "substrate-1/router", "hm");
  const auto lines = book.read({});
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].node, "substrate-1");
  EXPECT_EQ(lines[0].part, "router");
  EXPECT_EQ(lines[0].level, LogLevel::warning);
  EXPECT_EQ(lines[0].at_unix_ms, loop.wall_unix_ms());
}

TEST(LogBook, ANodeThatTalksALotPushesOutOnlyItsOwnLines) {
  runtime::VirtualLoop loop;
  LogBook book(loop, {.lines_max = 3});
  book.add(LogLevel::info, "quiet", "once");
  for (int i = 0; i < 10; ++i) book.add(LogLevel::info, "loud", std::to_string(i));
  EXPECT_THAT(texts(book.read({})), ElementsAre("once", "7", "8", "9"));
  EXPECT_THAT(texts(book.read({.node = "loud", .limit = 2})), ElementsAre("8", "9"));
}

TEST(LogBook, ReadsByLevelAndOnFromALine) {
  runtime::VirtualLoop loop;
  LogBook book(loop, {});
  book.add(LogLevel::info, "a", "one");
  book.add(LogLevel::error, "b", "two");
  book.add(LogLevel::warning, "a", "three");
  EXPECT_THAT(texts(book.read({.least = LogLevel::warning})), ElementsAre("two", "three"));
  EXPECT_THAT(texts(book.read({.after = 1, .limit = 1})), ElementsAre("two"));
  EXPECT_EQ(book.newest(), 3u);
}

TEST(LogBook, AReaderWaitsForALineOrForTheEnd) {
  runtime::VirtualLoop loop;
  LogBook book(loop, {});
  loop.call_after(1s, [&] { book.add(LogLevel::info, "a", "late"); });
  EXPECT_TRUE(runtime::block_on(loop, book.wait_for_more(0)));
  EXPECT_EQ(book.newest(), 1u);
  loop.call_after(1s, [&] { book.close(); });
  EXPECT_TRUE(runtime::block_on(loop, book.wait_for_more(1)));
  EXPECT_TRUE(book.closed());
}

TEST(LogBook, ItsLoggerKeepsMoreThanTheTerminalShows) {
  runtime::VirtualLoop loop;
  LogBook book(loop, {});
  std::vector<std::string> shown;
  const Logger terminal("dream", LogLevel::warning,
                        [&](LogLevel, std::string_view who, std::string_view line) {
                          shown.push_back(std::string(who) + ": " + std::string(line));
                        });
  const Logger log = book.logger(LogLevel::info, terminal, "blackhole").named("tns/group");
  log.debug("not kept");
  log.info("kept");
  log.warning("shown");
  EXPECT_THAT(texts(book.read({})), ElementsAre("kept", "shown"));
  EXPECT_THAT(shown, ElementsAre("blackhole/tns/group: shown"));
}

TEST(LogBook, KeepsAFileForEachNodeThatBeginsAnewWhenItIsFull) {
  std::string name = (fs::temp_directory_path() / "log-book-XXXXXX").string();
  ASSERT_TRUE(::mkdtemp(name.data()));
  const fs::path folder = name;
  {
    runtime::VirtualLoop loop;
    LogBook book(loop, {.folder = folder, .file_bytes_max = 200});
    for (int i = 0; i < 6; ++i) book.add(LogLevel::info, "tns/group", std::string(40, 'x'));
    book.add(LogLevel::info, "tns", "the last");
    book.add(LogLevel::info, "auth", "another");
  }
  const auto text = [](const fs::path& file) {
    std::ifstream in(file);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  EXPECT_THAT(text(folder / "tns" / "node.log"), HasSubstr("the last"));
  EXPECT_THAT(text(folder / "tns" / "node.log.1"), HasSubstr("group: xxx"));
  EXPECT_LE(fs::file_size(folder / "tns" / "node.log"), 200u);
  EXPECT_LE(fs::file_size(folder / "tns" / "node.log.1"), 200u);
  EXPECT_THAT(text(folder / "auth" / "node.log"), HasSubstr("info    another"));
  fs::remove_all(folder);
}

}  // namespace
}  // namespace tau::testnet
