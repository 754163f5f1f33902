// Members that lie: with and without the role that may write.
#include <gmock/gmock.h>

#include "crdt/fleet.h"

namespace tau::crdt {
namespace {

class HostileMap : public ::testing::Test {
 protected:
  void SetUp() override {
    fleet_.grow(3);
    liar_ = fleet_.add();
    stranger_ = fleet_.add({"gateway"});
    fleet_.start(liar_, false);
    fleet_.start(stranger_, false);
    fleet_.wait(100ms);
  }
  p2p::Host& host(std::size_t i) { return *fleet_.site(i).life->host; }
  const p2p::NodeIdentity& identity(std::size_t i) { return fleet_.site(i).identity; }

  // The number-th delta of the liar's made-up store; `held`: it gives the block to who asks.
  SealedDelta make(std::size_t by, std::uint64_t number, std::vector<Link> parents,
                   std::optional<codec::Cid> previous = std::nullopt,
                   std::vector<Operation> operations = {{"lie", to_bytes("x"), {}}}) {
    auto sealed = seal(identity(by), {.map = "test",
                                      .peer = identity(by).id(),
                                      .incarnation = 1,
                                      .number = number,
                                      .height = number,
                                      .time_unix_ms = fleet_.loop().wall_unix_ms(),
                                      .previous = previous,
                                      .parents = std::move(parents),
                                      .operations = std::move(operations)});
    EXPECT_TRUE(sealed) << sealed.error().to_string();
    return std::move(*sealed);
  }
  void hold(std::size_t by, const SealedDelta& delta) {
    std::vector<store::Block> blocks;
    blocks.push_back({delta.cid, delta.block});
    ASSERT_TRUE(block_on(fleet_.loop(), fleet_.site(by).life->blocks->put(
                                            std::move(blocks), store::Durability::buffered)));
  }
  void announce(std::size_t by, const std::vector<Link>& heads, std::vector<Bytes> blocks = {},
                std::optional<Bytes> certificate = std::nullopt) {
    Announcement announcement{
        "test", certificate.value_or(identity(by).certificate()), {}, std::move(blocks)};
    for (const auto& head : heads) announcement.heads.push_back(wire_link(head));
    (void)host(by).publish("/tau/crdt/1/test", codec::to_cbor(announcement));
  }
  // The honest go on, and nothing is left over.
  void expect_unharmed() {
    const auto key = "after" + std::to_string(next_++);
    for (std::size_t i = 0; i < 3; ++i) ASSERT_TRUE(fleet_.put(i, key + std::to_string(i), "v"));
    ASSERT_TRUE(fleet_.converge());
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(fleet_.all(i, key).size(), 3u);
    EXPECT_TRUE(fleet_.wait_for([&] {
      for (std::size_t i = 0; i < 3; ++i)
        if (fleet_[i].pending() > 0) return false;
      return true;
    })) << "something waits for ever";
  }

  static MapOptions options() {
    MapOptions options{.name = "test", .writers = "seer"};
    options.history.deltas_max = 8;
    return options;
  }
  Fleet fleet_{3, options()};
  std::size_t liar_ = 0, stranger_ = 0;
  int next_ = 0;
};

TEST_F(HostileMap, MembersWithoutTheRoleAreNotHeard) {
  const auto delta = make(stranger_, 1, {});
  hold(stranger_, delta);
  announce(stranger_, {delta.link()}, {delta.block});
  // With the certificate of one who may.
  announce(stranger_, {delta.link()}, {delta.block}, identity(0).certificate());
  fleet_.wait(1s);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(fleet_[i].counters().refused, 2u);
    EXPECT_TRUE(fleet_.all(i).empty());
  }
  // Nor what they wrote, when one who may announces it.
  announce(liar_, {delta.link()}, {delta.block});
  fleet_.wait(1s);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(fleet_.all(i).empty());
    EXPECT_EQ(fleet_[i].counters().walk.refused, 1u);
  }
  expect_unharmed();
}

TEST_F(HostileMap, HeadsThatNobodyHasAreGivenUp) {
  std::vector<Link> heads;
  for (int i = 0; i < 100; ++i) {
    const auto cid = codec::Cid::of(codec::ContentType::dag_cbor, as_bytes(std::to_string(i)));
    heads.push_back({cid, {writer_id_of(identity(liar_).id(), 1), 5}});
  }
  for (int i = 0; i < 20; ++i) announce(liar_, heads);
  fleet_.wait(100ms);
  expect_unharmed();
}

TEST_F(HostileMap, AnEndlessHistoryIsBounded) {
  std::vector<SealedDelta> chain = {make(liar_, 1, {})};
  for (std::uint64_t n = 2; n <= 3000; ++n)
    chain.push_back(make(liar_, n, {chain.back().link()}, chain.back().cid));
  // All but the first are there: whoever walks back finds no end.
  for (std::size_t i = 1; i < chain.size(); ++i) hold(liar_, chain[i]);
  announce(liar_, {chain.back().link()});
  std::size_t most = 0;
  for (int i = 0; i < 2000; ++i) {
    fleet_.wait(5ms);
    most = std::max(most, fleet_[0].pending());
  }
  EXPECT_GT(most, 100u) << "it was not walked at all";
  EXPECT_LE(most, Walk::kPendingMax);
  EXPECT_GE(fleet_[0].counters().walk.given_up, 1u);
  EXPECT_TRUE(fleet_.all(0).empty());
  expect_unharmed();
  EXPECT_LT(fleet_.site(0).disk.size(), 200u) << "blocks that led nowhere are erased";
}

