// Durable writes a second into a replicated map on one node beside the same writes into the store
// below it, and how long one write takes to reach ten nodes. Prints one line of JSON.
//   map_bench FOLDER [SECONDS]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "command/members.h"
#include "crdt/map.h"
#include "p2p/libp2p/host.h"
#include "store/rocks/rocks_kv.h"

namespace tau::crdt {
namespace {

using namespace std::chrono_literals;
using runtime::block_on;

constexpr std::size_t kValueSize = 100;

struct World {
  runtime::RealLoop loop;
  runtime::ThreadPool pool{2};
  store::RocksEnvironment environment{pool};
  p2p::libp2p::Runtime runtime;
  SystemRandom random;
  std::string folder;
  command::Members members{
      loop, random, [this](const crypto::KeyPair& key, p2p::Admission admission) {
        return std::make_unique<p2p::libp2p::LibP2pHost>(
            loop, runtime, p2p::libp2p::Options{.key = key, .admission = std::move(admission)},
            Logger());
      }};
};

template <class T>
T must(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "map_bench: %s\n", result.error().to_string().c_str());
    std::exit(1);
  }
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

struct Node {
  Node(World& world, command::Member& member, const std::string& name)
      : disk(must(block_on(world.loop,
                           store::RocksKv::open(world.environment, world.folder + "/" + name)))),
        rows(store::with_prefix(*disk, "crdt/")),
        blocks(*disk),
        exchange(world.loop, *member.host, blocks, Logger()),
        map(world.loop, *member.host, exchange, *rows, member.identity, member.admission,
            world.random, {.name = "bench", .writers = "seer"}, Logger()) {
    exchange.start();
    must(block_on(world.loop, map.start()));
  }
  std::unique_ptr<store::RocksKv> disk;
  std::unique_ptr<store::Kv> rows;
  store::BlockStore blocks;
  content::Exchange exchange;
  Map map;
};

struct Load {
  TimePoint end;
  std::uint64_t writes = 0;
};

std::string key_of(std::uint64_t n) {
  char text[32];
  std::snprintf(text, sizeof text, "key/%012llu", static_cast<unsigned long long>(n * 7919));
  return text;
}

Task<void> write_map(Map& map, runtime::Loop& loop, Load& load) {
  while (loop.now() < load.end) {
    must(co_await map.put(key_of(load.writes), Bytes(kValueSize, 'x')));
    ++load.writes;
  }
}

Task<void> write_store(store::Kv& kv, runtime::Loop& loop, Load& load) {
  while (loop.now() < load.end) {
    store::Batch batch;
    batch.put(key_of(load.writes), Bytes(kValueSize, 'x'));
    must(co_await kv.write(std::move(batch), store::Durability::synced));
    ++load.writes;
  }
}

struct Rate {
  double per_second = 0, fsyncs_per_second = 0;
};

template <class F>
Rate measure(World& world, store::RocksKv& disk, Duration time, int writers, F writer) {
  Load load{world.loop.now() + time};
  const auto before = world.loop.now();
  const auto fsyncs = disk.fsyncs();
  runtime::TaskGroup group(world.loop);
  for (int i = 0; i < writers; ++i) group.spawn(writer(load));
  block_on(world.loop, group.join());
  const double seconds = std::chrono::duration<double>(world.loop.now() - before).count();
  return {static_cast<double>(load.writes) / seconds,
          static_cast<double>(disk.fsyncs() - fsyncs) / seconds};
}

int run(std::string folder, int seconds) {
  World world;
  world.folder = std::move(folder);
  for (int i = 0; i < 10; ++i) world.members.add({"seer"});
  must(block_on(world.loop, world.members.start()));
  std::vector<std::unique_ptr<Node>> nodes;
  for (std::size_t i = 0; i < 10; ++i)
    nodes.push_back(std::make_unique<Node>(world, world.members[i], "n" + std::to_string(i)));
  (void)block_on(world.loop, runtime::sleep_for(2s));  // gossip meshes form by heartbeats of 1 s

  std::vector<double> times_ms;
  for (int n = 0; n < 60; ++n) {
    const std::string key = "converge/" + std::to_string(n);
    const auto before = world.loop.now();
    int left = 10;
    std::vector<Map::Subscription> subscriptions;
    for (auto& node : nodes)
      subscriptions.push_back(node->map.subscribe(key, [&](const Change&) { --left; }));
    must(block_on(world.loop,
                  nodes[static_cast<std::size_t>(n) % 10]->map.put(key, Bytes(kValueSize))));
    while (left > 0 && world.loop.now() - before < 10s) world.loop.run_some();
    times_ms.push_back(
        std::chrono::duration<double, std::milli>(world.loop.now() - before).count());
  }
  std::ranges::sort(times_ms);

  for (std::size_t i = 1; i < 10; ++i) {
    block_on(world.loop, nodes[i]->map.stop());
    block_on(world.loop, nodes[i]->exchange.stop());
    block_on(world.loop, world.members[i].host->stop());
  }
  Node& node = *nodes[0];
  auto plain =
      must(block_on(world.loop, store::RocksKv::open(world.environment, world.folder + "/plain")));
  // In turns, so that a busy moment hits both.
  std::vector<double> ratios;
  Rate best_map, best_plain, one_map, one_plain;
  for (int round = 0; round < 3; ++round) {
    const auto time = Duration(std::chrono::seconds(seconds)) / 3;
    const Rate map = measure(world, *node.disk, time, 64,
                             [&](Load& load) { return write_map(node.map, world.loop, load); });
    const Rate below = measure(world, *plain, time, 64,
                               [&](Load& load) { return write_store(*plain, world.loop, load); });
    ratios.push_back(map.per_second / below.per_second);
    best_map =
        std::max(best_map, map, [](auto& a, auto& b) { return a.per_second < b.per_second; });
    best_plain =
        std::max(best_plain, below, [](auto& a, auto& b) { return a.per_second < b.per_second; });
  }
  one_map = measure(world, *node.disk, Duration(std::chrono::seconds(seconds)) / 3, 1,
                    [&](Load& load) { return write_map(node.map, world.loop, load); });
  one_plain = measure(world, *plain, Duration(std::chrono::seconds(seconds)) / 3, 1,
                      [&](Load& load) { return write_store(*plain, world.loop, load); });
  std::ranges::sort(ratios);
  std::printf(
      "{\"writers\": 64, \"map_per_second\": %.0f, \"store_per_second\": %.0f, \"ratio\": %.3f, "
      "\"map_fsyncs_per_second\": %.0f, \"store_fsyncs_per_second\": %.0f, "
      "\"one_writer_map_per_second\": %.0f, \"one_writer_store_per_second\": %.0f, "
      "\"converge_p50_ms\": %.2f, \"converge_p99_ms\": %.2f}\n",
      best_map.per_second, best_plain.per_second, ratios[1], best_map.fsyncs_per_second,
      best_plain.fsyncs_per_second, one_map.per_second, one_plain.per_second,
      times_ms[times_ms.size() / 2], times_ms[times_ms.size() * 99 / 100]);
  plain.reset();
  block_on(world.loop, node.map.stop());
  block_on(world.loop, node.exchange.stop());
  block_on(world.loop, world.members.stop());
  return 0;
}

}  // namespace
}  // namespace tau::crdt

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: map_bench FOLDER [SECONDS]\n");
    return 2;
  }
  return tau::crdt::run(argv[1], argc > 2 ? std::max(1, std::atoi(argv[2])) : 6);
}
