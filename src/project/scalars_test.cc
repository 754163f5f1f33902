#include "project/scalars.h"

#include <gtest/gtest.h>

namespace tau::project {
namespace {

TEST(Scalars, ReadDurationsAsGoWritesThem) {
  EXPECT_EQ(*parse_duration("20s"), 20'000'000'000u);
  EXPECT_EQ(*parse_duration("1h2m3.5s"), 3'723'500'000'000u);
  EXPECT_EQ(*parse_duration("300ms"), 300'000'000u);
  EXPECT_EQ(*parse_duration("1.5h"), 5'400'000'000'000u);
  EXPECT_EQ(*parse_duration("5µs"), 5'000u);
  for (const char* bad : {"", "20", "s", "20 s", "-1s", "1d", "1s2", "999999999999h", "nan"})
    EXPECT_FALSE(parse_duration(bad)) << bad;
}

TEST(Scalars, ReadSizesOfBothKinds) {
  EXPECT_EQ(*parse_size("32MB"), 32'000'000u);
  EXPECT_EQ(*parse_size("16MiB"), 16u << 20);
  EXPECT_EQ(*parse_size("1.5GB"), 1'500'000'000u);
  EXPECT_EQ(*parse_size("512B"), 512u);
  for (const char* bad : {"", "32", "MB", "-1MB", "1mb", "1 XB", "99999999999TB"})
    EXPECT_FALSE(parse_size(bad)) << bad;
}

TEST(Scalars, AreWrittenAsTheyAreRead) {
  for (const char* text : {"20s", "1h2m3s", "300ms", "1m30s"})
    EXPECT_EQ(format_duration(*parse_duration(text)), text);
  for (const char* text : {"32MB", "64KiB", "1GB", "3B"})
    EXPECT_EQ(format_size(*parse_size(text)), text);
}

}  // namespace
}  // namespace tau::project
