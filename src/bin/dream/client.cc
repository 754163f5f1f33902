#include "client.h"

#include <fmt/format.h>

#include <array>
#include <vector>

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

constexpr std::string_view kUsualUniverse = "blackhole";
constexpr std::size_t kErrorBytesMax = 64u << 10;

// A universe of ten stops in a second; a loaded machine gets a chance.
constexpr Duration kStopMax = std::chrono::seconds(30);

Task<Status> until_gone(net::Network& network, net::Endpoint at) {
  while (co_await network.connect(at))
    CO_TRY_STATUS(runtime::sleep_for(std::chrono::milliseconds(20)));
  co_return Status{};
}

std::unexpected<Error> nobody(const net::Endpoint& control, const Error& why) {
  return fail(ErrorCode::unavailable,
              fmt::format("no dream answers at {} ({}); `dream new multiverse` starts one",
                          control.to_string(), why.message()));
}

std::unexpected<Error> refused(const http::Json& answer, const std::string& target, int status) {
  const http::Json error = answer.value("error", http::Json::object());
  return fail(code_named(error.value("code", "")),
              error.value("message", fmt::format("{} answered {}", target, status)));
}

}  // namespace

Status wait_until_gone(const net::Endpoint& control) {
  runtime::RealLoop loop;
  net::Sockets sockets(loop);
  return runtime::block_on(
      loop, runtime::with_deadline(kStopMax, "stopping dream", until_gone(sockets, control)));
}

Result<http::Json> ask(const net::Endpoint& control, const std::string& method,
                       const std::string& target, const http::Json& body) {
  runtime::RealLoop loop;
  net::Sockets sockets(loop);
  http::Client client(sockets);
  http::ClientRequest request;
  request.method = method;
  request.target = target;
  if (!body.is_null()) {
    request.headers.add("content-type", "application/json");
    request.body = body.dump();
  }
  const auto response = runtime::block_on(loop, client.send(control, std::move(request)));
  if (!response) return nobody(control, response.error());
  if (response->status == 204) return http::Json::object();
  TRY(http::Json answer, http::parse_json(response->body));
  if (response->status < 400) return answer;
  return refused(answer, target, response->status);
}

Result<std::string> universe_meant(const net::Endpoint& control, const std::string& named) {
  if (!named.empty()) return named;
  TRY(const http::Json view, ask(control, "GET", "/v1/universes"));
  std::vector<std::string> names;
  for (const http::Json& one : view.value("universes", http::Json::array()))
    names.push_back(one.value("name", ""));
  if (names.size() == 1) return names.front();
  for (const std::string& name : names)
    if (name == kUsualUniverse) return name;
  return fail(ErrorCode::invalid_argument,
              names.empty()
                  ? "no universe runs: dream new universe NAME"
                  : fmt::format("which universe? --universe {}", fmt::join(names, " | ")));
}

Status read_lines(const net::Endpoint& control, const std::string& target,
                  const std::function<Status(const http::Json&)>& show) {
  runtime::RealLoop loop;
  net::Sockets sockets(loop);
  http::Client client(sockets);
  http::ClientRequest request;
  request.target = target;
  auto opened = runtime::block_on(loop, client.open(control, std::move(request)));
  if (!opened) return nobody(control, opened.error());
  http::ResponseStream& stream = **opened;
  std::string rest;
  std::array<std::uint8_t, 16384> buffer;
  while (true) {
    TRY(const std::size_t size, runtime::block_on(loop, stream.read(buffer)));
    rest.append(reinterpret_cast<const char*>(buffer.data()), size);
    if (stream.status() >= 400) {
      if (size > 0 && rest.size() < kErrorBytesMax) continue;
      TRY(const http::Json answer, http::parse_json(rest));
      return refused(answer, target, stream.status());
    }
    std::size_t start = 0;
    for (std::size_t end; (end = rest.find('\n', start)) != rest.npos; start = end + 1) {
      if (end == start) continue;  // a sign of life
      TRY(const http::Json line,
          http::parse_json(std::string_view(rest).substr(start, end - start)));
      TRY_STATUS(show(line));
    }
    rest.erase(0, start);
    if (size == 0) return {};
  }
}

}  // namespace tau::dream
