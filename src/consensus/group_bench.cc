// Three voters on this machine: real sockets, real disks with fsync, one process. Prints one line
// of JSON. Usage: consensus_bench FOLDER SECONDS
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "consensus/libp2p_member.h"
#include "store/rocks/rocks_kv.h"

namespace tau::consensus {
namespace {

using namespace std::chrono_literals;
using runtime::block_on;

constexpr std::size_t kCommandSize = 400;  // a signed pointer's move, about

double us(Duration d) { return static_cast<double>(d.count()) / 1e3; }
double p50(std::vector<double> values) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[values.size() / 2];
}

// What the disk takes for one write of that size, alone: the floor.
double fsync_p50_us(const std::string& file) {
  const int fd = ::open(file.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
  CHECK(fd >= 0);
  const Bytes data(kCommandSize, 7);
  SystemClock clock;
  std::vector<double> times;
  for (int i = 0; i < 300; ++i) {
    const auto from = clock.now();
    CHECK(::write(fd, data.data(), data.size()) == static_cast<ssize_t>(data.size()));
    CHECK(::fdatasync(fd) == 0);
    times.push_back(us(clock.now() - from));
  }
  ::close(fd);
  return p50(times);
}

Task<void> mover(Group& group, runtime::Loop& loop, TimePoint until, std::vector<double>& times) {
  while (loop.now() < until) {
    const auto from = loop.now();
    const auto answer = co_await group.propose(Bytes(kCommandSize, 7));
    CHECK(answer);
    times.push_back(us(loop.now() - from));
  }
}

int run(const std::string& folder, int seconds) {
  runtime::RealLoop loop;
  runtime::ThreadPool pool{4};
  store::RocksEnvironment environment(pool);
  p2p::libp2p::Runtime runtime;
  p2p::TestNetwork network;
  const double fsync_us = fsync_p50_us(folder + "/floor");
  std::vector<std::unique_ptr<store::RocksKv>> disks;
  std::vector<std::unique_ptr<LibP2pMember>> members;
  std::vector<PeerId> founders;
  for (int i = 0; i < 3; ++i) {
    auto disk = block_on(loop, store::RocksKv::open(environment, folder + "/" + std::to_string(i)));
    CHECK(disk);
    disks.push_back(*std::move(disk));
    members.push_back(std::make_unique<LibP2pMember>(loop, runtime, network, *disks.back()));
    CHECK(members.back()->listen());
    founders.push_back(members.back()->host.id());
  }
  for (auto& a : members)
    for (auto& b : members)
      if (a != b) CHECK(block_on(loop, a->host.connect(b->host.addresses()[0])));
  for (auto& m : members) CHECK(m->up(founders));
  LibP2pMember* leader = nullptr;
  while (!leader) {
    (void)block_on(loop, runtime::sleep_for(10ms));
    for (auto& m : members)
      if (m->group->is_leader()) leader = m.get();
  }
  CHECK(block_on(loop, leader->group->propose(Bytes(kCommandSize, 7))));

  // A linearizable read is one round trip to a majority and no fsync.
  std::vector<double> reads, alone, many;
  for (int i = 0; i < 300; ++i) {
    const auto from = loop.now();
    CHECK(block_on(loop, leader->group->read_barrier()));
    reads.push_back(us(loop.now() - from));
  }
  const auto limit = std::chrono::seconds(seconds);
  block_on(loop, mover(*leader->group, loop, loop.now() + limit / 2, alone));
  const auto from = loop.now();
  runtime::TaskGroup tasks(loop);
  for (int i = 0; i < 64; ++i) tasks.spawn(mover(*leader->group, loop, from + limit / 2, many));
  block_on(loop, tasks.join());
  const double took = us(loop.now() - from) / 1e6;
  std::printf(
      "{\"fsync_p50_us\": %.1f, \"round_p50_us\": %.1f, \"move_p50_us\": %.1f, "
      "\"moves_per_second\": %.1f, \"busy_p50_us\": %.1f}\n",
      fsync_us, p50(reads), p50(alone), static_cast<double>(many.size()) / took, p50(many));
  for (auto& m : members) m->down();
  return 0;
}

}  // namespace
}  // namespace tau::consensus

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: consensus_bench FOLDER SECONDS\n");
    return 2;
  }
  return tau::consensus::run(argv[1], std::atoi(argv[2]));
}
