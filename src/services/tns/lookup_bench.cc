// What it costs to learn where a host points: from the asker's cache, and from a replica over a
// real connection of this machine, one question at a time. Baseline: a stream of the same
// connection that is opened, carries one byte each way, and is closed. Prints one line of JSON,
// microseconds.
#include <algorithm>
#include <chrono>
#include <cstdio>

#include "p2p/libp2p/host.h"
#include "services/tns/service_scenario.h"

namespace tau::tns {
namespace {

constexpr int kHits = 1'000'000, kQuestions = 2'000;
constexpr std::string_view kEcho = "/tau/bench/echo/1";
using Time = std::chrono::steady_clock;

double us(Time::duration d) { return std::chrono::duration<double, std::micro>(d).count(); }

double median(std::vector<double> all) {
  std::ranges::sort(all);
  return all[all.size() / 2];
}

Task<void> echo(std::unique_ptr<p2p::Stream> stream) {
  std::uint8_t byte = 0;
  if (co_await p2p::read_exactly(*stream, {&byte, 1}))
    (void)co_await stream->write(BytesView(&byte, 1));
}

Task<Status> one_byte(p2p::Host& host, PeerId to) {
  CO_TRY(const auto stream, host.open(std::move(to), std::string(kEcho)));
  std::uint8_t byte = 7;
  CO_TRY_STATUS(stream->write(BytesView(&byte, 1)));
  co_return co_await p2p::read_exactly(*stream, {&byte, 1});
}

int run() {
  runtime::RealLoop loop;
  SystemRandom random;
  p2p::libp2p::Runtime runtime;
  Town t(
      loop, random,
      [&](const crypto::KeyPair& key, p2p::Admission admission) {
        return std::make_unique<p2p::libp2p::LibP2pHost>(
            loop, runtime, p2p::libp2p::Options{.key = key, .admission = std::move(admission)},
            Logger());
      },
      {}, 3);
  const std::string host = "hello.x.localhost";
  if (!t.wait_leader() || !t.publish(t.chain(1, {host}))) return 1;
  if (!t.wait([&] { return bool(t.lookup(host)); })) return 1;

  double best_hit = 1e9;
  for (int round = 0; round < 5; ++round) {
    if (!t.lookup(host)) return 1;
    int found = 0;
    const auto begun = Time::now();
    for (int i = 0; i < kHits / 5; ++i) found += t.client.cached(host) ? 1 : 0;
    best_hit = std::min(best_hit, us(Time::now() - begun) / (kHits / 5));
    if (found == 0) return 1;
  }

  // Whoever does not lead.
  TnsNode* replica = nullptr;
  for (auto& node : t.nodes)
    if (&node != t.leader()) replica = &node;
  if (!replica) return 1;
  replica->member.host->handle(std::string(kEcho), echo);
  const PeerId at = replica->member.identity.id();
  std::vector<double> lookups, streams;
  for (int i = 0; i < kQuestions; ++i) {  // in turn, so that a busy moment hits both
    auto begun = Time::now();
    if (!runtime::block_on(loop, t.substrate.caller.call<Lookup>(at, kProtocol, {host}))) continue;
    lookups.push_back(us(Time::now() - begun));
    begun = Time::now();
    if (!runtime::block_on(loop, one_byte(*t.substrate.host, at))) continue;
    streams.push_back(us(Time::now() - begun));
  }
  if (lookups.size() < kQuestions / 2 || streams.size() < kQuestions / 2) return 1;
  std::printf("{\"cache\": %.3f, \"replica\": %.1f, \"stream\": %.1f}\n", best_hit,
              median(std::move(lookups)), median(std::move(streams)));
  return 0;
}

}  // namespace
}  // namespace tau::tns

int main() { return tau::tns::run(); }
