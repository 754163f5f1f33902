// Answers "pong" after eight host calls: what the bench measures.
#include <tau/http.h>

TAU_HTTP_FUNCTION(ping) {
  const std::string path = event.path();
  const std::string agent = event.user_agent();
  event.set_header("Content-Type", "text/plain");
  event.status(200);
  event.write(path == "/none" && agent.empty() ? "none" : "pong");
}
