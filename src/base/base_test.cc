#include <gtest/gtest.h>

#include <set>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/random.h"
#include "base/strong_id.h"

namespace tau {
namespace {

Result<int> parse(bool good) {
  if (!good) return fail(ErrorCode::invalid_argument, "not a number");
  return 7;
}
Result<int> twice(bool good) {
  TRY(const int n, parse(good));
  return 2 * n;
}
Status only_status(bool good) {
  TRY_STATUS(parse(good));
  return {};
}

TEST(Error, TryReturnsTheValueOrTheError) {
  EXPECT_EQ(*twice(true), 14);
  EXPECT_EQ(twice(false).error().message(), "not a number");
  EXPECT_TRUE(only_status(true));
  EXPECT_FALSE(only_status(false));
}

TEST(Error, ContextGoesInFront) {
  EXPECT_EQ(Error(ErrorCode::not_found, "no file").context("read config").to_string(),
            "not_found: read config: no file");
}

TEST(Error, EveryCodeHasANameAndComesBackFromItsNumber) {
  std::set<std::string_view> names;
  for (std::uint64_t n = 0; n < 32; ++n)
    if (auto code = error_code_from(n)) {
      EXPECT_TRUE(names.insert(name_of(*code)).second);
      EXPECT_GE(http_status_of(*code), 400);
    }
  EXPECT_EQ(names.size(), 14u);
}

TEST(Random, ASeedRepeatsItself) {
  SeededRandom a(1), b(1), c(2);
  const auto x = a.next_u64();
  EXPECT_EQ(x, b.next_u64());
  EXPECT_NE(x, c.next_u64());
  for (int i = 0; i < 1000; ++i) EXPECT_LT(a.below(7), 7u);
}

TEST(Logger, DropsWhatIsBelowItsLevelAndNamesTheSpeaker) {
  std::string seen;
  Logger log(
      "patrick", LogLevel::info, [&](LogLevel level, std::string_view who, std::string_view line) {
        seen +=
            std::string(name_of(level)) + " " + std::string(who) + " " + std::string(line) + "\n";
      });
  log.debug("hidden");
  log.named("tns").warning("shown");
  EXPECT_EQ(seen, "warning tns shown\n");
}

TEST(Bytes, HexIsLowerCaseAndReadInEither) {
  EXPECT_EQ(to_hex(as_bytes("\x01\xab")), "01ab");
  EXPECT_EQ(*from_hex("01aB"), to_bytes("\x01\xab"));
  EXPECT_EQ(*from_hex(""), Bytes{});
  for (const char* wrong : {"0", "0g", "0x", " 1"}) EXPECT_FALSE(from_hex(wrong)) << wrong;
}

}  // namespace
}  // namespace tau
