#include "http/json.h"

namespace tau::http {
namespace {

// Deeper than any document of ours; what walks a document later may be recursive.
constexpr int kDepthMax = 64;

}  // namespace

Response json_response(int status, const Json& value) {
  Response response;
  response.status = status;
  response.headers.add("content-type", "application/json");
  // Text from guests and builds need not be UTF-8: replace what is not, never throw.
  response.body = value.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  return response;
}

Response error_response(const Error& error) {
  return json_response(
      http_status_of(error.code()),
      {{"error", {{"code", name_of(error.code())}, {"message", error.message()}}}});
}

Result<Json> parse_json(std::string_view text) {
  bool too_deep = false;
  const auto watch = [&](int depth, Json::parse_event_t, Json&) {
    if (depth > kDepthMax) too_deep = true;
    return !too_deep;
  };
  try {
    Json value = Json::parse(text, watch);
    if (too_deep) return fail(ErrorCode::invalid_argument, "JSON nested deeper than 64 levels");
    return value;
  } catch (const Json::exception& e) {
    return fail(ErrorCode::invalid_argument, std::string("not JSON: ") + e.what());
  }
}

Task<Result<Json>> read_json(Request& request, std::size_t bytes_max) {
  CO_TRY(const std::string text, request.body.read_all(bytes_max));
  co_return parse_json(text);
}

Result<std::string> string_field(const Json& object, std::string_view name) {
  if (!object.is_object()) return fail(ErrorCode::invalid_argument, "expected a JSON object");
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string())
    return fail(ErrorCode::invalid_argument,
                "the field \"" + std::string(name) + "\" (text) is missing");
  return found->get<std::string>();
}

}  // namespace tau::http
