#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace tau {
void check_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: internal error: CHECK(%s) failed\n", file, line, expression);
  std::abort();
}
}  // namespace tau
