#include "bin/tau/cloud.h"

#include <fmt/format.h>

namespace tau::cli {
namespace {

ErrorCode code_named(std::string_view name, int status) {
  for (std::uint64_t n = 1; n < 16; ++n)
    if (const auto code = error_code_from(n); code && name_of(*code) == name) return *code;
  if (status == 404) return ErrorCode::not_found;
  return status >= 500 ? ErrorCode::unavailable : ErrorCode::failed_precondition;
}

}  // namespace

Result<Cloud> Cloud::at(runtime::RealLoop& loop, std::string url) {
  while (url.ends_with('/')) url.pop_back();
  auto parsed = http::Url::parse(url);
  if (!parsed) return fail(std::move(parsed).error().context("cloud \"" + url + "\""));
  return Cloud(loop, std::move(url), *std::move(parsed));
}

Result<http::Json> open_answer(const http::Response& response) {
  auto body =
      response.body.empty() ? Result<http::Json>(http::Json()) : http::parse_json(response.body);
  if (response.status >= 200 && response.status < 300) return body;
  const auto* error =
      body && body->is_object() && body->contains("error") ? &(*body)["error"] : nullptr;
  if (!error || !error->is_object())
    return fail(code_named("", response.status),
                fmt::format("the cloud answered {} without saying why", response.status));
  return fail(code_named(error->value("code", ""), response.status), error->value("message", ""));
}

Result<http::Json> Cloud::send(http::ClientRequest request) {
  request.target = (parsed_.target == "/" ? "" : parsed_.target) + request.target;
  request.host = parsed_.host;
  http::Client client(sockets_);
  auto response = runtime::block_on(loop_, client.send(parsed_.endpoint, std::move(request)));
  if (!response)
    return fail(
        ErrorCode::unavailable,
        fmt::format("no cloud answers at {} ({}). Start one on this machine with `dream new "
                    "multiverse`, or name another with --cloud URL or TAU_CLOUD.",
                    url_, response.error().message()));
  return open_answer(*response);
}

Result<http::Json> Cloud::get(const std::string& path) {
  http::ClientRequest request;
  request.target = path;
  return send(std::move(request));
}

Result<http::Json> Cloud::post(const std::string& path, const http::Json& body) {
  http::ClientRequest request;
  request.method = "POST";
  request.target = path;
  request.headers.add("content-type", "application/json");
  request.body = body.dump();
  return send(std::move(request));
}

std::string url_encode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.' || c == '~';
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

}  // namespace tau::cli
