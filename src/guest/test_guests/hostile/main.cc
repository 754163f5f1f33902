// Functions that take all they can get.
#include <tau/http.h>

#include <cstdio>

TAU_HTTP_FUNCTION(loop) {
  volatile unsigned n = 0;
  for (;;) n = n + 1;
}

TAU_HTTP_FUNCTION(devour) {
  std::string all;
  for (;;) all.append(1 << 20, 'x');
}

[[gnu::noinline]] static int deeper(volatile int* depth) {
  volatile char frame[1024];
  frame[0] = static_cast<char>(*depth);
  if (*depth < 0) return 0;
  *depth = *depth + 1;
  return deeper(depth) + frame[0];
}

TAU_HTTP_FUNCTION(recurse) {
  volatile int depth = 0;
  event.write(std::to_string(deeper(&depth)));
}

TAU_HTTP_FUNCTION(trap) {
  std::fprintf(stderr, "%s\n", std::string(100'000, 'm').c_str());
  __builtin_trap();
}

TAU_HTTP_FUNCTION(print) {
  for (int i = 0; i < 100'000; ++i) std::printf("\x1b[2J again %d\n", i);
  event.write("printed");
}

TAU_HTTP_FUNCTION(flood) {
  const std::string piece(1 << 20, 'b');
  while (event.write(piece)) {
  }
}

TAU_HTTP_FUNCTION(headers) {
  for (int i = 0; i < 100'000; ++i)
    event.set_header("X-" + std::to_string(i), "a\r\nX-Injected: 1");
  event.write("many");
}
