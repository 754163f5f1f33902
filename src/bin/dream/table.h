// What `dream status` prints.
#pragma once

#include <string>
#include <string_view>

#include "http/json.h"

namespace tau::dream {

// Of one universe, as the control API gives it. `only`: a service; empty: all nodes.
std::string table_of(const http::Json& universe, std::string_view only);

}  // namespace tau::dream
