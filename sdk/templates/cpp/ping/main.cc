#include <tau/http.h>

// The function's configuration names this one: `call: ping`.
TAU_HTTP_FUNCTION(ping) {
  event.set_header("Content-Type", "text/plain; charset=utf-8");
  event.write("pong");
}
