#include "crdt/map.h"

#include <gmock/gmock.h>

#include "crdt/fleet.h"

namespace tau::crdt {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class MapTest : public ::testing::Test {
 protected:
  Fleet fleet_{1};
  void cut(std::vector<std::size_t> side) {
    std::vector<PeerId> ids;
    for (const auto i : side) ids.push_back(fleet_.id(i));
    fleet_.network().partition({ids});
  }
};

TEST_F(MapTest, WhatOneWritesAllReadAMomentLater) {
  fleet_.grow(5);
  ASSERT_TRUE(fleet_.put(0, "k", "v"));
  const auto before = fleet_.loop().now();
  ASSERT_TRUE(fleet_.wait_for([&] {
    for (std::size_t i = 0; i < 5; ++i)
      if (fleet_.get(i, "k") != "v") return false;
    return true;
  }));
  EXPECT_LT(fleet_.loop().now() - before, 50ms);
  ASSERT_TRUE(fleet_.erase(3, "k"));
  ASSERT_TRUE(fleet_.converge());
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(fleet_.get(i, "k"), std::nullopt);
  EXPECT_EQ(fleet_[1].counters().walk.fetched, 0u) << "small deltas come with the announcement";
}

TEST_F(MapTest, ABatchIsOneDeltaAndWritesThatWaitTogetherShareOne) {
  fleet_.grow(2);
  runtime::TaskGroup group(fleet_.loop());
  int done = 0;
  for (int i = 0; i < 50; ++i)
    group.spawn([](Map& map, int n, int& count) -> Task<void> {
      store::Batch batch;
      batch.put("a" + std::to_string(n), to_bytes("1")).put("b" + std::to_string(n), {});
      const auto written = co_await map.write(std::move(batch));
      EXPECT_TRUE(written) << written.error().to_string();
      ++count;
    }(fleet_[0], i, done));
  block_on(fleet_.loop(), group.join());
  EXPECT_EQ(done, 50);
  EXPECT_LE(fleet_[0].counters().deltas, 2u);
  ASSERT_TRUE(fleet_.converge());
  EXPECT_EQ(fleet_.all(1).size(), 100u);
}

TEST_F(MapTest, ListsAPrefixInByteOrder) {
  fleet_.grow(1);
  for (const char* key : {"p/b", "p/a", "q", "p", "p/c"}) ASSERT_TRUE(fleet_.put(0, key, key));
  const auto page = [&](std::string after, std::size_t limit) {
    std::vector<std::string> keys;
    for (const auto& row : *block_on(fleet_.loop(), fleet_[0].list("p/", after, limit)))
      keys.push_back(row.key);
    return keys;
  };
  EXPECT_THAT(page("", 9), ElementsAre("p/a", "p/b", "p/c"));
  EXPECT_THAT(page("p/a", 1), ElementsAre("p/b"));
}

TEST_F(MapTest, SubscribersHearOfEveryChangeOfAValueBelowTheirPrefix) {
  fleet_.grow(2);
  std::vector<std::string> heard;
  auto subscription = fleet_[1].subscribe("p/", [&](const Change& change) {
    heard.push_back(change.key + "=" + (change.value ? to_text(*change.value) : "gone"));
  });
  ASSERT_TRUE(fleet_.put(0, "p/a", "1"));
  ASSERT_TRUE(fleet_.put(0, "q", "1"));
  ASSERT_TRUE(fleet_.converge());
  ASSERT_TRUE(fleet_.put(1, "p/a", "2"));
  ASSERT_TRUE(fleet_.erase(1, "p/a"));
  EXPECT_THAT(heard, ElementsAre("p/a=1", "p/a=2", "p/a=gone"));
  subscription.reset();
  ASSERT_TRUE(fleet_.put(1, "p/a", "3"));
  EXPECT_EQ(heard.size(), 3u);
}

TEST_F(MapTest, OfConcurrentPutsEveryReplicaKeepsTheOneWhoseWriterHadSeenMore) {
  fleet_.grow(4);
  ASSERT_TRUE(fleet_.converge());
  cut({0, 1});
  ASSERT_TRUE(fleet_.put(0, "k", "a"));
  ASSERT_TRUE(fleet_.put(2, "other", "x"));
  ASSERT_TRUE(fleet_.put(2, "k", "b"));  // one higher
  fleet_.wait(1s);
  EXPECT_EQ(fleet_.get(1, "k"), "a");
  EXPECT_EQ(fleet_.get(3, "k"), "b");
  fleet_.network().heal();
  ASSERT_TRUE(fleet_.converge());
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(fleet_.get(i, "k"), "b");
  // Who saw both replaces both.
  ASSERT_TRUE(fleet_.put(0, "k", "c"));
  ASSERT_TRUE(fleet_.converge());
  const auto entry = block_on(fleet_.loop(), fleet_[3].state().entry("k"));
  ASSERT_EQ(entry->versions().size(), 1u);
  EXPECT_EQ(to_text(entry->winner()->value), "c");
}

TEST_F(MapTest, EqualHeightsAreDecidedByTheWritersName) {
  fleet_.grow(2);
  cut({0});
  ASSERT_TRUE(fleet_.put(0, "k", "zzz"));
  ASSERT_TRUE(fleet_.put(1, "k", "aaa"));
  const bool first = fleet_[0].state().own() > fleet_[1].state().own();
  fleet_.network().heal();
  ASSERT_TRUE(fleet_.converge());
  for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(fleet_.get(i, "k"), first ? "zzz" : "aaa");
}

TEST_F(MapTest, ADeleteTakesAwayWhatItsWriterSawAndAPutItDidNotSeeStays) {
  fleet_.grow(2);
  ASSERT_TRUE(fleet_.put(0, "k", "old"));
  ASSERT_TRUE(fleet_.put(0, "gone", "old"));
  ASSERT_TRUE(fleet_.converge());
  cut({0});
  ASSERT_TRUE(fleet_.put(0, "k", "new"));
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(fleet_.put(1, "filler", "x"));  // height does not matter
  ASSERT_TRUE(fleet_.erase(1, "k"));
  ASSERT_TRUE(fleet_.erase(1, "gone"));
  EXPECT_EQ(fleet_.get(1, "k"), std::nullopt);
  fleet_.network().heal();
  ASSERT_TRUE(fleet_.converge());
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(fleet_.get(i, "k"), "new");
    EXPECT_EQ(fleet_.get(i, "gone"), std::nullopt);
  }
}

