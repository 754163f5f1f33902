// Holds the messages and bytes of the simulated network against real hosts that do the same over
// loopback: meet, idle, gossip, look up. Prints a table; exit code 1 when they are further apart
// than a fifth.
//
//   p2p_counts [HOSTS [SECONDS]]     50 hosts, 120 s of idling and as much gossip
//
// Of real hosts the kernel counts what each socket was given (TCP_INFO): bytes without headers of
// TCP and IP, and segments that carried any. A protocol's share is the difference to idling.
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "codec/peer_id.h"
#include "p2p/libp2p/host.h"
#include "p2p/simulated/network.h"
#include "p2p/test_network.h"
#include "runtime/task_group.h"

namespace tau::p2p {
namespace {

using namespace std::chrono_literals;
using simulated::Traffic;

constexpr std::size_t kGossipBytes = 200;
constexpr Duration kGossipEvery = 6s;  // ten a minute, of the whole network
constexpr std::size_t kLookups = 30;
constexpr double kApartMax = 0.2;
constexpr int kFilesMax = 65'536;

Traffic sent_by_sockets() {
  Traffic all;
  for (int fd = 0; fd < kFilesMax; ++fd) {
    tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) continue;
    all.bytes += info.tcpi_bytes_acked;
    all.messages += info.tcpi_data_segs_out;
  }
  return all;
}

struct Phase {
  std::string name;
  double seconds = 0;
  Traffic sent;
  Traffic own = {};  // of what the phase is about, where that is known
};

// The same for both worlds, which differ in their hosts, their loop and how they count.
template <class World>
std::vector<Phase> play(World& world, std::size_t count, Duration lasts) {
  std::vector<Phase> phases;
  Traffic before = world.sent();
  TimePoint began = world.loop().now();
  const auto end_phase = [&](const std::string& name) {
    const Traffic now = world.sent();
    const TimePoint at = world.loop().now();
    phases.push_back({name,
                      std::chrono::duration<double>(at - began).count(),
                      {now.messages - before.messages, now.bytes - before.bytes},
                      world.sent_for(name)});
    before = now;
    began = at;
  };
  const auto pass = [&](Duration time) {
    CHECK(runtime::block_on(world.loop(), runtime::sleep_for(time)).has_value());
  };
  const auto heard = std::make_shared<std::size_t>(0);
  std::vector<Host*> hosts;
  for (std::size_t i = 0; i < count; ++i) {
    hosts.push_back(&world.make());
    hosts.back()->subscribe("/tau/counts/1", [heard](const PeerId&, BytesView) { ++*heard; });
    CHECK(runtime::block_on(world.loop(), hosts.back()->start()).has_value());
  }
  for (std::size_t i = 1; i < count; ++i) {
    // One newcomer after the other, as a network grows.
    runtime::TaskGroup dialing(world.loop());
    for (std::size_t j = 0; j < i; ++j)
      dialing.spawn([](Host& from, std::string to) -> Task<void> {
        CHECK((co_await from.connect(std::move(to))).has_value());
      }(*hosts[i], hosts[j]->addresses().at(0)));
    runtime::block_on(world.loop(), dialing.join());
  }
  pass(30s);
  end_phase("meeting");
  pass(lasts);
  end_phase("idling");
  SeededRandom random(5);
  std::size_t said = 0;
  for (Duration passed{}; passed < lasts; passed += kGossipEvery, ++said) {
    CHECK(hosts[random.below(count)]->publish("/tau/counts/1", Bytes(kGossipBytes, 7)).has_value());
    pass(kGossipEvery);
  }
  std::fprintf(stderr, "%zu of %zu heard\n", *heard, said * (count - 1));
  end_phase("gossip");
  std::size_t answered = 0;
  for (std::size_t i = 0; i < kLookups; ++i) {
    Bytes key(34);
    random.fill(key);
    CHECK(runtime::block_on(world.loop(), hosts[random.below(count)]->provide(key)).has_value());
    pass(200ms);  // who is told does not answer
    const auto found =
        runtime::block_on(world.loop(), hosts[random.below(count)]->find_providers(key, 8));
    CHECK(found.has_value());
    answered += found->empty() ? 0 : 1;
  }
  std::fprintf(stderr, "%zu of %zu found\n", answered, kLookups);
  pass(5s);
  end_phase("lookups");
  for (Host* host : hosts) runtime::block_on(world.loop(), host->stop());
  return phases;
}

class RealWorld {
 public:
  Host& make() {
    const auto key = network_.make_key();
    const PeerId id = codec::peer_id_of(key.public_key());
    libp2p::Options options{.key = key, .admission = network_.admission(id, loop_.wall_unix_ms())};
    hosts_.push_back(
        std::make_unique<libp2p::LibP2pHost>(loop_, runtime_, std::move(options), Logger()));
    return *hosts_.back();
  }
  runtime::RealLoop& loop() { return loop_; }
  Traffic sent() { return sent_by_sockets(); }
  Traffic sent_for(const std::string&) { return {}; }

