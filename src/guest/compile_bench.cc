// What a module costs before its first run: compiled, and loaded from what was compiled before.
// Baseline: reading the same bytes from memory, which is the least that checking them can cost.
// Usage: vm_compile FILE.wasm
#include <fmt/core.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <vector>

#include "crypto/ed25519.h"
#include "guest/host_functions.h"
#include "vm/wasmtime/engine.h"

namespace {

using namespace tau;

double now_ms(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) * 1e-6;
}

template <class Work>
void measure(std::string_view what, int rounds, Work work) {
  std::vector<double> wall, cpu;
  for (int i = 0; i < rounds; ++i) {
    const double w = now_ms(CLOCK_MONOTONIC), c = now_ms(CLOCK_PROCESS_CPUTIME_ID);
    work();
    wall.push_back(now_ms(CLOCK_MONOTONIC) - w);
    cpu.push_back(now_ms(CLOCK_PROCESS_CPUTIME_ID) - c);
  }
  std::ranges::sort(wall);
  std::ranges::sort(cpu);
  fmt::print("{:32} p50 {:8.2f} ms   best {:8.2f} ms   CPU p50 {:8.2f} ms\n", what,
             wall[wall.size() / 2], wall[0], cpu[cpu.size() / 2]);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: vm_compile FILE.wasm\n");
    return 2;
  }
  std::ifstream file(argv[1], std::ios::binary);
  const Bytes wasm{std::istreambuf_iterator<char>(file), {}};
  const auto engine = vm::make_wasmtime_engine(guest::host_functions());
  if (!engine) {
    fmt::print(stderr, "{}\n", engine.error().message());
    return 1;
  }
  const auto module = (*engine)->compile(wasm, vm::Effort::full);
  if (!module) {
    fmt::print(stderr, "{}\n", module.error().message());
    return 1;
  }
  const Bytes artifact = (*module)->serialize().value();
  fmt::print("{} bytes of wasm, {} bytes compiled, {}\n", wasm.size(), artifact.size(),
             (*engine)->compatibility());
  const int rounds = wasm.size() > (1u << 20) ? 5 : 21;
  measure("sha-256 of the wasm", rounds, [&] { (void)crypto::sha256(wasm); });
  measure("sha-256 of the machine code", rounds, [&] { (void)crypto::sha256(artifact); });
  measure("compile", rounds, [&] { (void)(*engine)->compile(wasm, vm::Effort::full); });
  measure("compile quickly", rounds, [&] { (void)(*engine)->compile(wasm, vm::Effort::quick); });
  measure("serialize", rounds, [&] { (void)(*module)->serialize(); });
  measure("load", rounds, [&] { (void)(*engine)->load(artifact); });
}
