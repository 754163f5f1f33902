// `tau trace URL`: one request, and where its time went, from the name to the answer.
#pragma once

#include <string>

#include "bin/tau/cloud.h"
#include "bin/tau/terminal.h"

namespace tau::cli {

// Asks a seer of the cloud for the name, sends the request to the first address, and shows the
// substrate's own account of it. Errors: unavailable, not_found (no such name, or nobody serves
// it), failed_precondition (an answer of 500 and above).
Status trace_request(runtime::RealLoop& loop, Cloud& cloud, const Terminal& terminal,
                     const std::string& url);

}  // namespace tau::cli
