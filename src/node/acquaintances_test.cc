#include "node/acquaintances.h"

#include <gtest/gtest.h>

#include <chrono>
#include <set>

namespace tau::node {
namespace {

using namespace std::chrono_literals;

PeerId peer(std::size_t i) { return PeerId("12D3KooW" + std::to_string(i)); }

class AcquaintancesTest : public ::testing::Test {
 protected:
  void meet(std::size_t from, std::size_t to, Roles roles) {
    for (std::size_t i = from; i < to; ++i) known.met(peer(i), roles, true, now);
  }
  std::size_t chosen(Roles roles) {
    known.choose();
    std::size_t n = 0;
    for (const auto& [id, node] : known.nodes()) n += node.chosen && node.roles == roles;
    return n;
  }
  const Roles tns = roles_of({"tns"}), monkey = roles_of({"monkey"});
  Acquaintances known{PeerId("12D3KooWself"), roles_of({"tns", "client"})};
  TimePoint now{1h};
  const std::function<bool(const PeerId&)> none = [](const PeerId&) { return false; };
};

TEST_F(AcquaintancesTest, RolesHaveNamesAndUnknownOnesArePassedOver) {
  EXPECT_EQ(names_of(roles_of({"seer", "nonsense", "auth"})),
            (std::vector<std::string>{"auth", "seer"}));
  EXPECT_EQ(roles_of({"client"}), 0);
}

TEST_F(AcquaintancesTest, EverybodyIsWantedInASmallNetwork) {
  meet(0, kFullMeshMax, monkey);
  EXPECT_FALSE(known.sparse());
  EXPECT_EQ(chosen(monkey), kFullMeshMax);
  EXPECT_TRUE(known.surplus(now + 1h, none).empty());
}

TEST_F(AcquaintancesTest, AFewOfEachRoleAndMoreOfTheOwnInALargeOne) {
  meet(0, 100, monkey);
  meet(100, 200, tns);
  EXPECT_TRUE(known.sparse());
  EXPECT_EQ(chosen(tns), kOfOwnRole);
  EXPECT_GE(chosen(monkey), kOfOtherRoles);
  EXPECT_LE(chosen(monkey), kNeighbours);
}

TEST_F(AcquaintancesTest, WhoDoesNotAnswerIsReplacedAndTriedAgain) {
  meet(0, 200, tns);
  known.choose();
  PeerId lost;
  for (const auto& [id, node] : known.nodes())
    if (node.chosen) lost = id;
  known.met(lost, 0, false, now + 2min);
  known.failed(lost, now + 2min);
  EXPECT_EQ(chosen(tns), kOfOwnRole + 1);
  EXPECT_TRUE(known.find(lost)->chosen);
  EXPECT_GT(known.find(lost)->try_again, now + 2min);
}

TEST_F(AcquaintancesTest, WhatNeitherEndWantsIsClosedAfterAMinute) {
  meet(0, 200, tns);
  known.choose();
  for (auto& [id, node] : known.nodes()) node.wants_us = false;
  EXPECT_TRUE(known.surplus(now + 59s, none).empty());
  EXPECT_EQ(known.surplus(now + 1min, none).size(), 200 - kConnectionsKept);
  EXPECT_TRUE(known.surplus(now + 1min, [](const PeerId&) { return true; }).empty());
  for (auto& [id, node] : known.nodes()) node.wants_us = true;
  EXPECT_TRUE(known.surplus(now + 1min, none).empty());
}

TEST_F(AcquaintancesTest, TheNearestAreRememberedAndConnectedOnesNeverForgotten) {
  meet(0, 10, monkey);
  for (std::size_t i = 10; i < 2 * kKnownNodesMax; ++i) known.learn(peer(i), monkey, now);
  EXPECT_EQ(known.nodes().size(), kKnownNodesMax);
  for (std::size_t i = 0; i < 10; ++i) EXPECT_TRUE(known.find(peer(i)));
  known.forget_before(now + 1s);
  EXPECT_EQ(known.nodes().size(), 10u);
}

TEST_F(AcquaintancesTest, WhoIsConnectedIsAlwaysKnown) {
  for (std::size_t i = 0; i < kKnownNodesMax; ++i) known.learn(peer(i), monkey, now);
  meet(kKnownNodesMax, 2 * kKnownNodesMax + 10, monkey);
  EXPECT_EQ(known.connected(), kKnownNodesMax + 10);
  for (std::size_t i = 0; i < kKnownNodesMax + 10; ++i)
    EXPECT_TRUE(known.find(peer(kKnownNodesMax + i)));
}

TEST_F(AcquaintancesTest, TellsOfOthersEachTime) {
  meet(0, 20, monkey);
  std::set<PeerId> told;
  for (int i = 0; i < 4; ++i)
    for (const auto* item : known.some_connected(5)) told.insert(item->first);
  EXPECT_EQ(told.size(), 20u);
}

}  // namespace
}  // namespace tau::node
