// What is fuzzed: each target takes bytes as a stranger would send them and reads them with the
// real decoder. It fails by a sanitizer's report or by a broken CHECK: what was accepted must
// survive being written and read again, and must keep the bounds that its header promises.
//
// The same targets run in three places: replayed over tests/fuzz/corpus by `make test`
// (replay_test.cc, under the sanitizers), by libFuzzer in `make fuzz` (fuzz_main.cc), and over
// their own seeds.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace tau::fuzz {

struct Seed {
  std::string name;
  Bytes bytes;
};
struct Target {
  std::string_view name;
  void (*run)(BytesView input);
  // What the real encoders write, for the fuzzer to start from.
  std::vector<Seed> (*seeds)();
};

std::vector<Target> codec_targets();
std::vector<Target> command_targets();
std::vector<Target> content_targets();
std::vector<Target> crdt_targets();
std::vector<Target> project_targets();
std::vector<Target> wire_targets();
std::vector<Target> all_targets();

}  // namespace tau::fuzz
