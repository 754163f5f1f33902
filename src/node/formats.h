// The parts of a node's store and the formats that this program writes: one table, so that whoever
// changes a record sees what else has to be done. docs/formats.md says what is promised.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "store/part_format.h"

namespace tau::node {

// Each service that keeps something, and "b", the blocks.
std::span<const store::PartFormat> part_formats();

// Of these services, and the blocks; what other services kept stays as it is until they run again.
// Errors: as store::bring_up_to_date.
Task<Status> bring_up_to_date(store::Kv& kv, std::vector<std::string> services);

}  // namespace tau::node
