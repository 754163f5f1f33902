// What dream prints for people.
#pragma once

#include <string>
#include <string_view>

#include "http/json.h"

namespace tau::dream {

// Of one universe, as the control API gives it. `control`: where dream answers; empty: where tau
// looks without being told.
std::string table_of(const http::Json& universe, std::string_view control);
// The same universe with those nodes only that run a service, or have this name or id; empty: all.
http::Json only_of(http::Json universe, std::string_view only);
std::string line_of(const http::Json& node);
std::string log_text_of(const http::Json& line);
// `what`: universes, services, fixtures.
std::string list_of(const http::Json& items, std::string_view what);

}  // namespace tau::dream