TEST_F(MapTest, LargeDeltasAreFetchedAndSoAreTheParentsThatGossipLost) {
  fleet_.grow(3);
  ASSERT_TRUE(fleet_.put(0, "big", std::string(200'000, 'x')));
  ASSERT_TRUE(fleet_.wait_for([&] { return fleet_.get(2, "big").has_value(); }, 2s));
  EXPECT_GE(fleet_[2].counters().walk.fetched + fleet_[2].counters().sync.deltas_pulled, 1u);
  // A replica that hears only the last of many finds the others.
  fleet_.stop(2);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(fleet_.put(0, "k" + std::to_string(i), "v"));
  fleet_.start(2);
  ASSERT_TRUE(fleet_.converge(5s));
  EXPECT_EQ(fleet_.all(2).size(), 101u);
}

TEST_F(MapTest, AcknowledgedWritesOutliveAPowerCut) {
  fleet_.grow(1);
  for (int round = 0; round < 10; ++round) {
    ASSERT_TRUE(fleet_.put(0, "k" + std::to_string(round), "v"));
    fleet_.kill(0);
    fleet_.start(0);
    EXPECT_EQ(fleet_.all(0).size(), static_cast<std::size_t>(round) + 1);
  }
  EXPECT_EQ(fleet_[0].state().context().size(), 1u) << "it stays the same writer";
}

TEST_F(MapTest, AFailedWriteIsSaidAndTheNextOneWorks) {
  fleet_.grow(2);
  ASSERT_TRUE(fleet_.put(0, "a", "1"));
  fleet_.site(0).disk.fail_writes(Error(ErrorCode::resource_exhausted, "disk full"));
  EXPECT_THAT(fleet_.put(0, "b", "1").error().message(), HasSubstr("disk full"));
  fleet_.wait(1s);
  ASSERT_TRUE(fleet_.put(0, "c", "1"));
  ASSERT_TRUE(fleet_.converge());
  EXPECT_EQ(fleet_.all(1), fleet_.all(0));
  EXPECT_EQ(fleet_.get(1, "c"), "1");
}

TEST_F(MapTest, RefusesWhatBreaksItsBounds) {
  fleet_.grow(1);
  const auto code = [](const Status& status) { return status.error().code(); };
  EXPECT_EQ(code(fleet_.put(0, "", "v")), ErrorCode::invalid_argument);
  EXPECT_EQ(code(fleet_.put(0, std::string(kKeySizeMax + 1, 'k'), "v")),
            ErrorCode::invalid_argument);
  EXPECT_EQ(code(fleet_.put(0, "k", std::string(kValueSizeMax + 1, 'v'))),
            ErrorCode::invalid_argument);
  store::Batch batch;
  for (std::size_t i = 0; i <= kBatchKeysMax; ++i) batch.put(std::to_string(i), {});
  EXPECT_EQ(code(block_on(fleet_.loop(), fleet_[0].write(batch))), ErrorCode::invalid_argument);
  EXPECT_TRUE(fleet_.all(0).empty());
  EXPECT_TRUE(fleet_.put(0, "k", std::string(kValueSizeMax, 'v')));
  EXPECT_TRUE(fleet_.erase(0, "never there"));
  EXPECT_EQ(fleet_[0].counters().deltas, 1u) << "deleting what is not there says nothing to others";
}

TEST_F(MapTest, OnlyMembersWithTheRoleWriteAndTheOthersRead) {
  fleet_.grow(2);
  const auto reader = fleet_.add({"gateway"});
  fleet_.start(reader);
  EXPECT_EQ(fleet_.put(reader, "k", "v").error().code(), ErrorCode::permission_denied);
  ASSERT_TRUE(fleet_.put(0, "k", "v"));
  ASSERT_TRUE(fleet_.wait_for([&] { return fleet_.get(reader, "k") == "v"; }, 1s));
}

TEST_F(MapTest, StoppingEndsTheWritesThatWait) {
  fleet_.grow(1);
  runtime::TaskGroup group(fleet_.loop());
  std::optional<Status> seen;
  group.spawn([](Map& map, std::optional<Status>& out) -> Task<void> {
    out = co_await map.put("k", {});
  }(fleet_[0], seen));
  block_on(fleet_.loop(), fleet_[0].stop());
  block_on(fleet_.loop(), group.join());
  ASSERT_TRUE(seen);
  EXPECT_FALSE(*seen);
}

class SmallHistory : public ::testing::Test {
 protected:
  static MapOptions small() {
    MapOptions options{.name = "test", .writers = "seer"};
    options.history.deltas_max = 16;
    return options;
  }
  Fleet fleet_{2, small()};
};

TEST_F(SmallHistory, HistoryDoesNotGrowForEver) {
  fleet_.grow(2);
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(fleet_.put(0, "k", std::to_string(i)));
  ASSERT_TRUE(fleet_.converge());
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_LE(fleet_[i].state().history_size(), 18u);
    EXPECT_LE(fleet_.site(i).disk.size(), 60u) << "rows and blocks together";
    EXPECT_EQ(fleet_.get(i, "k"), "199");
  }
}

TEST_F(SmallHistory, ANewReplicaCatchesUpFromASnapshot) {
  fleet_.grow(2);
  for (int i = 0; i < 100; ++i)
    ASSERT_TRUE(fleet_.put(0, "k" + std::to_string(i), std::string(10'000, 'x')));
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(fleet_.erase(1, "k" + std::to_string(i)));
  fleet_.grow(1);
  ASSERT_TRUE(fleet_.converge(10s));
  EXPECT_GE(fleet_[2].counters().sync.snapshots_merged, 1u);
  EXPECT_EQ(fleet_.all(2), fleet_.all(0));
  EXPECT_EQ(fleet_.all(2).size(), 50u);
  // And it is a replica like any other.
  ASSERT_TRUE(fleet_.put(2, "k99", "mine"));
  ASSERT_TRUE(fleet_.converge());
  EXPECT_EQ(fleet_.get(0, "k99"), "mine");
}

TEST_F(SmallHistory, WhoWasAwayLongerThanTheHistoryBringsNothingDeletedBackAndLosesNothing) {
  fleet_.grow(3);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(fleet_.put(0, "old" + std::to_string(i), "v"));
  ASSERT_TRUE(fleet_.put(0, "both", "v"));
  ASSERT_TRUE(fleet_.converge());
  fleet_.network().partition({{fleet_.id(2)}});
  fleet_.wait(30s);
  ASSERT_TRUE(fleet_.put(2, "mine", "alone"));
  ASSERT_TRUE(fleet_.put(2, "both", "alone"));
  ASSERT_TRUE(fleet_.erase(2, "old19"));
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(fleet_.erase(0, "old" + std::to_string(i)));
  ASSERT_TRUE(fleet_.erase(1, "both"));
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(fleet_.put(1, "new", std::to_string(i)));
  fleet_.network().heal();
  ASSERT_TRUE(fleet_.converge());
  EXPECT_GE(fleet_[2].counters().sync.snapshots_merged, 1u);
  const auto all = fleet_.all(0);
  for (std::size_t i = 1; i < 3; ++i) EXPECT_EQ(fleet_.all(i), all);
  EXPECT_EQ(all.at("mine"), "alone");
  EXPECT_EQ(all.at("both"), "alone") << "a put that the delete did not see stays";
  EXPECT_EQ(all.at("new"), "99");
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(all.contains("old" + std::to_string(i)));
  for (int i = 10; i < 19; ++i) EXPECT_TRUE(all.contains("old" + std::to_string(i)));
  EXPECT_FALSE(all.contains("old19"));
}

TEST_F(SmallHistory, AMergeThatIsCutShortIsDoneAgain) {
  fleet_.grow(1);
  for (int i = 0; i < 1500; ++i) {
    store::Batch batch;
    for (int k = 0; k < 10; ++k) batch.put(std::to_string(i * 10 + k), to_bytes("v"));
    ASSERT_TRUE(block_on(fleet_.loop(), fleet_[0].write(std::move(batch))));
  }
  const auto late = fleet_.add();
  fleet_.start(late);
  std::size_t seen = 0;
  const auto subscription = fleet_[late].subscribe("", [&](const Change&) { ++seen; });
  while (seen == 0) ASSERT_TRUE(fleet_.loop().run_some());
  ASSERT_LT(seen, 15'000u) << "all of it was merged at once";
  fleet_.kill(late);
  // Nobody is asked: the rest comes from its own disk, before it does anything else.
  fleet_.network().partition({{fleet_.id(late)}});
  fleet_.start(late);
  EXPECT_EQ(fleet_[late].counters().sync.snapshots_merged, 1u);
  EXPECT_EQ(fleet_.all(late), fleet_.all(0));
  fleet_.network().heal();
  ASSERT_TRUE(fleet_.put(0, "later", "v"));
  ASSERT_TRUE(fleet_.converge());
  EXPECT_EQ(fleet_.get(late, "later"), "v");
}

TEST_F(SmallHistory, AStoreThatCameBackFromAnOlderCopyCountsNothingTwice) {
  fleet_.grow(2);
  ASSERT_TRUE(fleet_.put(0, "k", "1"));
  const store::MemoryKv copy = fleet_.site(0).disk;
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(fleet_.put(0, "k", std::to_string(i)));
  ASSERT_TRUE(fleet_.converge());
  fleet_.stop(0);
  fleet_.site(0).disk = copy;
  fleet_.start(0);
  ASSERT_TRUE(fleet_.converge());
  EXPECT_EQ(fleet_.get(0, "k"), "99");
  ASSERT_TRUE(fleet_.put(0, "after", "copy"));
  ASSERT_TRUE(fleet_.converge());
  EXPECT_EQ(fleet_.get(1, "after"), "copy");
  EXPECT_EQ(fleet_.all(1), fleet_.all(0));
}

}  // namespace
}  // namespace tau::crdt