 private:
  runtime::RealLoop loop_;
  libp2p::Runtime runtime_;
  TestNetwork network_;
  std::vector<std::unique_ptr<libp2p::LibP2pHost>> hosts_;
};

class SimulatedWorld {
 public:
  Host& make() {
    const PeerId id = codec::peer_id_of(keys_.make_key().public_key());
    hosts_.push_back(std::make_unique<simulated::SimulatedHost>(
        network_, id, keys_.admission(id, loop_.wall_unix_ms()), Logger()));
    return *hosts_.back();
  }
  runtime::VirtualLoop& loop() { return loop_; }
  Traffic sent() { return {network_.messages(), network_.bytes()}; }
  const simulated::Counts& counts() { return network_.counts(); }
  // Of what the phase is about, since it was asked before.
  Traffic sent_for(const std::string& phase) {
    const simulated::Counts last = std::exchange(last_, network_.counts());
    Traffic own;
    for (std::size_t i = 0; i < simulated::kKinds; ++i) {
      const auto kind = static_cast<simulated::Kind>(i);
      const bool counts = phase == "meeting"  ? kind != simulated::Kind::ping
                          : phase == "gossip" ? kind == simulated::Kind::gossip
                                              : kind == simulated::Kind::kademlia;
      if (counts) own.add(last_[i].bytes - last[i].bytes, last_[i].messages - last[i].messages);
    }
    return own;
  }

 private:
  runtime::VirtualLoop loop_;
  SeededRandom random_{7};
  TestNetwork keys_;
  simulated::SimulatedNetwork network_{loop_, random_};
  std::vector<std::unique_ptr<simulated::SimulatedHost>> hosts_;
  simulated::Counts last_{};
};

// What a phase sent beyond what idling would have.
Traffic beyond(const Phase& phase, const Phase& idle) {
  const double share = phase.seconds / idle.seconds;
  const auto rest = [&](std::uint64_t all, std::uint64_t idling) {
    const double left = static_cast<double>(all) - share * static_cast<double>(idling);
    return static_cast<std::uint64_t>(std::max(left, 0.0));
  };
  return {rest(phase.sent.messages, idle.sent.messages), rest(phase.sent.bytes, idle.sent.bytes)};
}

int compare(std::size_t count, Duration lasts) {
  SimulatedWorld simulated;
  const auto ours = play(simulated, count, lasts);
  RealWorld real;
  const auto theirs = play(real, count, lasts);
  std::printf("%zu hosts, all connected; sent by all of them together\n", count);
  std::printf("%-8s %10s %10s %6s %12s %12s %6s\n", "", "messages", "real", "ratio", "bytes",
              "real", "ratio");
  bool agree = true;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const bool idle = ours[i].name == "idling";
    const Traffic a = idle ? ours[i].sent : ours[i].own;
    const Traffic b = idle ? theirs[i].sent : beyond(theirs[i], theirs[1]);
    const double messages = static_cast<double>(a.messages) / static_cast<double>(b.messages);
    const double bytes = static_cast<double>(a.bytes) / static_cast<double>(b.bytes);
    std::printf("%-8s %10lu %10lu %6.2f %12lu %12lu %6.2f   (%.0f s, real %.0f s)\n",
                ours[i].name.c_str(), a.messages, b.messages, messages, a.bytes, b.bytes, bytes,
                ours[i].seconds, theirs[i].seconds);
    for (const double ratio : {messages, bytes})
      agree = agree && ratio > 1 - kApartMax && ratio < 1 + kApartMax;
  }
  for (std::size_t i = 0; i < simulated::kKinds; ++i)
    std::printf("simulated %-10s %10lu messages %12lu bytes\n",
                std::string(simulated::kKindNames[i]).c_str(), simulated.counts()[i].messages,
                simulated.counts()[i].bytes);
  std::printf(agree ? "they agree within a fifth\n" : "they are further apart than a fifth\n");
  return agree ? 0 : 1;
}

}  // namespace
}  // namespace tau::p2p

int main(int argc, char** argv) {
  const std::size_t hosts = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 50;
  const long seconds = argc > 2 ? std::strtol(argv[2], nullptr, 10) : 120;
  return tau::p2p::compare(hosts, std::chrono::seconds(seconds));
}
