// CHECK guards our own invariants: a failure is a bug of ours, and the process ends with the place.
// It is never used on what a user, a guest or a peer sent.
#pragma once

namespace tau {
[[noreturn]] void check_failed(const char* expression, const char* file, int line);
}

#define CHECK(expression) \
  ((expression) ? static_cast<void>(0) : ::tau::check_failed(#expression, __FILE__, __LINE__))
