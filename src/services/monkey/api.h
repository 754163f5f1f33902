// monkey's receipt: what was built from what, by whom. monkey answers no commands; it takes jobs
// from patrick.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "codec/cid.h"
#include "codec/record.h"

namespace tau::monkey {

inline constexpr std::string_view kRole = "monkey";

struct BuiltFunction {
  std::string name;          // "ping", "app/ping"
  std::string input_digest;  // hex sha-256 over the function's folder, image and workflow
  std::string toolchain;     // "taubyte/cpp-wasi: clang 19.1.7, tau sdk 1"
  codec::Cid module;
  static constexpr auto fields() {
    return std::tuple{codec::field("name", &BuiltFunction::name),
                      codec::field("input", &BuiltFunction::input_digest),
                      codec::field("toolchain", &BuiltFunction::toolchain),
                      codec::field("module", &BuiltFunction::module)};
  }
};

// What monkey signs. `hosts` and `deployment` are what tns publishes.
struct Receipt {
  static constexpr std::string_view kPurpose = "tau receipt v1";
  JobId job;
  ProjectId project;
  std::string branch;
  std::uint64_t seq = 0;
  codec::Cid deployment;
  std::vector<std::string> hosts;
  std::vector<PeerId> holders;
  std::vector<BuiltFunction> functions;
  std::int64_t built_unix_ms = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("job", &Receipt::job),
                      codec::field("project", &Receipt::project),
                      codec::field("branch", &Receipt::branch),
                      codec::field("seq", &Receipt::seq),
                      codec::field("deployment", &Receipt::deployment),
                      codec::field("hosts", &Receipt::hosts),
                      codec::field("holders", &Receipt::holders),
                      codec::field("functions", &Receipt::functions),
                      codec::field("built", &Receipt::built_unix_ms)};
  }
};

// Bounds of a receipt, for whoever believes one: names, counts, lengths. Errors: invalid_argument.
Status check_receipt(const Receipt& receipt);

}  // namespace tau::monkey
