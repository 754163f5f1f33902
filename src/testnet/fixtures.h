// The fixtures of dream: what puts a universe into a state that one wants to work with. One table
// for `dream list fixtures`, for GET /v1/spec/fixtures and for `dream inject`.
//
// Fixtures run in the program of who asks (bin/dream), not in dream's own process: they push
// folders with the rights and the key of who asks for it.
#pragma once

#include <string_view>
#include <vector>

#include "http/json.h"

namespace tau::testnet {

struct Fixture {
  std::string_view name;     // "push-all"
  std::string_view summary;  // one sentence
  std::vector<std::string_view> parameters;
  // Of one that has no place here: what to do instead.
  std::string_view instead = {};
};
const std::vector<Fixture>& fixtures();

http::Json fixtures_json();  // {"fixtures": […]}

}  // namespace tau::testnet
