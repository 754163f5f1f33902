// Three seers, a tns stand-in and two substrates, in virtual time. Nodes report as the test says.
#include <gtest/gtest.h>

#include "codec/multibase.h"
#include "codec/peer_id.h"
#include "command/members.h"
#include "net/simulated.h"
#include "p2p/simulated/network.h"
#include "services/seer/service.h"
#include "store/memory/memory_kv.h"

namespace tau::seer {
namespace {

using namespace std::chrono_literals;
using runtime::block_on;

class Seers : public testing::Test {
 protected:
  struct Site {
    explicit Site(command::Member& m) : member(m) {}
    command::Member& member;
    store::MemoryKv disk;
    struct Life {
      std::unique_ptr<store::Kv> rows;
      std::unique_ptr<store::BlockStore> blocks;
      std::unique_ptr<content::Exchange> exchange;
      std::unique_ptr<Service> service;
    };
    std::optional<Life> life;
  };

  Seers()
      : members_(loop_, random_,
                 [this](const crypto::KeyPair& key, p2p::Admission admission) {
                   return std::make_unique<p2p::simulated::SimulatedHost>(
                       peers_, codec::peer_id_of(key.public_key()), std::move(admission), Logger());
                 }),
        reporting_(loop_) {
    for (int i = 0; i < 3; ++i) members_.add({"seer"});
    for (int i = 0; i < 2; ++i) members_.add({"substrate"});
    EXPECT_TRUE(block_on(loop_, members_.start()));
    for (std::size_t i = 0; i < kSeers; ++i) {
      sites_.push_back(std::make_unique<Site>(members_[i]));
      start(i);
      for (std::size_t to = 0; to < kSeers; ++to) reports_.emplace(i, to);
    }
    for (std::size_t i = 0; i < members_.size(); ++i) reporting_.spawn(report_all(i));
  }
  ~Seers() override {
    block_on(loop_, reporting_.stop());
    for (std::size_t i = 0; i < kSeers; ++i) stop(i);
    block_on(loop_, members_.stop());
  }

  void start(std::size_t i) {
    Site& site = *sites_[i];
    auto& life = site.life.emplace();
    life.rows = store::with_prefix(site.disk, "seer/");
    life.blocks = std::make_unique<store::BlockStore>(site.disk);
    life.exchange =
        std::make_unique<content::Exchange>(loop_, *site.member.host, *life.blocks, Logger());
    life.exchange->start();
    life.service = std::make_unique<Service>(
        Roster::Parts{loop_, *site.member.host, *life.exchange, *life.rows, site.member.identity,
                      site.member.admission, random_},
        site.member.router, site.member.caller, sockets_.host(address(i)),
        Options{{address(i), 53}, "cloud.example"}, Logger());
    ASSERT_TRUE(block_on(loop_, life.service->start()));
  }
  void stop(std::size_t i) {
    Site& site = *sites_[i];
    if (!site.life) return;
    block_on(loop_, site.life->service->stop());
    block_on(loop_, site.life->exchange->stop());
    // Its host stays, and with it what was registered there.
    past_.push_back(std::move(site.life->service));
    pasts_.push_back(std::move(*site.life));
    site.life.reset();
  }
  static std::string address(std::size_t i) { return "127.0.1." + std::to_string(i); }

  Announcement what(std::size_t i) {
    const bool seer = i < kSeers;
    return {{seer ? "seer" : "substrate"},
            seer ? std::vector<std::string>{} : std::vector{address(i)},
            80,
            loads_[i],
            {},
            {}};
  }
  NodeStatus status(std::size_t i) {
    return {what(i), lives_[i], numbers_[i], loop_.wall_unix_ms()};
  }
  Result<Report::Response> report(std::size_t from, std::size_t to, bool whole) {
    return block_on(loop_, send(from, to, whole));
  }
  Task<Result<Report::Response>> send(std::size_t from, std::size_t to, bool whole) {
    Report::Request request{lives_[from], numbers_[from], loads_[from], {}};
    if (whole) request.status = members_[from].identity.sign(status(from));
    co_return co_await members_[from].caller.call<Report>(members_[to].host->id(), kProtocol,
                                                          std::move(request), 400ms);
  }
  // As the announcer of a node does.
  Task<void> report_all(std::size_t from) {
    do {
      for (std::size_t to = 0; to < kSeers; ++to) {
        if (!reports_.contains({from, to})) continue;
        const auto known = co_await send(from, to, false);
        if (known && !known->known) (void)co_await send(from, to, true);
      }
    } while (co_await runtime::sleep_for(kReportEvery));
  }

