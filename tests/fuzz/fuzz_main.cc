// One program for all targets, driven by libFuzzer: TAU_FUZZ_TARGET names the one to run; without
// it, or with a name that is none, the names are printed.
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "targets.h"

namespace {

std::optional<tau::fuzz::Target> chosen;

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  const char* wanted = std::getenv("TAU_FUZZ_TARGET");
  for (const auto& target : tau::fuzz::all_targets())
    if (wanted && target.name == wanted) chosen = target;
  if (chosen) return 0;
  for (const auto& target : tau::fuzz::all_targets())
    std::printf("%.*s\n", static_cast<int>(target.name.size()), target.name.data());
  std::exit(wanted ? 2 : 0);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  chosen->run({data, size});
  return 0;
}
