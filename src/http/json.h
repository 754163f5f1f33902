// JSON over HTTP: what control APIs read and answer.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "http/server.h"

namespace tau::http {

using Json = nlohmann::json;

Response json_response(int status, const Json& value);
// {"error": {"code": "not_found", "message": "…"}} with the status of http_status_of().
Response error_response(const Error& error);

// Errors: invalid_argument with the place, for text that is no JSON or nested too deep.
Result<Json> parse_json(std::string_view text);
// The request's body. Errors: as Body::read_all and parse_json.
Task<Result<Json>> read_json(Request& request, std::size_t bytes_max = 1u << 20);
// A field that must be there. Errors: invalid_argument that names it.
Result<std::string> string_field(const Json& object, std::string_view name);

}  // namespace tau::http
