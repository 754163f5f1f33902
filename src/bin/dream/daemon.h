// dream in the background: the starter waits until the universe is ready, or says why it is not.
#pragma once

#include <filesystem>
#include <functional>

#include "base/error.h"
#include "http/json.h"

namespace tau::dream {

// Told by the background process, once; what it says is what the starter's run_as_daemon() gives.
using Report = std::function<void(const Result<http::Json>&)>;

// Forks. In the new process runs `body`, whose standard streams go to `log_file`, and ends it with
// the exit code that `body` gives; in the starter, waits for the report. Call it before any thread
// is started.
Result<http::Json> run_as_daemon(const std::filesystem::path& log_file,
                                 const std::function<int(const Report&)>& body);

}  // namespace tau::dream
