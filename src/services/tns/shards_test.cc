// The registry in pieces: who holds which, and that it does not matter whom one asks.
#include "services/tns/shards.h"

#include <gmock/gmock.h>

#include <set>

#include "services/tns/several_world.h"

namespace tau::tns {
namespace {

using namespace std::chrono_literals;
using runtime::block_on;

struct SettledWorld : SeveralWorld {
  explicit SettledWorld(std::size_t tns_count) : SeveralWorld(tns_count, 9, 100ms) {}
  // Each shard has three voters and two that follow, on all of its five members.
  bool settled() {
    std::map<std::uint64_t, std::set<PeerId>> members;
    for (const TnsNode& node : town.nodes) {
      for (const auto& held : node.service->shards().held().held) {
        if (held.voters.size() != 3 || held.replicas.size() != 2 || !held.leader) return false;
        members[held.shard].insert(node.member.identity.id());
      }
    }
    return members.size() == kShardsUsual &&
           std::ranges::all_of(members, [](const auto& m) { return m.second.size() == 5; });
  }
  template <class C>
  Result<typename C::Response> ask(const TnsNode& node, typename C::Request request,
                                   command::Member* as = nullptr) {
    command::Member& who = as ? *as : town.substrate;
    return block_on(loop,
                    who.caller.call<C>(node.member.identity.id(), kProtocol, std::move(request)));
  }
  Result<Publish::Response> publish_at(const TnsNode& node, const Town::Chain& c) {
    return ask<Publish>(node,
                        {town.patrick.identity.sign(c.job), town.monkey.identity.sign(c.receipt)},
                        &town.monkey);
  }
};

TEST(Shards, AreTheSameForAKeyOnEveryNodeForEver) {
  // By sha256sum: the first eight bytes, as a number, by eight.
  EXPECT_EQ(shard_of("hello.blackhole.localhost", 8), 1u);
  EXPECT_EQ(shard_of("hello.blackhole.localhost", 1), 0u);
  std::map<std::size_t, int> names, first;
  for (int i = 0; i < 8000; ++i) ++names[shard_of("name-" + std::to_string(i), 8)];
  for (const auto& [shard, count] : names) EXPECT_NEAR(count, 1000, 150) << shard;
  // Ten nodes: each ranks first for some, and a further one takes its part and moves nothing else.
  std::vector<PeerId> ten;
  for (int i = 0; i < 10; ++i) ten.emplace_back("node-" + std::to_string(i));
  std::size_t moved = 0;
  for (std::size_t shard = 0; shard < 200; ++shard) {
    const auto before = founders_of(shard, ten, 3);
    ++first[static_cast<std::size_t>(before[0].str().back() - '0')];
    auto more = ten;
    more.emplace_back("node-x");
    const auto after = founders_of(shard, more, 3);
    for (const PeerId& peer : after)
      moved += std::ranges::find(before, peer) == before.end() ? 1 : 0;
    for (const PeerId& peer : before)
      EXPECT_TRUE(std::ranges::find(after, peer) != after.end() ||
                  std::ranges::find(after, PeerId("node-x")) != after.end());
  }
  EXPECT_EQ(first.size(), 10u);
  EXPECT_LT(moved, 100u);  // 200 * 3 / 11, about
}

TEST(Shards, OfManyNodesEachHoldsItsPartAndAnyOfThemIsAsked) {
  SettledWorld w(3);
  for (int i = 0; i < 6; ++i) w.town.join();
  ASSERT_TRUE(w.wait([&] { return w.settled(); }, 120s));
  std::size_t held = 0;
  for (const TnsNode& node : w.town.nodes) {
    held += node.service->shards().held().held.size();
    EXPECT_LT(node.service->shards().held().held.size(), kShardsUsual);
  }
  EXPECT_EQ(held, 5 * kShardsUsual);
  const std::vector<std::string> hosts = {"hello.x.localhost", "www.example.com",
                                          "shop.example.com"};
  std::uint64_t seq = 0;
  for (const TnsNode& node : w.town.nodes) {
    const auto moved = w.publish_at(node, w.town.chain(++seq, hosts));
    ASSERT_TRUE(moved) << moved.error().to_string();
  }
  const ProjectId project = w.town.registration(w.town.owner, "hello").project();
  for (const TnsNode& node : w.town.nodes) {
    for (const auto& host : hosts) {
      Result<Lookup::Response> found = fail(ErrorCode::unavailable, "");
      EXPECT_TRUE(w.wait(
          [&] {
            found = w.ask<Lookup>(node, {host, Seen{project, "main", seq}});
            return found.has_value();
          },
          5s))
          << host;
      ASSERT_TRUE(found) << found.error().to_string();
      const auto opened = p2p::open_node_signed<Pointer>(w.town.substrate.admission, kRole,
                                                         found->pointer, w.loop.wall_unix_ms());
      ASSERT_TRUE(opened);
      EXPECT_EQ(opened->signer.peer, node.member.identity.id()) << "it speaks for the registry";
      EXPECT_EQ(opened->record.seq, seq);
      const auto owner = w.ask<Resolve>(node, {host});
      ASSERT_TRUE(owner) << owner.error().to_string();
      EXPECT_EQ(owner->project, project);
    }
    EXPECT_EQ(w.ask<Lookup>(node, {"never.x.localhost"}).error().code(), ErrorCode::not_found);
    EXPECT_EQ(w.ask<Lookup>(node, {"api.hello.x.localhost"}).error().code(), ErrorCode::not_found);
    const auto pointer = w.ask<GetPointer>(node, {project, "main"});
    ASSERT_TRUE(pointer) << pointer.error().to_string();
    const auto history = w.ask<History>(node, {project, "main"});
    ASSERT_TRUE(history) << history.error().to_string();
    EXPECT_GT(history->versions.size(), 1u);
  }
  const auto thief = w.town.publish(w.town.chain(1, hosts));
  EXPECT_EQ(thief.error().code(), ErrorCode::failed_precondition);
}

TEST(Shards, ANodeThatJoinsManyTakesItsPartAndALostOneIsReplacedInEach) {
  SettledWorld w(3);
  for (int i = 0; i < 3; ++i) w.town.join();
  ASSERT_TRUE(w.wait([&] { return w.settled(); }, 120s));
  ASSERT_TRUE(w.town.publish(w.town.chain(1, {"hello.x.localhost"})));
  TnsNode& fresh = w.town.join();
  EXPECT_TRUE(
      w.wait([&] { return w.settled() && !fresh.service->shards().held().held.empty(); }, 200s));
  TnsNode* lost = w.town.leader();
  ASSERT_TRUE(lost);
  const PeerId gone = lost->member.identity.id();
  w.network.kill(gone);
  w.town.down(*lost);
  w.town.nodes.remove_if([&](const TnsNode& node) { return &node == lost; });
  ASSERT_TRUE(w.town.publish(w.town.chain(2, {"hello.x.localhost"})));
  EXPECT_TRUE(w.wait([&] { return w.settled(); }, 300s));
  for (const TnsNode& node : w.town.nodes)
    for (const auto& held : node.service->shards().held().held)
      EXPECT_FALSE(std::ranges::binary_search(held.voters, gone) ||
                   std::ranges::binary_search(held.replicas, gone));
  ASSERT_TRUE(w.town.publish(w.town.chain(3, {"hello.x.localhost"})));
}

TEST(Shards, ANameThatWasClaimedByAPublishThatDiedIsItsProjectsToUse) {
  SettledWorld w(1);
  Town& t = w.town;
  TnsNode& node = t.nodes.front();
  const Shards& shards = node.service->shards();
  const auto project = t.registration(t.owner, "hello").project();
  // What a publish leaves that dies between the two: the claim, and no pointer.
  NamesCommand half;
  half.claims = ClaimNames{project, {"shop.example.com"}};
  const auto claimed = block_on(
      w.loop, node.service->handle({}, ProposeTo::Request{shards.of_name("shop.example.com"),
                                                          codec::to_cbor(half)}));
  ASSERT_TRUE(claimed) << claimed.error().to_string();
  EXPECT_THAT(t.lookup("shop.example.com").error().message(),
              testing::HasSubstr("nothing is deployed"));
  const auto thief = crypto::KeyPair::generate(w.random);
  auto theirs = t.chain(1, {"other.example.com", "shop.example.com"});
  const auto r = t.registration(thief, "thief");
  theirs.job.project = theirs.receipt.project = r.project();
  theirs.job.registration = codec::sign_record(thief, r);
  const auto refused = t.publish(theirs);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::already_exists);
  EXPECT_THAT(refused.error().message(), testing::HasSubstr("shop.example.com"));
  // Told again, all of it is done.
  ASSERT_TRUE(t.publish(t.chain(1, {"hello.x.localhost", "shop.example.com"})));
  EXPECT_TRUE(t.publish(t.chain(1, {"hello.x.localhost", "shop.example.com"})));
  t.pass(1s);
  EXPECT_EQ(t.lookup("shop.example.com")->pointer->project, project);
  // What can only come too late claims nothing.
  ASSERT_TRUE(t.publish(t.chain(2, {"hello.x.localhost"})));
  EXPECT_EQ(t.publish(t.chain(1, {"late.example.com"})).error().code(),
            ErrorCode::failed_precondition);
  EXPECT_EQ(shards.held(shards.of_name("late.example.com"))->names().owner_of("late.example.com"),
            std::nullopt);
}

TEST(Shards, ARegistryThatWasFoundedWithOneGroupGoesOnWithIt) {
  SettledWorld w(1);
  Town& t = w.town;
  TnsNode& node = t.nodes.front();
  t.down(node);
  store::MemoryKv disk;
  {  // what an earlier program left: the log of one group, and no number of shards
    consensus::Groups groups(w.loop, *node.member.host, w.random, Logger(),
                             {.name = "tns", .role = "tns"});
    ASSERT_TRUE(groups.start());
    const auto kv = store::with_prefix(disk, "raft/");
    Names names;
    consensus::Group group(groups, *kv, {.name = "tns", .voters = {node.member.identity.id()}},
                           names);
    ASSERT_TRUE(block_on(w.loop, group.start()));
    NamesCommand claim;
    claim.claim = ClaimName{t.registration(t.owner, "hello").project(), "hello.x.localhost"};
    ASSERT_TRUE(block_on(w.loop, group.propose(codec::to_cbor(claim))));
    block_on(w.loop, group.stop());
    block_on(w.loop, groups.stop());
  }
  Service service(w.loop, *node.member.host, node.member.router, node.member.caller, disk, w.random,
                  node.member.admission, node.member.identity, Logger(), {"x.localhost"});
  const auto started = block_on(w.loop, service.start());
  ASSERT_TRUE(started) << started.error().to_string();
  EXPECT_EQ(service.shards().count(), 1u);
  const auto owner = block_on(w.loop, service.handle({}, Resolve::Request{"hello.x.localhost"}));
  ASSERT_TRUE(owner);
  EXPECT_EQ(owner->project, t.registration(t.owner, "hello").project());
  EXPECT_TRUE(t.publish(t.chain(1, {"hello.x.localhost", "shop.example.com"})));
  EXPECT_TRUE(t.lookup("shop.example.com"));
  block_on(w.loop, service.stop());
}

}  // namespace
}  // namespace tau::tns
