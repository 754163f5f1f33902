// Listings of a registry in several shards, page by page.
#include "services/tns/listing.h"

#include <gmock/gmock.h>

#include <set>

#include "services/tns/test_world.h"

namespace tau::tns {
namespace {

using namespace std::chrono_literals;
using runtime::block_on;

struct ListingWorld : World {
  ListingWorld() : World({}, 3) {
    EXPECT_TRUE(town.wait_leader());
    std::vector<std::string> hosts;
    for (int i = 0; i < 30; ++i) hosts.push_back("shop-" + std::to_string(i) + ".example.com");
    for (int i = 0; i < 10; ++i) hosts.push_back("blog-" + std::to_string(i) + ".example.org");
    for (const std::string branch : {"main", "feature/a", "feature/b", "fix"})
      EXPECT_TRUE(town.publish(town.chain(1, branch == "main" ? hosts : kHello, branch)));
    town.pass(1s);  // every replica has it
  }
  auto names(NamesQuestion question) {
    return block_on(loop, list_names(town.substrate.caller, std::move(question)));
  }
  auto pointers(PointersQuestion question) {
    if (question.project.empty()) question.project = town.chain(1, {}).job.project;
    return block_on(loop, list_pointers(town.substrate.caller, std::move(question)));
  }
  // All pages; each name once.
  std::set<std::string> walk(NamesQuestion question, int& pages) {
    std::set<std::string> all;
    for (pages = 1; pages < 1000; ++pages) {
      const auto page = names(question);
      EXPECT_TRUE(page) << page.error().to_string();
      if (!page) break;
      EXPECT_LE(page->items.size(), question.limit);
      for (const auto& one : page->items) EXPECT_TRUE(all.insert(one.name).second) << one.name;
      if (page->next.empty()) break;
      question.cursor = page->next;
    }
    return all;
  }
};

TEST(Listing, GivesTheNamesOfAllShardsPageByPageEachOnce) {
  ListingWorld w;
  int pages = 0;
  const auto shops = w.walk({.prefix = "shop-", .limit = 7}, pages);
  EXPECT_EQ(shops.size(), 30u);
  EXPECT_GE(pages, 5);
  EXPECT_EQ(w.walk({.suffix = ".example.org", .limit = 4}, pages).size(), 10u);
  EXPECT_EQ(w.walk({.prefix = "shop-1", .suffix = "5.example.com"}, pages).size(), 1u);
  EXPECT_EQ(w.walk({.limit = 1000}, pages).size(), 41u);
  EXPECT_EQ(pages, 1);
  const auto none = w.names({.prefix = "nothing"});
  ASSERT_TRUE(none);
  EXPECT_TRUE(none->items.empty() && none->next.empty());
}

TEST(Listing, SaysWhoseANameIsAndHowOldTheAnswerMayBe) {
  ListingWorld w;
  const auto page = w.names({.prefix = "shop-29"});
  ASSERT_TRUE(page);
  ASSERT_EQ(page->items.size(), 1u);
  EXPECT_EQ(page->items[0].project, w.town.chain(1, {}).job.project);
  ASSERT_TRUE(page->age);
  EXPECT_LT(*page->age, 5s);
}

TEST(Listing, GivesThePointersOfAProjectByBranch) {
  ListingWorld w;
  const auto branches = [](const auto& page) {
    std::vector<std::string> out;
    for (const auto& one : page->items) out.push_back(one.branch);
    return out;
  };
  const auto all = w.pointers({});
  ASSERT_TRUE(all) << all.error().to_string();
  EXPECT_THAT(branches(all), testing::ElementsAre("feature/a", "feature/b", "fix", "main"));
  EXPECT_EQ(all->items[3].hosts, 40u);
  EXPECT_EQ(all->items[0].host, "feature-a--hello.x.localhost");
  const auto features = w.pointers({.prefix = "feature/", .limit = 1});
  ASSERT_TRUE(features);
  EXPECT_THAT(branches(features), testing::ElementsAre("feature/a"));
  const auto rest = w.pointers({.prefix = "feature/", .cursor = features->next});
  ASSERT_TRUE(rest);
  EXPECT_THAT(branches(rest), testing::ElementsAre("feature/b"));
  EXPECT_EQ(rest->next, "");
  const auto nobody = w.pointers({.project = ProjectId("nobody")});
  ASSERT_TRUE(nobody);
  EXPECT_TRUE(nobody->items.empty());
}

TEST(Listing, RefusesACursorThatNoPageEndedWith) {
  ListingWorld w;
  for (const std::string bad :
       {"x", "8.a", "99999999999999999999.a", "-1.a", "3", ".", "1 .a", "\xff\xff"})
    EXPECT_EQ(w.names({.cursor = bad}).error().code(), ErrorCode::invalid_argument) << bad;
  EXPECT_EQ(w.names({.cursor = "1." + std::string(5000, 'a')}).error().code(),
            ErrorCode::invalid_argument);
  EXPECT_EQ(w.names({.cursor = "1.\xff"}).error().code(), ErrorCode::invalid_argument);
  EXPECT_EQ(w.names({.prefix = "\xff"}).error().code(), ErrorCode::invalid_argument);
  for (std::size_t i = 0; i < w.town.members.size(); ++i)
    EXPECT_EQ(w.town.members[i].host->conduct().score(w.town.substrate.identity.id()), 0);
  // Whatever text stands behind the number is only where to go on.
  EXPECT_TRUE(w.names({.cursor = std::string("1.\0\x7f", 4)}));
  EXPECT_EQ(w.names({.prefix = std::string(300, 'a')}).error().code(), ErrorCode::invalid_argument);
  const auto other =
      shard_of(w.town.chain(1, {}).job.project.str(), kShardsUsual) == 0 ? "1." : "0.";
  EXPECT_EQ(w.pointers({.cursor = other}).error().code(), ErrorCode::invalid_argument);
}

TEST(Listing, GoesOnWithoutOneOfThreeAndSaysWhenNobodyAnswers) {
  ListingWorld w;
  w.town.down(w.town.nodes.back());
  int pages = 0;
  EXPECT_EQ(w.walk({.prefix = "shop-", .limit = 50}, pages).size(), 30u);
  for (auto& node : w.town.nodes) w.town.down(node);
  const auto none = w.names({});
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().code(), ErrorCode::invalid_argument);
}

// A tns node that leads in circles, in place of one.
struct Circling {
  int asked = 0;
  Task<Result<GetShards::Response>> handle(command::Peer, GetShards::Request) {
    co_return GetShards::Response{1, {{0, {}, {}, {}}}};
  }
  Task<Result<ListNames::Response>> handle(command::Peer, ListNames::Request request) {
    ++asked;
    co_return ListNames::Response{{}, request.after, std::uint64_t(-1)};
  }
};

TEST(Listing, IsNotLedInCirclesByANodeThatLies) {
  World w({}, 1);
  TnsNode& node = w.town.nodes.front();
  w.town.down(node);
  Circling circling;
  node.member.router.serve(kShardsProtocol, circling, command::List<GetShards, ListNames>{});
  const auto page = block_on(w.loop, list_names(w.town.substrate.caller, {}));
  EXPECT_EQ(page.error().code(), ErrorCode::unavailable);
  EXPECT_EQ(circling.asked, 1);
  block_on(w.loop, node.member.router.unserve(kShardsProtocol));
}

}  // namespace
}  // namespace tau::tns
