// What dream's control API offers, as data: its routes (control.h) and its document of OpenAPI 3.1
// are both made of this table.
#pragma once

#include <string_view>
#include <vector>

#include "http/json.h"

namespace tau::testnet {

struct Operation {
  std::string_view method, path, id, summary;
  std::string_view answer;                   // the schema of a good answer
  std::string_view body = {};                // the schema of the request's body; empty: none
  std::vector<std::string_view> query = {};  // names of query parameters
};
const std::vector<Operation>& control_operations();
http::Json control_document();

}  // namespace tau::testnet
