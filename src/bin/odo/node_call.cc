#include "bin/odo/node_call.h"

#include <fmt/format.h>

#include <ctime>

#include "http/client.h"
#include "net/sockets.h"

namespace tau::odo {

using http::Json;

std::string day_of(std::int64_t unix_ms) {
  const std::time_t seconds = unix_ms / 1000;
  std::tm utc{};
  char text[32] = "?";
  if (::gmtime_r(&seconds, &utc)) std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &utc);
  return text;
}

Result<Json> call(const std::string& api, std::string method, std::string path, std::string body) {
  auto url = http::Url::parse(api);
  if (!url) return fail(std::move(url).error().context("the API \"" + api + "\""));
  runtime::RealLoop loop;
  net::Sockets sockets(loop);
  http::Client client(sockets);
  http::ClientRequest request;
  request.method = std::move(method);
  request.target = std::move(path);
  request.host = url->host;
  request.body = std::move(body);
  const auto response = runtime::block_on(loop, client.send(url->endpoint, std::move(request)));
  if (!response)
    return fail(ErrorCode::unavailable,
                fmt::format("no node answers at {} ({}): it is the `api` of its config.yaml", api,
                            response.error().message()));
  auto json = http::parse_json(response->body);
  if (response->status == 200 && json) return json;
  std::string why = fmt::format("it answered {}", response->status);
  if (json && json->is_object() && json->contains("error") && (*json)["error"].is_object())
    why = (*json)["error"].value("message", why);
  return fail(ErrorCode::failed_precondition, fmt::format("the node at {}: {}", api, why));
}

}  // namespace tau::odo