  std::vector<std::string> substrates(std::size_t at) {
    const auto found = block_on(
        loop_, members_[4].caller.call<ListNodes>(id(at), kProtocol, {std::string("substrate")}));
    std::vector<std::string> out;
    if (!found) return {"unreachable"};
    for (const auto& node : found->nodes) out.push_back(node.announcement.addresses.at(0));
    return out;
  }
  bool lists(std::size_t at, std::vector<std::string> expected) {
    std::ranges::sort(expected);
    auto found = substrates(at);
    std::ranges::sort(found);
    return found == expected;
  }
  // How long until that is so; a minute at most.
  Duration until(const std::function<bool()>& condition) {
    const TimePoint began = loop_.now();
    while (!condition() && loop_.now() - began < 60s) wait(10ms);
    return loop_.now() - began;
  }
  void wait(Duration d) { (void)block_on(loop_, runtime::sleep_for(d)); }
  PeerId id(std::size_t i) { return members_[i].host->id(); }
  Service& seer(std::size_t i) { return *sites_[i]->life->service; }
  crdt::Census census(std::size_t i) {
    return block_on(loop_, seer(i).roster().map().census()).value_or(crdt::Census{});
  }

  static constexpr std::size_t kSeers = 3, kA = 3, kB = 4;
  runtime::VirtualLoop loop_;
  SeededRandom random_{1};
  p2p::simulated::SimulatedNetwork peers_{loop_, random_};
  net::SimulatedNetwork sockets_{loop_};
  command::Members members_;
  std::vector<std::unique_ptr<Service>> past_;
  std::vector<Site::Life> pasts_;
  std::vector<std::unique_ptr<Site>> sites_;
  std::set<std::pair<std::size_t, std::size_t>> reports_;  // from, to
  std::map<std::size_t, std::int64_t> lives_{{0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}};
  std::map<std::size_t, std::uint64_t> numbers_{{0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}};
  std::map<std::size_t, std::uint32_t> loads_;
  runtime::TaskGroup reporting_;
};

TEST_F(Seers, EverySeerKnowsWhatOneOfThemHears) {
  reports_.insert({{kA, 0}, {kB, 1}});
  for (std::size_t i = 0; i < kSeers; ++i)
    EXPECT_LT(until([&] { return lists(i, {address(kA), address(kB)}); }), 1s) << "seer " << i;
}

TEST_F(Seers, ADeadNodeLeavesAllSeersAsFastAsTheOneThatHeardIt) {
  reports_.insert({{kA, 0}, {kB, 0}, {kB, 1}});
  ASSERT_LT(until([&] { return lists(2, {address(kA), address(kB)}); }), 1s);
  // Silence, with its connections standing: 2 s since the last report, and a moment.
  reports_.erase({kA, 0});
  EXPECT_LT(until([&] { return lists(2, {address(kB)}); }), 2250ms);
  reports_.insert({kA, 1});
  ASSERT_LT(until([&] { return lists(2, {address(kA), address(kB)}); }), 1s);
  // A process that dies: its connections break.
  reports_.erase({kA, 1});
  peers_.kill(id(kA));
  wait(10ms);
  for (std::size_t i = 0; i < kSeers; ++i) EXPECT_TRUE(lists(i, {address(kB)})) << "seer " << i;
  wait(5s);
  for (std::size_t i = 0; i < kSeers; ++i) EXPECT_TRUE(lists(i, {address(kB)})) << "seer " << i;
}

TEST_F(Seers, ASeerThatDiesTakesNoNodeWithItThatReportsToTheNext) {
  reports_.insert({kA, 0});
  ASSERT_LT(until([&] { return lists(2, {address(kA)}); }), 1s);
  for (std::size_t to = 0; to < kSeers; ++to) reports_.erase({0, to});
  reports_.erase({kA, 0});
  peers_.kill(id(0));
  wait(1s);
  EXPECT_TRUE(lists(2, {address(kA)})) << "what the dead one said counts a moment longer";
  reports_.insert({kA, 1});
  const TimePoint end = loop_.now() + 20s;
  while (loop_.now() < end) {
    wait(100ms);
    ASSERT_TRUE(lists(2, {address(kA)}));
  }
}

TEST_F(Seers, ASeerThatIsCutOffDeclaresNobodyGoneWhomOthersHear) {
  reports_.insert({{kA, 0}, {kA, 1}, {kB, 1}});
  ASSERT_LT(until([&] { return lists(2, {address(kA), address(kB)}); }), 1s);
  peers_.partition({{id(0)}, {id(1), id(2), id(kA), id(kB)}});
  const TimePoint end = loop_.now() + 20s;
  while (loop_.now() < end) {
    wait(100ms);
    ASSERT_TRUE(lists(2, {address(kA), address(kB)}));
  }
  peers_.heal();
  const TimePoint after = loop_.now() + 10s;
  while (loop_.now() < after) {
    wait(100ms);
    ASSERT_TRUE(lists(2, {address(kA), address(kB)}));
    ASSERT_TRUE(lists(1, {address(kA), address(kB)}));
  }
  EXPECT_TRUE(lists(0, {address(kA), address(kB)}));
  EXPECT_LT(until([&] { return census(0) == census(1) && census(1) == census(2); }), 40s);
}

TEST_F(Seers, ARestartedSeerAnswersFromWhatItKeptUntilItHasHeard) {
  reports_.insert({kA, 0});
  ASSERT_LT(until([&] { return lists(0, {address(kA)}); }), 1s);
  wait(1s);
  reports_.clear();
  stop(0);
  sites_[0]->disk.crash();
  wait(1s);
  start(0);
  EXPECT_TRUE(lists(0, {address(kA)})) << "nobody has reported to it yet";
  EXPECT_LT(until([&] { return lists(0, {}); }), 6s) << "and nobody does";
}

TEST_F(Seers, ANodeSpeaksForItselfOnly) {
  auto request = [&](std::size_t of) {
    return Report::Request{1, 1, 0, members_[of].identity.sign(status(of))};
  };
  const auto send = [&](std::size_t from, Report::Request r) {
    return block_on(loop_, members_[from].caller.call<Report>(id(0), kProtocol, std::move(r)));
  };
  EXPECT_EQ(send(kA, request(kB)).error().code(), ErrorCode::invalid_argument);
  auto beyond = status(kA);
  beyond.what.services = {"tns"};
  EXPECT_EQ(send(kA, {1, 1, 0, members_[kA].identity.sign(beyond)}).error().code(),
            ErrorCode::permission_denied);
  auto forged = request(kA);
  forged.status->record.body.back() ^= 1;
  EXPECT_FALSE(send(kA, std::move(forged)));
  // Nor can a seer make up a node, or a capacity: what it writes is not believed.
  auto capacity = members_[kA].identity.sign(status(kA));
  capacity.record.body.back() ^= 1;
  auto& map = const_cast<crdt::Map&>(seer(1).roster().map());
  ASSERT_TRUE(block_on(loop_, map.put(id(kA).str() + "/" + id(1).str(), codec::to_cbor(capacity))));
  ASSERT_TRUE(block_on(loop_, map.put("made-up/" + id(1).str(),
                                      codec::to_cbor(members_[kA].identity.sign(status(kA))))));
  wait(1s);
  for (std::size_t i = 0; i < kSeers; ++i) EXPECT_TRUE(lists(i, {})) << "seer " << i;
}

TEST_F(Seers, WhatASeerSaysStaysAsItSaidIt) {
  reports_.insert({kA, 0});
  ASSERT_LT(until([&] { return lists(2, {address(kA)}); }), 1s);
  auto& map = const_cast<crdt::Map&>(seer(1).roster().map());
  ASSERT_TRUE(block_on(loop_, map.erase(id(kA).str() + "/" + id(0).str())));
  EXPECT_LT(until([&] { return lists(2, {address(kA)}); }), 1s);
  wait(1s);
  EXPECT_TRUE(lists(2, {address(kA)}));
}

TEST_F(Seers, ARevokedNodeIsNotAnsweredAnyMore) {
  reports_.insert({{kA, 0}, {kA, 1}, {kB, 1}});
  ASSERT_LT(until([&] { return lists(2, {address(kA), address(kB)}); }), 1s);
  p2p::RevocationList list;
  list.network = codec::base32_encode(members_.root().public_key().raw());
  list.number = 1;
  list.entries.push_back({.peer = id(kA)});
  const auto raw = p2p::sign_revocations(members_.root(), list);
  ASSERT_TRUE(raw);
  // Only the seer that does not hear it knows: it does not take the others' word.
  members_[2].admission.adopt(*p2p::Revocations::open(members_.root().public_key(), *raw));
  members_[2].host->recheck();
  EXPECT_LT(until([&] { return lists(2, {address(kB)}); }), 1500ms);
  wait(2s);
  EXPECT_TRUE(lists(2, {address(kB)}));
  EXPECT_TRUE(lists(0, {address(kA), address(kB)}));
  for (const std::size_t i : {0, 1}) {
    members_[i].admission.adopt(*p2p::Revocations::open(members_.root().public_key(), *raw));
    members_[i].host->recheck();
  }
  for (std::size_t i = 0; i < kSeers; ++i)
    EXPECT_LT(until([&] { return lists(i, {address(kB)}); }), 1s);
}

TEST_F(Seers, ANodeThatChangesAllTheTimeIsWrittenAtABoundedRate) {
  reports_.insert({kB, 0});
  wait(10s);
  const auto before = seer(0).roster().map().counters().deltas;
  for (int i = 0; i < 600; ++i) {
    ++numbers_[kA];
    ASSERT_TRUE(report(kA, 0, true));
    wait(100ms);
  }
  const auto written = seer(0).roster().map().counters().deltas - before;
  EXPECT_LE(written, 4 + 60 / 5 + 2);
  EXPECT_GE(written, 10u);
}

TEST_F(Seers, WhileNothingChangesNothingIsWritten) {
  reports_.insert({{kA, 0}, {kA, 1}, {kB, 1}});
  wait(10s);
  std::uint64_t before = 0, after = 0;
  for (std::size_t i = 0; i < kSeers; ++i) before += seer(i).roster().map().counters().deltas;
  for (int i = 0; i < 60; ++i) {
    loads_[kA] = static_cast<std::uint32_t>(i % 10);
    wait(1s);
  }
  for (std::size_t i = 0; i < kSeers; ++i) after += seer(i).roster().map().counters().deltas;
  EXPECT_EQ(after, before);
}

// A day of nodes that sign anew every ten minutes, and fall silent in between: what a seer keeps
// does not grow with it.
TEST_F(Seers, AfterADayOfChurnTheStoreIsBounded) {
  block_on(loop_, reporting_.stop());
  stop(2);
  struct Made {
    p2p::NodeIdentity identity;
    NodeStatus status;
  };
  std::vector<Made> nodes;
  for (int i = 0; i < 6; ++i)
    nodes.push_back({members_.add({"substrate"}).identity, {what(kA), 1, 0, 0}});
  std::size_t longest = 0;
  for (int round = 0; round < 144; ++round) {
    for (auto& [identity, status] : nodes) {
      ++status.number;
      status.made_unix_ms = loop_.wall_unix_ms();
      const auto checked =
          check_status(members_[0].admission, identity.sign(status), loop_.wall_unix_ms());
      ASSERT_TRUE(checked) << checked.error().to_string();
      for (std::size_t s = 0; s < 2; ++s) {
        ASSERT_TRUE(const_cast<Nodes&>(seer(s).nodes()).hear(*checked, 0, loop_.now()));
        const_cast<Roster&>(seer(s).roster()).changed(identity.id());
      }
      wait(Duration(10min) / static_cast<int>(nodes.size()));
      longest = std::max(longest, seer(0).roster().map().state().history_size());
    }
  }
  std::uint64_t deltas = 0;
  constexpr std::size_t kLongest = 2048 + 2048 / 8;  // folded when an eighth is too much
  for (std::size_t s = 0; s < 2; ++s) {
    deltas += seer(s).roster().map().counters().deltas;
    // A block and a row for each delta that is kept; the rest is what is there now.
    EXPECT_LE(sites_[s]->disk.size(), 2 * kLongest + 100) << "seer " << s;
  }
  EXPECT_GT(deltas, 3000u) << "too little for a day";
  EXPECT_LE(longest, kLongest);
  EXPECT_GE(longest, 2000u);
}

}  // namespace
}  // namespace tau::seer
