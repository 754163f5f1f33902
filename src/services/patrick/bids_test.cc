#include "services/patrick/bids.h"

#include <gtest/gtest.h>

namespace tau::patrick {
namespace {

const ProjectId kProject("p");

JobRecord job() {
  JobRecord record;
  record.job.id = JobId("j");
  record.job.project = kProject;
  return record;
}

Bidder bidder(const std::string& monkey, std::uint64_t order) {
  return {PeerId(monkey), Bid{}, order};
}

std::string winner(const std::vector<Bidder>& bidders, const JobRecord& record = job()) {
  const auto best = best_bid(bidders, record);
  return best ? bidders[*best].monkey.str() : "nobody";
}

TEST(Bids, AWarmCacheWinsOverRoom) {
  auto warm = bidder("warm", 2), roomy = bidder("roomy", 1);
  warm.bid.warm = {ProjectId("other"), kProject};
  roomy.bid.slots = 8;
  roomy.bid.memory_mib = 4096;
  EXPECT_EQ(winner({roomy, warm}), "warm");
  warm.bid.warm = {ProjectId("other")};
  EXPECT_EQ(winner({roomy, warm}), "roomy");
}

TEST(Bids, ABusyMachineLosesToAnIdleOneHoweverWarmItIs) {
  auto warm = bidder("warm", 1), idle = bidder("idle", 2);
  warm.bid.warm = {kProject};
  warm.bid.load_percent = 100;
  idle.bid.slots = 2;
  EXPECT_EQ(winner({warm, idle}), "idle");
  warm.bid.load_percent = 60;
  EXPECT_EQ(winner({warm, idle}), "warm");
}

TEST(Bids, WhatABidderBoastsCountsUpToABound) {
  auto boaster = bidder("boaster", 1), warm = bidder("warm", 2);
  boaster.bid.slots = boaster.bid.memory_mib = 0xFFFFFFFF;
  warm.bid.warm = {kProject};
  EXPECT_EQ(winner({boaster, warm}), "warm");
  warm.bid.load_percent = 0xFFFFFFFF;
  EXPECT_EQ(score(warm, job()), 100 + 10 - 100);
}

TEST(Bids, OfEqualsTheOneThatWaitsLongestThenTheSmallerId) {
  EXPECT_EQ(winner({bidder("b", 7), bidder("a", 9)}), "b");
  EXPECT_EQ(winner({bidder("b", 7), bidder("a", 7)}), "a");
  EXPECT_EQ(winner({bidder("a", 7), bidder("b", 7)}), "a");
  EXPECT_EQ(winner({}), "nobody");
}

TEST(Bids, WhoLostTheJobBeforeGetsItOnlyWhenNobodyElseIsThere) {
  JobRecord lost = job();
  lost.fence = 1;
  lost.monkey = PeerId("ann");
  auto ann = bidder("ann", 1), bob = bidder("bob", 2);
  ann.bid.warm = {kProject};
  ann.bid.slots = 8;
  bob.bid.load_percent = 100;
  EXPECT_EQ(winner({ann, bob}, lost), "bob");
  EXPECT_EQ(winner({ann}, lost), "ann");
  EXPECT_EQ(winner({ann, bob}), "ann");
}

TEST(Bids, AreBounded) {
  Bid bid;
  bid.warm.assign(kWarmMax, kProject);
  EXPECT_TRUE(check_bid(bid));
  bid.warm.push_back(kProject);
  EXPECT_FALSE(check_bid(bid));
  bid.warm = {ProjectId(std::string(101, 'x'))};
  EXPECT_FALSE(check_bid(bid));
  bid.warm = {ProjectId()};
  EXPECT_FALSE(check_bid(bid));
}

}  // namespace
}  // namespace tau::patrick
