#include "process/runner.h"

#include <fmt/format.h>

namespace tau::process {

std::string Exit::why() const {
  if (out_of_memory) return "killed: more memory than allowed";
  if (too_much_output) return "killed: more output than allowed";
  if (code > 128 && code < 128 + 65) return fmt::format("killed by signal {}", code - 128);
  return fmt::format("exit code {}", code);
}

}  // namespace tau::process
