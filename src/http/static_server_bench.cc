// The HTTP path alone: answers "pong" to everything, as nginx does with `return 200`, which is its
// baseline. wrk drives it from another core. Usage: http_static_server PORT
#include <array>
#include <cstdio>
#include <cstdlib>

#include "http/server.h"
#include "net/sockets.h"

namespace {

tau::Task<void> pong(tau::http::Request&, tau::http::ResponseWriter& response) {
  static constexpr std::array<tau::http::HeaderView, 1> kFields = {
      tau::http::HeaderView{"content-type", "text/plain"}};
  response.send(200, kFields, "pong");
  co_return;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  tau::runtime::RealLoop loop;
  tau::net::Sockets sockets(loop);
  tau::http::Server server(loop, pong, {});
  auto listener = sockets.listen({"127.0.0.1", static_cast<std::uint16_t>(std::atoi(argv[1]))});
  if (!listener) {
    std::fprintf(stderr, "%s\n", listener.error().message().c_str());
    return 1;
  }
  server.serve(std::move(*listener));
  loop.run();
}
