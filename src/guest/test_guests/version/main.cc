// Answers a text of its data segment, which a test writes over: a new version without a compiler.
#include <tau/http.h>

static const volatile char kVersion[] = "version-00000000";

TAU_HTTP_FUNCTION(version) {
  std::string text;
  for (std::size_t i = 0; i + 1 < sizeof kVersion; ++i) text += kVersion[i];
  event.write(text);
}
