#include "services/substrate/logs.h"

#include <gtest/gtest.h>

namespace tau::substrate {
namespace {

using namespace std::chrono_literals;
using runtime::block_on;

const ProjectId kProject("p");

TEST(Logs, KeepsLinesInOrderAndCutsThem) {
  runtime::VirtualLoop loop;
  Logs logs(loop);
  logs.append(kProject, "ping", "r1", "stdout", "one\ntwo\n\nfour");
  auto read = block_on(loop, logs.read({kProject, 0, 200, 0}));
  ASSERT_EQ(read->lines.size(), 4u);
  EXPECT_EQ(read->lines[0].text, "one");
  EXPECT_EQ(read->lines[2].text, "");
  EXPECT_EQ(read->lines[3].number, 4u);
  EXPECT_EQ(block_on(loop, logs.read({kProject, 2, 1, 0}))->lines[0].text, "");
  logs.append(kProject, "ping", "r2", "stdout", std::string(10'000, 'x'));
  read = block_on(loop, logs.read({kProject, 4, 200, 0}));
  ASSERT_EQ(read->lines.size(), 3u);
  EXPECT_EQ(read->lines[0].text.size(), 4096u);
}

TEST(Logs, ForgetsTheOldestLinesAndTheSilentProjects) {
  runtime::VirtualLoop loop;
  Logs logs(loop, {.lines_max = 10, .bytes_max = 10'000, .projects_max = 2});
  for (int i = 0; i < 100; ++i) logs.append(kProject, "f", "r", "stdout", std::to_string(i));
  auto read = block_on(loop, logs.read({kProject, 0, 200, 0}));
  ASSERT_EQ(read->lines.size(), 10u);
  EXPECT_EQ(read->lines[0].text, "90");
  logs.append(ProjectId("q"), "f", "r", "stdout", "x");
  logs.append(ProjectId("r"), "f", "r", "stdout", "x");
  EXPECT_TRUE(block_on(loop, logs.read({kProject, 0, 200, 0}))->lines.empty());
  EXPECT_EQ(block_on(loop, logs.read({ProjectId("q"), 0, 200, 0}))->lines.size(), 1u);
}

TEST(Logs, AReaderWaitsForTheNextLine) {
  runtime::VirtualLoop loop;
  Logs logs(loop);
  const TimePoint begun = loop.now();
  loop.call_after(5s, [&] { logs.append(kProject, "f", "r", "stdout", "late"); });
  EXPECT_EQ(block_on(loop, logs.read({kProject, 0, 200, 20'000}))->lines.size(), 1u);
  EXPECT_EQ(loop.now() - begun, 5s);
  loop.call_after(5s, [&] { logs.append(kProject, "f", "r", "stdout", "later"); });
  EXPECT_EQ(block_on(loop, logs.read({kProject, 1, 200, 20'000}))->lines[0].text, "later");
  EXPECT_TRUE(block_on(loop, logs.read({kProject, 2, 200, 1'000}))->lines.empty());
  EXPECT_EQ(loop.now() - begun, 11s);
  // After a restart of the node its numbers begin anew.
  EXPECT_EQ(block_on(loop, logs.read({kProject, 999, 200, 1'000}))->lines.size(), 2u);
}

TEST(Logs, TextIsAlwaysUtf8) {
  EXPECT_EQ(clean_utf8("a\xc3\xa9"), "a\xc3\xa9");
  EXPECT_EQ(clean_utf8("a\xff"
                       "b"),
            "a\xef\xbf\xbd"
            "b");
  EXPECT_EQ(clean_utf8("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(clean_utf8("\xc3"), "\xef\xbf\xbd");
  EXPECT_EQ(clean_utf8("\xf0\x9f\x98\x80"), "\xf0\x9f\x98\x80");
}

}  // namespace
}  // namespace tau::substrate
