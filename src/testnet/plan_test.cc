#include "testnet/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tau::testnet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> names(const Layout& layout) {
  std::vector<std::string> out;
  for (const NodePlan& node : layout.nodes) out.push_back(node.name);
  return out;
}
std::string why(const Wishes& wishes) {
  const auto layout = lay_out(wishes);
  return layout ? "" : layout.error().message();
}

TEST(Plan, WithoutWishesIsTheUsualUniverse) {
  const auto layout = lay_out({});
  ASSERT_TRUE(layout);
  EXPECT_EQ(layout->nodes, default_plan());
  EXPECT_EQ(layout->ports, Ports());
}

TEST(Plan, AnEmptyUniverseHasAClientAndWhatIsEnabled) {
  EXPECT_THAT(names(*lay_out({.empty = true})), ElementsAre("client"));
  EXPECT_THAT(names(*lay_out({.empty = true, .enable = {"tns", "hoarder"}})),
              ElementsAre("tns", "hoarder-1", "hoarder-2", "client"));
}

TEST(Plan, DisablesServicesAndChoosesHowManyNodesRunOne) {
  const auto layout = lay_out({.disable = {"monkey", "auth", "patrick", "seer"},
                               .bind = {"substrate@1/copies"},
                               .copies = {{"hoarder", 3}, {"tns", 3}}});
  ASSERT_TRUE(layout);
  EXPECT_THAT(names(*layout), ElementsAre("tns", "tns-2", "tns-3", "hoarder-1", "hoarder-2",
                                          "hoarder-3", "substrate-1", "client"));
}

TEST(Plan, BindsPorts) {
  const auto layout = lay_out({.bind = {"substrate@8080/http", "patrick@1500/api", "seer@5300/dns",
                                        "hoarder-2@4001/p2p", "tns@4002/p2p"}});
  ASSERT_TRUE(layout);
  EXPECT_EQ(layout->ports, (Ports{8080, 1500, 5300}));
  for (const NodePlan& node : layout->nodes) {
    const int wanted = node.name == "hoarder-2" ? 4001 : node.name == "tns" ? 4002 : 0;
    EXPECT_EQ(node.p2p_port, wanted) << node.name;
  }
}

TEST(Plan, SaysWhatIsWrongWithAWish) {
  EXPECT_THAT(why({.enable = {"substrat"}}), HasSubstr("no service \"substrat\"; there are: "));
  EXPECT_THAT(why({.bind = {"substrate:80"}}), HasSubstr("SERVICE@PORT/KIND"));
  EXPECT_THAT(why({.bind = {"substrate@99999/http"}}), HasSubstr("SERVICE@PORT/KIND"));
  EXPECT_THAT(why({.bind = {"auth@80/http"}}), HasSubstr("substrate@80/http"));
  EXPECT_THAT(why({.bind = {"auth@80/https"}}), HasSubstr("http, api, dns, p2p or copies"));
  EXPECT_THAT(why({.bind = {"nobody@80/p2p"}}), HasSubstr("no such node"));
  EXPECT_THAT(why({.copies = {{"auth", 2}}}), HasSubstr("one home"));
  EXPECT_THAT(why({.copies = {{"hoarder", 1000}}}), HasSubstr("at most 64"));
  EXPECT_THAT(why({.enable = {"tns"}, .disable = {"tns"}}), HasSubstr("both"));
}

TEST(Plan, FindsANameThatNoNodeHas) {
  EXPECT_EQ(free_name("substrate", default_plan()), "substrate-3");
  EXPECT_EQ(free_name("seer", default_plan()), "seer-2");
  EXPECT_EQ(free_name("seer", {}), "seer");
}

TEST(Plan, WhatIsKeptReadsBack) {
  Kept kept;
  kept.nodes = {{"substrate-1", {"substrate"}, 4001}, {"client"}};
  kept.ports = {1480, 1422, 1453};
  kept.stopped = true;
  const auto back = kept_from_json(to_json(kept));
  ASSERT_TRUE(back);
  EXPECT_EQ(*back, kept);
}

TEST(Plan, WhatIsKeptByANewerDreamOrBrokenIsRefused) {
  http::Json json = to_json(Kept());
  json["format"] = 2u;
  EXPECT_THAT(kept_from_json(json).error().message(), HasSubstr("newer dream"));
  EXPECT_FALSE(kept_from_json(http::Json::array()));
  for (const auto* broken :
       {R"({"format":1})", R"({"format":1,"nodes":[{"name":"../x","services":[],"p2p_port":0}]})",
        R"({"format":1,"nodes":[{"name":"a","services":["x"],"p2p_port":0}]})",
        R"({"format":1,"nodes":[{"name":"a","services":[],"p2p_port":0},)"
        R"({"name":"a","services":[],"p2p_port":0}]})",
        R"({"format":1,"nodes":[{"name":"a","services":[],"p2p_port":70000}]})"})
    EXPECT_FALSE(kept_from_json(*http::parse_json(broken))) << broken;
}

TEST(Plan, AUniversesNameIsALabel) {
  EXPECT_TRUE(check_universe_name("second-1"));
  for (const auto* name : {"", "..", "a/b", "A", "-a", "a.b"})
    EXPECT_FALSE(check_universe_name(name));
}

}  // namespace
}  // namespace tau::testnet
