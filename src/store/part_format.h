// The format of one part of a node's store: a number beside the records of each service, so that a
// program says clearly what it cannot read, and brings up to date what an older one wrote.
//
// Loop thread only.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "store/kv.h"

namespace tau::store {

// From `from` to `from` + 1, on the part's own keys. May be cut short anywhere and is then run
// again from its beginning, so doing it twice must come to the same. `from` 0 is what was written
// before parts had numbers.
struct FormatStep {
  std::uint32_t from;
  std::string_view what;
  Task<Status> (*run)(Kv& part);
};

// A part's records are below "<name>/", its number is at "format/<name>".
struct PartFormat {
  std::string_view name;
  std::uint32_t format = 1;
  std::span<const FormatStep> steps = {};
};

// Before the part's owner reads anything. `program`: "tau 0.1.0". Errors: failed_precondition (a
// later program wrote it, or it is too old), data_loss, what the store and the steps say.
Task<Status> bring_up_to_date(Kv& kv, PartFormat part, std::string program);

}  // namespace tau::store
