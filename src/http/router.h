// Routes of a control API, and the fence that keeps web pages away from it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "http/json.h"
#include "http/server.h"

namespace tau::http {

// Method and path patterns: "/v1/projects/{id}/logs"; "{name}" stands for one segment, a last
// "{name...}" for the rest of the path. Literal segments win over named ones. 404 says what is
// not there, 405 what is allowed. Immutable once it serves.
class Router {
 public:
  void add(std::string_view method, std::string_view pattern, Handler handler);
  // For handlers that answer in one piece; an Error becomes error_response().
  using JsonHandler = std::function<Task<Result<Json>>(Request& request)>;
  void add_json(std::string_view method, std::string_view pattern, JsonHandler handler);

  Task<void> handle(Request& request, ResponseWriter& response) const;
  // The router must outlive the server.
  Handler as_handler() const;

 private:
  struct Segment {
    std::string text;
    bool named = false, rest = false;
  };
  struct Route {
    std::string method;
    std::vector<Segment> segments;
    Handler handler;
  };
  static bool match(const Route& route, const std::vector<std::string>& path,
                    std::vector<std::pair<std::string, std::string>>& parameters);

  std::vector<Route> routes_;
};

// A control API on a loopback port can be reached by every page in the user's browser. Requests
// whose Host is not this machine's name (DNS rebinding), or that a foreign page sent (Origin,
// Sec-Fetch-Site), get 403.
struct Fence {
  std::vector<std::string> hosts;    // besides localhost, 127.0.0.1 and [::1]; without ports
  std::vector<std::string> origins;  // besides the API's own; "http://localhost:3000"
};
Handler fenced(Fence fence, Handler handler);
std::optional<Error> refused_by(const Fence& fence, const RequestHead& request);

}  // namespace tau::http
