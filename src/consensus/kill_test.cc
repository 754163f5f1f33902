// A process of its own, a disk of its own, and kill -9 in the middle of the work.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <vector>

#include "codec/peer_id.h"
#include "consensus/counter.h"
#include "consensus/group.h"
#include "p2p/simulated/network.h"
#include "store/rocks/rocks_kv.h"

namespace tau::consensus {
namespace {

using runtime::block_on;

// A group of one on RocksDB, real time and a real disk; the same node each time.
struct Node {
  explicit Node(const std::string& directory)
      : key(*crypto::KeyPair::from_seed(Bytes(32, 7))),
        wires(loop, random),
        host(wires, codec::peer_id_of(key.public_key()), admit(), Logger()) {
    EXPECT_TRUE(block_on(loop, host.start()));
    auto opened = block_on(loop, store::RocksKv::open(environment, directory));
    EXPECT_TRUE(opened) << opened.error().to_string();
    kv = *std::move(opened);
    EXPECT_TRUE(groups.start());
    Group::Options options;
    options.name = "test";
    options.voters = {host.id()};
    options.snapshot_after = 64;  // so that a kill also meets snapshots
    options.keep = 8;
    group = std::make_unique<Group>(groups, *kv, options, machine);
    const auto started = block_on(loop, group->start());
    EXPECT_TRUE(started) << started.error().to_string();
  }
  ~Node() {
    block_on(loop, group->stop());
    block_on(loop, groups.stop());
    block_on(loop, host.stop());
  }
  p2p::Admission admit() const {
    p2p::Certificate c;
    c.network = p2p::Admission(key.public_key(), {}).network();
    c.peer = codec::peer_id_of(key.public_key());
    c.roles = {"tns"};
    c.not_after_unix_ms = SystemClock().wall_unix_ms() + 86'400'000;
    return p2p::Admission(key.public_key(), p2p::sign_certificate(key, c));
  }
  runtime::RealLoop loop;
  SystemRandom random;
  crypto::KeyPair key;
  runtime::ThreadPool pool{2};
  store::RocksEnvironment environment{pool};
  p2p::simulated::SimulatedNetwork wires;
  p2p::simulated::SimulatedHost host;
  Groups groups{loop, host, random, Logger(), {.name = "test", .role = "tns"}};
  Counter machine;
  std::unique_ptr<store::Kv> kv;
  std::unique_ptr<Group> group;
};

std::string scratch() {
  std::string name = (std::filesystem::temp_directory_path() / "tau-raft-XXXXXX").string();
  CHECK(::mkdtemp(name.data()));
  return name;
}

// Counts up until it is killed, and says each number that was acknowledged.
[[noreturn]] void count_until_killed(const std::string& directory, int out) {
  Node node(directory);
  for (;;) {
    const auto answer = block_on(node.loop, node.group->propose(Bytes{1}));
    const long number = answer ? std::stol(to_text(*answer)) : -1;
    if (::write(out, &number, sizeof number) != sizeof number) std::_Exit(1);
  }
}

TEST(SingleVoter, KilledInTheMiddleLosesNothingItAcknowledged) {
  const std::string directory = scratch();
  long acknowledged = 0;
  for (int round = 0; round < 4; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) count_until_killed(directory, ends[1]);
    ::close(ends[1]);
    const long until = acknowledged + 50 + 17 * round;
    long number = 0;
    while (acknowledged < until && ::read(ends[0], &number, sizeof number) == sizeof number) {
      ASSERT_GT(number, acknowledged) << "a number came back that had been given already";
      acknowledged = number;
    }
    ::kill(child, SIGKILL);
    while (::read(ends[0], &number, sizeof number) == sizeof number) acknowledged = number;
    ::close(ends[0]);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    EXPECT_GE(acknowledged, until);
  }
  Node node(directory);
  EXPECT_GE(node.machine.count, acknowledged);
  EXPECT_LE(node.machine.count, acknowledged + 4) << "at most one under way at each kill";
  std::filesystem::remove_all(directory);
}

// Rounds alternate, so that what else the machine does meets both; the fastest of each are
// compared.
TEST(SingleVoter, AProposalOnARealDiskCostsAboutAnFsync) {
  const std::string directory = scratch();
  {
    Node node(directory);
    const auto time_us = [&](auto work) {
      const auto start = node.loop.now();
      work();
      return (node.loop.now() - start) / std::chrono::microseconds(1);
    };
    std::vector<long> writes, proposals;
    for (int i = 0; i < 201; ++i) {
      writes.push_back(time_us([&] {
        store::Batch batch;
        batch.put("z", Bytes(64));
        EXPECT_TRUE(
            block_on(node.loop, node.kv->write(std::move(batch), store::Durability::synced)));
      }));
      proposals.push_back(
          time_us([&] { EXPECT_TRUE(block_on(node.loop, node.group->propose(Bytes(64)))); }));
    }
    std::ranges::sort(writes);
    std::ranges::sort(proposals);
    std::printf("p50: synced write %ld us, proposal %ld us\n", writes[100], proposals[100]);
    EXPECT_LT(proposals[0], 3 * writes[0] + 1000);
  }
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace tau::consensus
