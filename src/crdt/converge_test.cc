// Whatever happens on the way: replicas come to the same content, what was acknowledged is there,
// and what was deleted stays deleted. From seeds, in virtual time.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "crdt/fleet.h"

namespace tau::crdt {
namespace {

std::uint64_t seeds(std::uint64_t usual) {
  const char* more = std::getenv("TAU_CRDT_SEEDS");
  return more ? std::strtoull(more, nullptr, 10) : usual;
}

// Replicas without a network: states that are given deltas and snapshots by hand.
struct Desk {
  explicit Desk(runtime::VirtualLoop& loop, Random& random, const p2p::NodeIdentity& who,
                HistoryLimits limits)
      : identity(who),
        rows(store::with_prefix(disk, "crdt/")),
        blocks(disk),
        state(loop, *rows, blocks, random, who.id(), limits) {
    EXPECT_TRUE(block_on(loop, state.load()));
  }
  const p2p::NodeIdentity& identity;
  store::MemoryKv disk;
  std::unique_ptr<store::Kv> rows;
  store::BlockStore blocks;
  State state;
};

Task<Result<SealedDelta>> write(Desk& desk, std::string key, std::optional<Bytes> value) {
  State::Transaction t(desk.state);
  CO_TRY(const Entry* entry, t.entry(key));
  Delta delta{.map = "test",
              .peer = desk.identity.id(),
              .incarnation = desk.state.incarnation(),
              .number = desk.state.context().of(desk.state.own()) + 1,
              .height = t.height() + 1,
              .time_unix_ms = 1'700'000'000'000,
              .previous = desk.state.last_own(),
              .parents = {},
              .operations = {{std::move(key), std::move(value), {}}}};
  for (const auto& head : t.heads()) delta.parents.push_back(head.link);
  for (const auto& version : entry->versions()) delta.operations[0].removes.push_back(version.dot);
  if (!delta.operations[0].value && delta.operations[0].removes.empty())
    co_return fail(ErrorCode::not_found, "nothing to delete");
  CO_TRY_SYNC(SealedDelta sealed, seal(desk.identity, std::move(delta)));
  CO_TRY_STATUS(t.apply(sealed, false));
  CO_TRY_STATUS(desk.state.commit(std::move(t), store::Durability::synced));
  co_return sealed;
}

Task<Status> give(Desk& desk, const SealedDelta& delta) {
  State::Transaction t(desk.state);
  CO_TRY_STATUS(t.apply(delta, false));
  if (!t.empty()) CO_TRY_STATUS(desk.state.commit(std::move(t), store::Durability::buffered));
  co_return Status{};
}

// All that `from` knows and `to` does not, as a snapshot.
Task<Status> merge(Desk& from, Desk& to) {
  CO_TRY(const auto offered, build_snapshot(from.state, "test"));
  for (const auto& cid : offered.blocks) {
    CO_TRY(auto data, from.blocks.get(cid));
    std::vector<store::Block> one;
    one.push_back({cid, std::move(*data)});
    CO_TRY_STATUS(to.blocks.put(std::move(one), store::Durability::buffered));
  }
  CO_TRY(const auto root, check_snapshot(to.state, offered.root, "test"));
  co_return co_await merge_snapshot(to.state, root, [](const auto&) {});
}

std::map<std::string, Entry> content(runtime::Loop& loop, Desk& desk) {
  std::map<std::string, Entry> out;
  const auto rows = block_on(loop, desk.state.entries("", 1'000'000));
  EXPECT_TRUE(rows);
  for (const auto& [key, entry] : *rows) out.emplace(key, entry);
  return out;
}

bool grounded(const Desk& desk, const SealedDelta& delta) {
  return std::ranges::all_of(delta.delta.parents,
                             [&](const Link& link) { return desk.state.known(link); });
}

// The same deltas, in every causal order, with snapshots in between, give the same versions of
// every key and the same heads.
TEST(Converge, EveryOrderOfDeliveryGivesTheSameContent) {
  for (std::uint64_t seed = 1; seed <= seeds(40); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    runtime::VirtualLoop loop;
    SeededRandom random(seed);
    std::vector<p2p::NodeIdentity> who;
    for (int i = 0; i < 8; ++i)
      who.emplace_back(crypto::KeyPair::generate(random), to_bytes("certificate"));
    std::vector<std::unique_ptr<Desk>> desks;
    // Some fold early, some never.
    for (int i = 0; i < 8; ++i)
      desks.push_back(std::make_unique<Desk>(loop, random, who[static_cast<std::size_t>(i)],
                                             HistoryLimits{i % 2 ? 8u : 4096u, 1u << 20}));
    std::vector<SealedDelta> made;
    // Four write, and hear of one another now and then.
    for (int step = 0; step < 120; ++step) {
      Desk& desk = *desks[random.below(4)];
      const auto dice = random.below(10);
      if (dice < 5) {
        std::optional<Bytes> value;
        if (random.below(3)) value = to_bytes(std::to_string(step));
        auto delta = block_on(loop, write(desk, "k" + std::to_string(random.below(6)), value));
        if (delta) made.push_back(std::move(*delta));
      } else if (dice < 9) {
        for (const auto& delta : made)
          if (grounded(desk, delta) && random.below(4)) {
            ASSERT_TRUE(block_on(loop, give(desk, delta)));
          }
      } else {
        Desk& other = *desks[random.below(4)];
        if (&other != &desk) {
          const auto merged = block_on(loop, merge(other, desk));
          ASSERT_TRUE(merged) << merged.error().to_string();
        }
      }
    }
    // Everybody gets everything: in random causal orders, twice, with snapshots of others.
    for (auto& desk : desks) {
      for (int round = 0; round < 200; ++round) {
        std::vector<const SealedDelta*> open;
        for (const auto& delta : made)
          if (!desk->state.known(delta.link()) && grounded(*desk, delta)) open.push_back(&delta);
        if (open.empty()) break;
        const auto* next = open[random.below(open.size())];
        ASSERT_TRUE(block_on(loop, give(*desk, *next)));
        ASSERT_TRUE(block_on(loop, give(*desk, *next)));
        if (random.below(10) == 0) {
          Desk& other = *desks[random.below(desks.size())];
          if (&other != desk.get()) ASSERT_TRUE(block_on(loop, merge(other, *desk)));
        }
      }
    }
    for (auto& desk : desks)
      for (auto& other : desks)
        if (desk->state.context() != other->state.context()) {
          ASSERT_TRUE(block_on(loop, merge(*other, *desk)));
        }
    const auto expected = content(loop, *desks[0]);
    auto heads = desks[0]->state.heads();
    std::ranges::sort(heads, highest_first);
    for (auto& desk : desks) {
      EXPECT_EQ(desk->state.context(), desks[0]->state.context());
      EXPECT_EQ(content(loop, *desk), expected);
      auto theirs = desk->state.heads();
      std::ranges::sort(theirs, highest_first);
      EXPECT_EQ(theirs, heads);
    }
    if (HasFailure()) return;
  }
}

// Writers write, delete, are cut off, stopped, killed with the power; then all heals.
class Storm {
 public:
  Storm(std::uint64_t seed, std::size_t deltas_max, unsigned gossip_lost_percent)
      : fleet_(seed, options(deltas_max)), random_(seed * 7919) {
    fleet_.gossip_lost_percent = gossip_lost_percent;
    fleet_.grow(5);
  }