// The same without a lie: only the announcer has the history, and it serves blocks alone.
TEST_F(HostileMap, AWalkThatIsCutShortGoesOnAfterARestart) {
  fleet_.network().partition({{fleet_.id(0), fleet_.id(liar_)}});
  std::vector<SealedDelta> chain = {make(liar_, 1, {})};
  for (std::uint64_t n = 2; n <= 300; ++n)
    chain.push_back(make(liar_, n, {chain.back().link()}, chain.back().cid));
  for (const auto& delta : chain) hold(liar_, delta);
  announce(liar_, {chain.back().link()});
  ASSERT_TRUE(fleet_.wait_for([&] { return fleet_[0].pending() > 100; }));
  ASSERT_TRUE(fleet_.put(0, "k", "v"));  // syncs what was written down before it
  const WriterId writer = chain.back().delta.dot().writer;
  ASSERT_EQ(fleet_[0].state().context().of(writer), 0u) << "the walk is over already";
  fleet_.kill(0);
  for (const std::size_t i : {1, 2}) fleet_.stop(i);
  fleet_.network().heal();
  fleet_.start(0);
  ASSERT_TRUE(fleet_.wait_for([&] { return fleet_[0].state().context().of(writer) == 300; }, 20s));
  EXPECT_EQ(fleet_[0].counters().heard, 0u) << "it was told again";
  EXPECT_EQ(fleet_.get(0, "lie"), "x");
  for (const std::size_t i : {1, 2}) fleet_.start(i);
  expect_unharmed();
}

TEST_F(HostileMap, LargeAndBrokenBlocksAreRefusedAndNotKept) {
  Bytes large(1'900'000, 0x61), broken = to_bytes("no delta");
  std::vector<store::Block> blocks;
  std::vector<Link> heads;
  for (const Bytes& bytes : {large, broken}) {
    const auto cid = codec::Cid::of(codec::ContentType::dag_cbor, bytes);
    blocks.push_back({cid, bytes});
    heads.push_back({cid, {writer_id_of(identity(liar_).id(), 1), 1}});
  }
  ASSERT_TRUE(block_on(fleet_.loop(),
                       fleet_.site(liar_).life->blocks->put(blocks, store::Durability::buffered)));
  announce(liar_, heads);
  fleet_.wait(2s);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_GE(fleet_[i].counters().walk.refused, 2u);
    for (const auto& block : blocks)
      EXPECT_FALSE(*block_on(fleet_.loop(), fleet_.site(i).life->blocks->has(block.cid)));
  }
  expect_unharmed();
}

// The liar says of a parent that does not exist that it is an old delta of an honest writer: who
// has folded that far believes it, who has not looks for it in vain. Both must go on together.
TEST_F(HostileMap, ALieThatOneReplicaBelievesAndAnotherCannotCheckPartsNobody) {
  fleet_.options().history.deltas_max = 4096;
  const auto doubter = fleet_.add();
  fleet_.start(doubter);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(fleet_.put(0, "k", std::to_string(i)));
  ASSERT_TRUE(fleet_.converge());
  ASSERT_EQ(fleet_[doubter].state().folded().size(), 0u);
  const auto nothing = codec::Cid::of(codec::ContentType::dag_cbor, as_bytes("nothing"));
  const auto delta = make(liar_, 1, {{nothing, {fleet_[0].state().own(), 1}}});
  announce(liar_, {delta.link()}, {delta.block});
  ASSERT_TRUE(fleet_.wait_for([&] { return fleet_.get(1, "lie").has_value(); }, 2s));
  EXPECT_EQ(fleet_.get(doubter, "lie"), std::nullopt);
  ASSERT_TRUE(fleet_.put(1, "on top", "of the lie"));
  ASSERT_TRUE(fleet_.converge(30s));
  EXPECT_EQ(fleet_.get(doubter, "on top"), "of the lie");
  EXPECT_EQ(fleet_.all(doubter), fleet_.all(0));
  expect_unharmed();
}

