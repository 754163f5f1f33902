// CPU time of one run with a fresh instance, on one core: an empty module, and a C++ guest that
// answers "pong" after eight host calls. Baseline: a call of a host function table without any
// engine cannot cost less than nothing, so the empty module is the engine's own share.
#include <fmt/core.h>
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "guest/built_guest.h"
#include "guest/context.h"
#include "guest/host_functions.h"
#include "guest/http_event/exchange.h"
#include "runtime/loop.h"
#include "vm/wasmtime/engine.h"

namespace {

using namespace tau;

double cpu_us() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) * 1e-3;
}

constexpr int kBatches = 200, kBatchRuns = 500;

struct Measured {
  double best_us, median_us;  // CPU a run, of the batches
  double instantiate_us, run_us;
};

// Runs one after the other inside one coroutine: what a server's connection does, without its
// sockets. In batches, because a busy machine disturbs some of them: the best one is what the code
// costs.
Task<Measured> measure(const vm::Module& module, std::string_view name, Clock& clock) {
  SystemRandom random;
  guest::LogSink log;
  const guest::HttpHeaderView headers[] = {{"Host", "hello.test"}, {"User-Agent", "bench/1"}};
  std::vector<double> batches;
  Duration instantiate{}, run{};
  for (int batch = 0; batch < kBatches; ++batch) {
    const double begun = cpu_us();
    for (int i = 0; i < kBatchRuns; ++i) {
      guest::HttpExchange exchange({.host = "hello.test", .path = "/ping", .headers = headers});
      guest::Context context{.clock = clock, .random = random, .log = log, .http = &exchange};
      const auto outcome = co_await module.run(name, 0, &context, {});
      if (!outcome) {
        fmt::print(stderr, "{}: {}\n", name, outcome.error().message);
        std::exit(1);
      }
      instantiate += outcome->instantiate;
      run += outcome->run;
    }
    batches.push_back((cpu_us() - begun) / kBatchRuns);
  }
  std::ranges::sort(batches);
  const auto mean_us = [](Duration d) {
    return static_cast<double>(d.count()) * 1e-3 / (kBatches * kBatchRuns);
  };
  co_return Measured{batches.front(), batches[kBatches / 2], mean_us(instantiate), mean_us(run)};
}

void row(std::string_view what, const vm::Module& module, std::string_view name,
         std::string_view only) {
  if (!what.contains(only)) return;
  runtime::RealLoop loop;
  const Measured m = runtime::block_on(loop, measure(module, name, loop));
  fmt::print("{:<40} CPU us: best {:5.2f}, median {:5.2f}   wall us: start {:.2f}, call {:.2f}\n",
             what, m.best_us, m.median_us, m.instantiate_us, m.run_us);
}

}  // namespace

int main(int argc, char** argv) {
  // vm_bench [rounds [part of a row's name]]
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 3;
  const std::string_view only = argc > 2 ? argv[2] : "";
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(0, &one);
  sched_setaffinity(0, sizeof one, &one);
  const auto begun = SystemClock().now();
  const auto engine =
      vm::make_wasmtime_engine(guest::host_functions(), {.accept_text = true}).value();
  const Duration started = SystemClock().now() - begun;
  fmt::print("engine {} started in {:.2f} ms\n", engine->compatibility(),
             static_cast<double>(started.count()) * 1e-6);
  const auto empty =
      engine->compile(as_bytes(R"((module (func (export "f") (param i32))))"), vm::Effort::full)
          .value();
  const auto memory =
      engine
          ->compile(as_bytes(R"((module (memory (export "memory") 2) (data (i32.const 8) "x")
          (func (export "_initialize")) (func (export "f") (param i32)
          (i32.store (i32.const 8) (i32.const 1)))))"),
                    vm::Effort::full)
          .value();
  const auto hello = engine->compile(guest::built_guest("template"), vm::Effort::full).value();
  const auto ping = engine->compile(guest::built_guest("ping8"), vm::Effort::full).value();
  for (int round = 0; round < rounds; ++round) {
    row("empty module", *empty, "f", only);
    row("memory, _initialize, one dirty page", *memory, "f", only);
    row("C++ template (3 host calls)", *hello, "ping", only);
    row("C++ ping (8 host calls)", *ping, "ping", only);
  }
}