  void run(int steps) {
    for (int step = 0; step < steps && !::testing::Test::HasFailure(); ++step) {
      const std::size_t i = random_.below(fleet_.size());
      switch (random_.below(14)) {
        case 0:
          partition();
          break;
        case 1:
          fleet_.network().heal();
          fleet_.reconnect();
          break;
        case 2:
          fleet_.runs(i) ? fleet_.kill(i) : fleet_.start(i);
          break;
        case 3:
          fleet_.runs(i) ? fleet_.stop(i) : fleet_.start(i);
          break;
        case 4:
          fleet_.wait(std::chrono::milliseconds(random_.below(40'000)));
          break;
        case 5:
          doom(i);
          break;
        default:
          if (fleet_.runs(i)) write(i);
          break;
      }
      fleet_.wait(std::chrono::microseconds(random_.below(3000)));
    }
  }

  void check() {
    fleet_.network().heal();
    for (std::size_t i = 0; i < fleet_.size(); ++i)
      if (!fleet_.runs(i)) fleet_.start(i);
    ASSERT_TRUE(fleet_.converge(300s)) << "replicas know different deltas five minutes later";
    fleet_.wait(1s);
    const auto all = fleet_.all(0);
    for (std::size_t i = 1; i < fleet_.size(); ++i) EXPECT_EQ(fleet_.all(i), all) << i;
    for (const auto& [key, value] : kept_)
      EXPECT_TRUE(all.contains(key) && all.at(key) == value) << key << " was acknowledged";
    for (const auto& key : doomed_) EXPECT_FALSE(all.contains(key)) << key << " was deleted";
    for (std::size_t i = 0; i < fleet_.size(); ++i) {
      EXPECT_TRUE(fleet_.wait_for([&] { return fleet_[i].pending() == 0; })) << "waits for ever";
      EXPECT_LE(fleet_[i].state().history_size(),
                fleet_.options().history.deltas_max + fleet_.options().history.deltas_max / 8 + 1);
    }
  }
  std::size_t snapshots() {
    std::size_t n = 0;
    for (std::size_t i = 0; i < fleet_.size(); ++i) n += fleet_[i].counters().sync.snapshots_merged;
    return n;
  }

 private:
  static MapOptions options(std::size_t deltas_max) {
    MapOptions options{.name = "test", .writers = "seer"};
    options.history.deltas_max = deltas_max;
    return options;
  }
  void partition() {
    std::vector<PeerId> side;
    for (std::size_t i = 0; i < fleet_.size(); ++i)
      if (random_.below(2)) side.push_back(fleet_.id(i));
    fleet_.network().partition({side});
  }
  void write(std::size_t i) {
    const auto name = std::to_string(next_++);
    if (random_.below(3) == 0) {  // of its own, and never touched again
      if (fleet_.put(i, "kept/" + name, name)) kept_["kept/" + name] = name;
    } else if (random_.below(3) == 0) {
      (void)fleet_.erase(i, "shared/" + std::to_string(random_.below(5)));
    } else {
      (void)fleet_.put(i, "shared/" + std::to_string(random_.below(5)), name);
    }
  }
  // Deletes keys that this replica sees and that nobody writes any more: they never come back.
  void doom(std::size_t i) {
    if (!fleet_.runs(i)) return;
    std::string key;
    for (const auto& [one, value] : fleet_.all(i, "kept/"))
      if (kept_.contains(one) && random_.below(2)) key = one;
    if (key.empty()) return;
    kept_.erase(key);
    if (fleet_.erase(i, key)) doomed_.insert(key);
  }

  Fleet fleet_;
  SeededRandom random_;
  std::uint64_t next_ = 0;
  std::map<std::string, std::string> kept_;
  std::set<std::string> doomed_;
};

TEST(Converge, AfterAnyStormReplicasAgreeAndNothingAcknowledgedIsLostOrComesBack) {
  std::size_t snapshots = 0;
  for (std::uint64_t seed = 1; seed <= seeds(12); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Storm storm(seed, seed % 3 == 0 ? 4096 : 8, seed % 2 ? 0 : 30);
    storm.run(150);
    storm.check();
    snapshots += storm.snapshots();
    if (HasFailure()) return;
  }
  EXPECT_GT(snapshots, 0u) << "the storms never went through a snapshot";
}

}  // namespace
}  // namespace tau::crdt
