#include "http/router.h"

#include <algorithm>

#include "base/check.h"

namespace tau::http {
namespace {

std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> parts;
  if (path.starts_with('/')) path.remove_prefix(1);
  for (;;) {
    const std::size_t slash = path.find('/');
    parts.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return parts;
    path.remove_prefix(slash + 1);
  }
}

bool own_host(std::string_view host) {
  return equal_ignoring_case(host, "localhost") || host == "127.0.0.1" || host == "[::1]";
}

Task<void> run_json(const Router::JsonHandler& handler, Request& request,
                    ResponseWriter& response) {
  const Result<Json> answer = co_await handler(request);
  if (!answer) {
    response.send(error_response(answer.error()));
  } else if (answer->is_null()) {
    response.send(Response{204, {}, {}});
  } else {
    response.send(json_response(200, *answer));
  }
}

}  // namespace

void Router::add(std::string_view method, std::string_view pattern, Handler handler) {
  Route route{std::string(method), {}, std::move(handler)};
  for (std::string_view part : split(pattern)) {
    Segment segment;
    if (part.starts_with('{') && part.ends_with('}')) {
      segment.named = true;
      part = part.substr(1, part.size() - 2);
      if (part.ends_with("...")) {
        segment.rest = true;
        part.remove_suffix(3);
      }
    }
    segment.text = part;
    CHECK(route.segments.empty() || !route.segments.back().rest);
    route.segments.push_back(std::move(segment));
  }
  // Before the first route that is less literal, so that the best match is the first.
  const auto literal = [](const Route& r) {
    std::string shape;
    for (const Segment& s : r.segments) shape += s.rest ? '2' : s.named ? '1' : '0';
    return shape;
  };
  const std::string mine = literal(route);
  const auto at = std::ranges::find_if(routes_, [&](const Route& r) { return literal(r) > mine; });
  routes_.insert(at, std::move(route));
}

void Router::add_json(std::string_view method, std::string_view pattern, JsonHandler handler) {
  // The route owns the handler, so the reference that the task holds outlives it.
  add(method, pattern,
      [owned = std::make_shared<const JsonHandler>(std::move(handler))](Request& request,
                                                                        ResponseWriter& response) {
        return run_json(*owned, request, response);
      });
}

bool Router::match(const Route& route, const std::vector<std::string>& path,
                   std::vector<std::pair<std::string, std::string>>& parameters) {
  parameters.clear();
  for (std::size_t i = 0; i < route.segments.size(); ++i) {
    const Segment& segment = route.segments[i];
    if (segment.rest) {
      std::string rest;
      for (std::size_t j = i; j < path.size(); ++j) rest += (j == i ? "" : "/") + path[j];
      parameters.emplace_back(segment.text, std::move(rest));
      return true;
    }
    if (i >= path.size()) return false;
    if (!segment.named) {
      if (segment.text != path[i]) return false;
    } else {
      if (path[i].empty()) return false;
      parameters.emplace_back(segment.text, path[i]);
    }
  }
  return path.size() == route.segments.size();
}

Task<void> Router::handle(Request& request, ResponseWriter& response) const {
  std::vector<std::string> path;
  for (const std::string_view part : split(request.path)) {
    auto decoded = percent_decode(part);
    if (!decoded) {
      response.send(error_response(std::move(decoded.error()).context("path")));
      co_return;
    }
    path.push_back(std::move(*decoded));
  }
  std::vector<std::string> allowed;
  for (const Route& route : routes_) {
    if (!match(route, path, request.parameters)) continue;
    if (route.method == request.method || (request.method == "HEAD" && route.method == "GET")) {
      co_await route.handler(request, response);
      co_return;
    }
    if (std::ranges::find(allowed, route.method) == allowed.end()) allowed.push_back(route.method);
  }
  const std::string what = std::string(request.method) + " " + std::string(request.path);
  if (allowed.empty()) {
    response.send(error_response(Error(ErrorCode::not_found, "nothing answers " + what)));
    co_return;
  }
  std::ranges::sort(allowed);
  std::string list;
  for (const std::string& method : allowed) list += (list.empty() ? "" : ", ") + method;
  Response answer =
      json_response(405, {{"error",
                           {{"code", "unimplemented"},
                            {"message", what + " is not possible; this path answers " + list}}}});
  answer.headers.add("allow", list);
  response.send(answer);
}

Handler Router::as_handler() const {
  return [this](Request& request, ResponseWriter& response) { return handle(request, response); };
}

std::optional<Error> refused_by(const Fence& fence, const RequestHead& request) {
  const std::string_view host = request.host();
  const auto known = [&](std::string_view h) {
    return own_host(h) || std::ranges::any_of(fence.hosts, [&](const std::string& mine) {
             return equal_ignoring_case(mine, h);
           });
  };
  if (!known(host))
    return Error(ErrorCode::permission_denied,
                 "this API answers to localhost and its configured names, not to \"" +
                     std::string(host.substr(0, 100)) + "\"");
  if (const HeaderView* origin = request.headers.find("origin")) {
    const std::string own = "http://" + std::string(request.authority);
    if (!equal_ignoring_case(origin->value, own) &&
        std::ranges::find(fence.origins, origin->value) == fence.origins.end())
      return Error(ErrorCode::permission_denied, "pages of another origin may not use this API");
  } else if (const std::string_view site = request.headers.get("sec-fetch-site");
             !site.empty() && site != "same-origin" && site != "none") {
    // A request of a page to which the browser adds no Origin, such as an image.
    return Error(ErrorCode::permission_denied, "pages of another site may not use this API");
  }
  return std::nullopt;
}

namespace {
Task<void> refuse(Error why, ResponseWriter& response) {
  response.send(error_response(why));
  co_return;
}
}  // namespace

Handler fenced(Fence fence, Handler handler) {
  return [fence = std::move(fence), handler = std::move(handler)](Request& request,
                                                                  ResponseWriter& response) {
    if (auto why = refused_by(fence, request)) return refuse(std::move(*why), response);
    return handler(request, response);
  };
}

}  // namespace tau::http