TEST_F(HostileMap, TwoDeltasWithOneNumberPartNobody) {
  const auto a = make(liar_, 1, {}, std::nullopt, {{"lie", to_bytes("a"), {}}});
  const auto b = make(liar_, 1, {}, std::nullopt, {{"lie", to_bytes("b"), {}}});
  fleet_.network().partition({{fleet_.id(0), fleet_.id(liar_)}});
  announce(liar_, {a.link()}, {a.block});
  fleet_.wait(100ms);
  // What waits behind the partition never arrives.
  for (const std::size_t i : {1u, 2u})
    for (const std::size_t other : {std::size_t{0}, liar_})
      fleet_.network().break_connection(fleet_.id(i), fleet_.id(other));
  fleet_.network().partition({{fleet_.id(1), fleet_.id(2), fleet_.id(liar_)}});
  for (const std::size_t i : {1u, 2u})
    ASSERT_TRUE(block_on(fleet_.loop(), host(i).connect(host(liar_).addresses().at(0))));
  fleet_.wait(100ms);
  announce(liar_, {b.link()}, {b.block});
  fleet_.wait(100ms);
  EXPECT_EQ(fleet_.get(0, "lie"), "a");
  EXPECT_EQ(fleet_.get(1, "lie"), "b");
  ASSERT_TRUE(fleet_.put(0, "zero", "0"));
  ASSERT_TRUE(fleet_.put(1, "one", "1"));
  fleet_.network().heal();
  expect_unharmed();
  // Both heads have been heard of by now: the same one wins everywhere.
  announce(liar_, {a.link(), b.link()}, {a.block, b.block});
  fleet_.wait(1s);
  EXPECT_EQ(fleet_.all(0), fleet_.all(1));
  EXPECT_EQ(fleet_.all(0), fleet_.all(2));
}

// Whoever removes what it cannot have seen removes it on every replica, whichever came first.
TEST_F(HostileMap, ARemovalThatComesBeforeWhatItRemovesIsRemembered) {
  fleet_.network().partition({{fleet_.id(0)}});
  ASSERT_TRUE(fleet_.put(0, "k", "v"));
  const Dot dot{fleet_[0].state().own(), 1};
  const auto delta = make(liar_, 1, {}, std::nullopt, {{"k", std::nullopt, {dot}}});
  announce(liar_, {delta.link()}, {delta.block});
  fleet_.wait(100ms);
  fleet_.kill(2);
  fleet_.network().heal();
  fleet_.start(2);
  ASSERT_TRUE(fleet_.converge());
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(fleet_.get(i, "k"), std::nullopt) << i;
  expect_unharmed();
}

TEST_F(HostileMap, AFloodOfAnnouncementsIsCutAtItsRate) {
  const auto cid = codec::Cid::of(codec::ContentType::dag_cbor, as_bytes("x"));
  for (int i = 0; i < 5000; ++i)
    announce(liar_, {{cid, {writer_id_of(identity(liar_).id(), 1), 1}}});
  fleet_.wait(100ms);
  EXPECT_LT(fleet_[0].counters().heard, 1000u);
  expect_unharmed();
}

TEST_F(HostileMap, GarbageOnAStreamEndsTheStream) {
  SeededRandom random(9);
  for (int i = 0; i < 100; ++i) {
    auto stream = block_on(fleet_.loop(), host(stranger_).open(fleet_.id(0), "/tau/crdt/1/test"));
    if (!stream) {
      EXPECT_GE(i, 9) << "it has to leave, but not for one mistake";
      break;
    }
    Bytes junk(random.below(64));
    random.fill(junk);
    if (i % 3 == 0) junk = {0xff, 0xff, 0xff, 0xff, 0};
    (void)block_on(fleet_.loop(), (*stream)->write(junk));
    if (i % 2) (void)block_on(fleet_.loop(), (*stream)->close_write());
  }
  fleet_.wait(30s);
  EXPECT_FALSE(host(0).certificate_of(fleet_.id(stranger_)));
  expect_unharmed();
}

TEST_F(HostileMap, ASnapshotThatDoesNotHoldTogetherChangesNothing) {
  ASSERT_TRUE(fleet_.put(0, "k", "v"));
  ASSERT_TRUE(fleet_.converge());
  const WriterId writer = writer_id_of(identity(liar_).id(), 1);
  const Bytes chunk = encode_chunk({{"lie", {{writer, 5}, 1, 1, to_bytes("x")}}});
  const auto chunk_cid = codec::Cid::of(codec::ContentType::dag_cbor, chunk);
  SnapshotRoot root{"test", {{writer.str(), 4}}, {}, {chunk_cid}};
  const Bytes data = codec::to_cbor(root);
  const auto cid = codec::Cid::of(codec::ContentType::dag_cbor, data);
  ASSERT_TRUE(
      block_on(fleet_.loop(), fleet_.site(liar_).life->blocks->put(
                                  {{chunk_cid, chunk}, {cid, data}}, store::Durability::buffered)));
  host(liar_).handle("/tau/crdt/1/test", [cid](std::unique_ptr<p2p::Stream> stream) -> Task<void> {
    return [](std::unique_ptr<p2p::Stream> s, codec::Cid offer) -> Task<void> {
      (void)co_await read_frame(*s);
      (void)co_await write_frame(*s, codec::to_cbor(SyncAnswer{{}, offer}));
      (void)co_await s->close_write();
    }(std::move(stream), cid);
  });
  fleet_[1].pull(fleet_.id(liar_));
  fleet_.wait(5s);
  EXPECT_EQ(fleet_[1].counters().sync.snapshots_merged, 0u);
  EXPECT_EQ(fleet_.all(1), fleet_.all(0));
  expect_unharmed();
}

}  // namespace
}  // namespace tau::crdt
