// What runs in the sandbox to build one function, and what is believed of what comes out.
#pragma once

#include <map>
#include <string>

#include "base/bytes.h"
#include "process/runner.h"
#include "project/workflow.h"
#include "services/monkey/images/image.h"

namespace tau::monkey {

struct BuildLimits {
  Duration wall_time_max = std::chrono::minutes(10);
  std::uint64_t memory_bytes_max = 2ull << 30;
  std::uint32_t processes_max = 128;
  std::uint64_t log_bytes_max = 1u << 20;       // of one function; more ends its build
  std::uint64_t source_bytes_max = 256u << 20;  // tmpfs of /src, which the build may write to
  std::uint64_t output_bytes_max = 96u << 20;   // tmpfs of /out
};

// Without network: the machine's system folders and `read_only`, and memory to write to.
process::Sandbox build_sandbox(const BuildLimits& limits,
                               const std::vector<process::Sandbox::Bind>& read_only);

// Builds a function: unpacks its folder to /src, runs the workflow's steps, and returns /out as a
// tar stream in Exit::results.
Result<process::Command> build_command(const Image& image, const project::Workflow& workflow,
                                       const std::map<std::string, Bytes>& sources,
                                       const BuildLimits& limits);

// The module out of such a tar: main.wasm, else artifact.wasm. Errors: failed_precondition (no
// module, a step that failed by its own account), invalid_argument (hostile).
Result<Bytes> module_of(BytesView results, const BuildLimits& limits);

}  // namespace tau::monkey
