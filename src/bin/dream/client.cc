#include "client.h"

#include <fmt/format.h>

#include "http/client.h"
#include "net/sockets.h"
#include "runtime/loop.h"

namespace tau::dream {
namespace {

ErrorCode code_named(std::string_view name) {
  for (std::uint64_t number = 1; number < 16; ++number) {
    const auto code = error_code_from(number);
    if (code && name_of(*code) == name) return *code;
  }
  return ErrorCode::unknown;
}

// A universe of ten stops in a second; a loaded machine gets a chance.
constexpr Duration kStopMax = std::chrono::seconds(30);

Task<Status> until_gone(net::Network& network, net::Endpoint at) {
  while (co_await network.connect(at))
    CO_TRY_STATUS(runtime::sleep_for(std::chrono::milliseconds(20)));
  co_return Status{};
}

}  // namespace

Status wait_until_gone(const net::Endpoint& control) {
  runtime::RealLoop loop;
  net::Sockets sockets(loop);
  return runtime::block_on(
      loop, runtime::with_deadline(kStopMax, "stopping dream", until_gone(sockets, control)));
}

Result<http::Json> ask(const net::Endpoint& control, const std::string& method,
                       const std::string& target) {
  runtime::RealLoop loop;
  net::Sockets sockets(loop);
  http::Client client(sockets);
  http::ClientRequest request;
  request.method = method;
  request.target = target;
  const auto response = runtime::block_on(loop, client.send(control, std::move(request)));
  if (!response)
    return fail(ErrorCode::unavailable,
                fmt::format("no dream answers at {} ({}); `dream new multiverse` starts one",
                            control.to_string(), response.error().message()));
  if (response->status == 204) return http::Json::object();
  TRY(http::Json answer, http::parse_json(response->body));
  if (response->status < 400) return answer;
  const http::Json error = answer.value("error", http::Json::object());
  return fail(code_named(error.value("code", "")),
              error.value("message", fmt::format("{} answered {}", target, response->status)));
}

}  // namespace tau::dream
