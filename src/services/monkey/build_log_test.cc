#include "services/monkey/build_log.h"

#include <gtest/gtest.h>

#include "runtime/task_group.h"

namespace tau::monkey {
namespace {

TEST(Harmless, LeavesTextAndTakesAwayTricks) {
  EXPECT_EQ(harmless("plain \t text, ünïcödé €𝄞"), "plain \t text, ünïcödé €𝄞");
  EXPECT_EQ(harmless("\x1b[31mred\x1b[0m"), "red");
  EXPECT_EQ(harmless("a\x07"
                     "b\r"),
            "a?b");
  EXPECT_EQ(harmless("\xff\xc3"), "??");
  EXPECT_EQ(harmless("\xed\xa0\x80"), "???");  // a surrogate
  EXPECT_EQ(harmless("a\xe2\x80\xae"
                     "b"),
            "a?b");  // right-to-left override
  EXPECT_EQ(harmless(std::string("\0x", 2)), "?x");
  EXPECT_LE(harmless(std::string(100'000, 'x')).size(), BuildLog::kLineBytesMax + 8);
  EXPECT_EQ(harmless("\x1b["), "");
}

TEST(LineCutter, GivesWholeLinesAndPiecesOfEndlessOnes) {
  std::vector<std::string> lines;
  LineCutter cutter([&](std::string_view line) { lines.emplace_back(line); });
  cutter.take(as_bytes("a"));
  cutter.take(as_bytes("b\n\nc"));
  cutter.end();
  cutter.end();
  EXPECT_EQ(lines, (std::vector<std::string>{"ab", "", "c"}));
  lines.clear();
  for (int i = 0; i < 100; ++i) cutter.take(as_bytes(std::string(1000, 'x')));
  cutter.end();
  EXPECT_GT(lines.size(), 10u);
}

struct Shipped {
  std::vector<std::pair<TimePoint, std::string>> pieces;
  int fail_first = 0;
  std::string all() const {
    std::string out;
    for (const auto& piece : pieces) out += piece.second;
    return out;
  }
};
Task<Result<std::uint64_t>> ship(runtime::Loop& loop, Shipped& to, std::string text,
                                 std::uint64_t offset) {
  if (to.fail_first-- > 0) co_return fail(ErrorCode::unavailable, "patrick restarts");
  const std::uint64_t has = to.all().size();
  if (offset != has) co_return has;
  to.pieces.emplace_back(loop.now(), std::move(text));
  co_return has + to.pieces.back().second.size();
}

TEST(BuildLog, GathersLinesForAMomentAndFlushesAtTheEnd) {
  runtime::VirtualLoop loop;
  Shipped shipped;
  BuildLog log(loop, [&](std::string text, std::uint64_t offset) {
    return ship(loop, shipped, std::move(text), offset);
  });
  runtime::TaskGroup group(loop);
  group.spawn(log.run());
  log.line("ping", "one");
  log.line("ping", "two");
  (void)runtime::block_on(loop, runtime::sleep_for(std::chrono::seconds(1)));
  ASSERT_EQ(shipped.pieces.size(), 1u);
  EXPECT_EQ(shipped.all(), "[ping] one\n[ping] two\n");
  EXPECT_EQ(shipped.pieces[0].first.since_start, BuildLog::kGatherTime);
  const TimePoint end = loop.now();
  log.line("three");
  log.finish();
  runtime::block_on(loop, group.join());
  EXPECT_EQ(shipped.all(), "[ping] one\n[ping] two\nthree\n");
  EXPECT_EQ(loop.now(), end) << "the end does not wait";
}

TEST(BuildLog, KeepsItsBoundsAndOutlastsAShortAbsence) {
  runtime::VirtualLoop loop;
  Shipped shipped;
  shipped.fail_first = 2;
  BuildLog log(loop, [&](std::string text, std::uint64_t offset) {
    return ship(loop, shipped, std::move(text), offset);
  });
  for (int i = 0; i < 2000; ++i) log.line(std::string(1000, 'x'));
  runtime::TaskGroup group(loop);
  group.spawn(log.run());
  log.finish();
  runtime::block_on(loop, group.join());
  for (const auto& piece : shipped.pieces) EXPECT_LE(piece.second.size(), 64u << 10);
  EXPECT_LE(shipped.all().size(), BuildLog::kWaitingBytesMax + 100);
  EXPECT_NE(shipped.all().find("bytes of log left out here"), std::string::npos);
}

TEST(BuildLog, APatrickThatLacksSomethingGetsItAgain) {
  runtime::VirtualLoop loop;
  Shipped shipped;
  BuildLog log(loop, [&](std::string text, std::uint64_t offset) {
    return ship(loop, shipped, std::move(text), offset);
  });
  runtime::TaskGroup group(loop);
  group.spawn(log.run());
  log.line("one");
  (void)runtime::block_on(loop, runtime::sleep_for(std::chrono::seconds(1)));
  EXPECT_EQ(shipped.all(), "one\n");
  shipped.pieces.clear();  // another patrick, which has nothing of it
  log.line("two");
  log.finish();
  runtime::block_on(loop, group.join());
  EXPECT_EQ(shipped.all(), "one\ntwo\n");
  EXPECT_EQ(log.sent(), 8u);
}

}  // namespace
}  // namespace tau::monkey
