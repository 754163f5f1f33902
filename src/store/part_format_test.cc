#include "store/part_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/loop.h"
#include "store/memory/memory_kv.h"

namespace tau::store {
namespace {

using runtime::block_on;
using ::testing::HasSubstr;

Task<Status> nothing(Kv&) { co_return Status{}; }

// Every value gets an exclamation mark, once.
Task<Status> louder(Kv& part) {
  CO_TRY(const auto entries, part.scan("", "", 100));
  for (const auto& entry : entries) {
    std::string text = to_text(entry.value);
    if (text.ends_with('!')) continue;
    Batch batch;
    batch.put(entry.key, to_bytes(std::string_view(text += '!')));
    CO_TRY_STATUS(part.write(std::move(batch), Durability::buffered));
  }
  co_return Status{};
}

constexpr FormatStep kSteps[] = {{0, "numbers", nothing}, {1, "louder", louder}};
constexpr PartFormat kOne{"patrick", 1, std::span(kSteps).first(1)};
constexpr PartFormat kTwo{"patrick", 2, kSteps};

class PartFormatTest : public ::testing::Test {
 protected:
  void put(const std::string& key, std::string_view value) {
    Batch batch;
    batch.put(key, to_bytes(value));
    ASSERT_TRUE(block_on(loop, kv.write(std::move(batch), Durability::synced)));
  }
  std::string get(const std::string& key) {
    const auto value = block_on(loop, kv.get(key));
    return value && *value ? to_text(**value) : "-";
  }
  Status bring(PartFormat part, std::string program = "tau 2.0.0") {
    return block_on(loop, bring_up_to_date(kv, part, std::move(program)));
  }

  runtime::VirtualLoop loop;
  MemoryKv kv;
};

TEST_F(PartFormatTest, WhatWasWrittenBeforePartsHadNumbersIsBroughtUpToDate) {
  put("patrick/a", "x");
  put("patrick0", "another part's");
  ASSERT_TRUE(bring(kOne));
  EXPECT_EQ(get("patrick/a"), "x");
  ASSERT_TRUE(bring(kTwo));
  EXPECT_EQ(get("patrick/a"), "x!");
  EXPECT_EQ(get("patrick0"), "another part's");
  put("patrick/b", "new");
  ASSERT_TRUE(bring(kTwo));
  EXPECT_EQ(get("patrick/b"), "new") << "the steps were taken already";
}

TEST_F(PartFormatTest, AnEmptyPartHasTheFormatOfToday) {
  ASSERT_TRUE(bring(kTwo));
  put("patrick/a", "x");
  ASSERT_TRUE(bring(kTwo));
  EXPECT_EQ(get("patrick/a"), "x");
}

TEST_F(PartFormatTest, ALaterFormatIsRefusedWithWhatToDo) {
  put("patrick/a", "x");
  ASSERT_TRUE(bring(kTwo, "tau 2.0.0"));
  const Status opened = bring(kOne, "tau 1.0.0");
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), ErrorCode::failed_precondition);
  EXPECT_THAT(opened.error().message(),
              HasSubstr("what patrick keeps has format 2, written by tau 2.0.0; tau 1.0.0 reads up "
                        "to format 1: install that program or a later one"));
}

// Power fails at every write, and what was not synced is lost: the part opens all the same, and the
// step has been taken exactly once.
TEST_F(PartFormatTest, AStepThatIsCutShortAnywhereIsTakenAgain) {
  SeededRandom random(1);
  for (std::size_t good_writes = 0; good_writes < 6; ++good_writes) {
    kv = MemoryKv();
    for (const char* key : {"patrick/a", "patrick/b", "patrick/c"}) put(key, "x");
    std::size_t left = good_writes;
    struct Failing final : Kv {
      Failing(Kv& k, std::size_t& l) : kv(k), left(l) {}
      Task<Result<std::optional<Bytes>>> get(std::string key) override { return kv.get(key); }
      Task<Result<std::vector<Entry>>> scan(std::string prefix, std::string after,
                                            std::size_t limit) override {
        return kv.scan(prefix, after, limit);
      }
      Task<Status> write(Batch batch, Durability durability) override {
        if (left == 0) co_return fail(ErrorCode::unavailable, "the power went");
        --left;
        co_return co_await kv.write(std::move(batch), durability);
      }
      Kv& kv;
      std::size_t& left;
    } failing(kv, left);
    (void)block_on(loop, bring_up_to_date(failing, kTwo, "tau 2.0.0"));
    kv.crash(random);
    ASSERT_TRUE(bring(kTwo)) << good_writes;
    for (const char* key : {"patrick/a", "patrick/b", "patrick/c"}) EXPECT_EQ(get(key), "x!");
  }
}

}  // namespace
}  // namespace tau::store
