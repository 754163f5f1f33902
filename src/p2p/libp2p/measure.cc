// What libp2p costs on this machine, over loopback: connecting, small requests, a long stream, a
// universe of hosts. Prints one line per figure; run on a quiet machine.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>

#include "p2p/host_conformance.h"
#include "p2p/libp2p/host.h"
#include "p2p/test_network.h"

namespace tau::p2p::libp2p {
namespace {

using SteadyClock = std::chrono::steady_clock;

double ms_since(SteadyClock::time_point start) {
  return std::chrono::duration<double, std::milli>(SteadyClock::now() - start).count();
}

double cpu_ms() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto ms = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_usec) / 1e3;
  };
  return ms(usage.ru_utime) + ms(usage.ru_stime);
}

double rss_mib() {
  std::ifstream statm("/proc/self/statm");
  double pages = 0;
  statm >> pages >> pages;
  return pages * 4096 / (1 << 20);
}

class World {
 public:
  ~World() {
    for (auto& host : hosts_) runtime::block_on(loop_, host->stop());
  }
  LibP2pHost& make(const std::string& listen) {
    const auto key = network_.make_key();
    const PeerId id = codec::peer_id_of(key.public_key());
    Options options{.key = key, .admission = network_.admission(id, loop_.wall_unix_ms())};
    options.listen = {listen};
    hosts_.push_back(std::make_unique<LibP2pHost>(loop_, runtime_, std::move(options), Logger()));
    return *hosts_.back();
  }
  template <class T>
  T run(Task<T> task) {
    return runtime::block_on(loop_, std::move(task));
  }
  runtime::RealLoop& loop() { return loop_; }

 private:
  runtime::RealLoop loop_;
  Runtime runtime_;
  TestNetwork network_;
  std::vector<std::unique_ptr<LibP2pHost>> hosts_;
};

Task<void> answer(std::unique_ptr<Stream> stream) {
  Bytes request(1024);
  if (!co_await read_exactly(*stream, request)) co_return;
  if (co_await stream->write(request)) (void)co_await stream->close_write();
}

Task<void> swallow(std::unique_ptr<Stream> stream) {
  Bytes chunk(256 * 1024);
  while (true) {
    const auto n = co_await stream->read(chunk);
    if (!n || *n == 0) break;
  }
  const Bytes done(1);
  (void)co_await stream->write(done);
  (void)co_await stream->close_write();
}

Task<Status> request(Host& host, PeerId peer) {
  const Bytes data(1024, 7);
  Bytes back(1024);
  CO_TRY(const auto stream, host.open(peer, "/request/1"));
  CO_TRY_STATUS(stream->write(data));
  CO_TRY_STATUS(read_exactly(*stream, back));
  co_return Status{};
}

Task<Status> send(Host& host, PeerId peer, std::size_t size) {
  const Bytes chunk(256 * 1024, 7);
  Bytes done(1);
  CO_TRY(const auto stream, host.open(peer, "/swallow/1"));
  for (std::size_t sent = 0; sent < size; sent += chunk.size()) CO_TRY_STATUS(stream->write(chunk));
  CO_TRY_STATUS(stream->close_write());
  CO_TRY_STATUS(read_exactly(*stream, done));
  co_return Status{};
}

void pair(const char* name, const std::string& listen) {
  World world;
  LibP2pHost &a = world.make(listen), &b = world.make(listen);
  CHECK(world.run(a.start()).has_value() && world.run(b.start()).has_value());
  b.handle("/request/1", answer);
  b.handle("/swallow/1", swallow);
  auto start = SteadyClock::now();
  CHECK(world.run(a.connect(b.addresses().at(0))).has_value());
  std::printf("%-5s connect and admission        %8.2f ms\n", name, ms_since(start));
  constexpr int kRequests = 2000;
  std::vector<double> took;
  for (int i = 0; i < 100; ++i) CHECK(world.run(request(a, b.id())).has_value());
  const double cpu = cpu_ms();
  for (int i = 0; i < kRequests; ++i) {
    start = SteadyClock::now();
    CHECK(world.run(request(a, b.id())).has_value());
    took.push_back(ms_since(start) * 1e3);
  }
  std::sort(took.begin(), took.end());
  std::printf("%-5s open + 1 KiB there and back  %8.0f us p50, %.0f us p99, %.0f us CPU\n", name,
              took[kRequests / 2], took[kRequests * 99 / 100], (cpu_ms() - cpu) * 1e3 / kRequests);
  start = SteadyClock::now();
  const double before = cpu_ms();
  CHECK(world.run(send(a, b.id(), 64 << 20)).has_value());
  std::printf("%-5s 64 MiB stream                %8.0f MiB/s, %.0f MiB per CPU second\n", name,
              64e3 / ms_since(start), 64e3 / (cpu_ms() - before));
}

void universe(std::size_t count, bool idle) {
  World world;
  std::vector<LibP2pHost*> hosts;
  const double memory = rss_mib();
  const auto start = SteadyClock::now();
  const double cpu = cpu_ms();
  runtime::TaskGroup group(world.loop());
  for (std::size_t i = 0; i < count; ++i) hosts.push_back(&world.make("/ip4/127.0.0.1/tcp/0"));
  for (auto* host : hosts)
    group.spawn(
        [](LibP2pHost& h) -> Task<void> { CHECK((co_await h.start()).has_value()); }(*host));
  world.run(group.join());
  const double started = ms_since(start);
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t j = 0; j < i; ++j)
      group.spawn([](LibP2pHost& from, std::string to) -> Task<void> {
        const auto r = co_await from.connect(to);
        if (!r) std::printf("%s\n", r.error().to_string().c_str());
      }(*hosts[i], hosts[j]->addresses().at(0)));
  world.run(group.join());
  const auto full = [&] {
    return std::all_of(hosts.begin(), hosts.end(),
                       [&](auto* h) { return h->peers().size() == count - 1; });
  };
  CHECK(world.run(until(full, "all connected")).has_value());
  std::printf(
      "%2zu hosts up in %.0f ms, fully connected (%zu) after %.0f ms, %.0f ms CPU, %.0f MiB\n",
      count, started, count * (count - 1) / 2, ms_since(start), cpu_ms() - cpu, rss_mib() - memory);
  if (!idle) return;
  CHECK(world.run(runtime::sleep_for(std::chrono::seconds(5)))
            .has_value());  // identify settles; Kademlia fills its buckets for another half minute
  for (int i = 0; i < 4; ++i) {
    const double settled = cpu_ms();
    CHECK(world.run(runtime::sleep_for(std::chrono::seconds(15))).has_value());
    std::printf("%2zu hosts idle: %.1f %% of a core\n", count, (cpu_ms() - settled) / 150);
  }
}

}  // namespace
}  // namespace tau::p2p::libp2p

int main(int argc, char** argv) {
  using namespace tau::p2p::libp2p;
  pair("tcp", "/ip4/127.0.0.1/tcp/0");
  pair("quic", "/ip4/127.0.0.1/udp/0/quic-v1");
  universe(10, false);
  if (argc > 1 && std::string_view(argv[1]) == "idle") {
    universe(10, true);
    universe(50, true);
  }
}
