#include <tau/http.h>

namespace shop {
[[gnu::noinline]] int price_of(const std::string& article, volatile int* divisor) {
  return static_cast<int>(article.size()) / *divisor;
}
}  // namespace shop

TAU_HTTP_FUNCTION(divide) {
  volatile int zero = 0;
  event.write(std::to_string(shop::price_of(event.path(), &zero)));
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
