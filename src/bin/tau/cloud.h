// The cloud's API for tools (node/user_api.h), as this program calls it.
#pragma once

#include <string>

#include "http/client.h"
#include "http/json.h"
#include "net/sockets.h"
#include "runtime/loop.h"

namespace tau::cli {

// The default universe of a dream on this machine.
inline constexpr std::string_view kDefaultCloud =
    "http://127.0.0.1:1421/v1/universes/blackhole/cloud";

class Cloud {
 public:
  // Errors: invalid_argument (no "http://…" URL).
  static Result<Cloud> at(runtime::RealLoop& loop, std::string url);

  const std::string& url() const { return url_; }
  // `path` after the URL, with its query. Errors: unavailable with advice, and what the cloud says.
  Result<http::Json> get(const std::string& path);
  Result<http::Json> post(const std::string& path, const http::Json& body);

 private:
  Cloud(runtime::RealLoop& loop, std::string url, http::Url parsed)
      : loop_(loop), url_(std::move(url)), parsed_(std::move(parsed)), sockets_(loop) {}
  Result<http::Json> send(http::ClientRequest request);

  runtime::RealLoop& loop_;
  std::string url_;
  http::Url parsed_;
  net::Sockets sockets_;
};

// What the cloud answered, as a value or as its error.
Result<http::Json> open_answer(const http::Response& response);
std::string url_encode(std::string_view text);

}  // namespace tau::cli
