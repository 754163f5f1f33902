// What runs in the sandbox to build one function, and what is believed of what comes out.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
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
  std::uint64_t output_bytes_max = 96u << 20;   // tmpfs of /out, with what is kept
  std::uint64_t kept_bytes_max = 64u << 20;     // of a project and an image; more is not kept
};

// Without network: the machine's system folders and `read_only`, and memory to write to.
process::Sandbox build_sandbox(const BuildLimits& limits,
                               const std::vector<process::Sandbox::Bind>& read_only);

// All that goes into one build.
struct FunctionBuild {
  const Image& image;
  const project::Workflow& workflow;
  const std::map<std::string, Bytes>& sources;  // the function's folder
  process::ArchivedFiles dependencies;          // below /opt/tau/deps
  std::optional<std::filesystem::path> kept;    // a tar of Image::kept, of this project
};

// Unpacks the image's warmth, what the project kept, then image, dependencies and sources; runs the
// workflow's steps; returns /out as a tar stream in Exit::results.
Result<process::Command> build_command(FunctionBuild build, const BuildLimits& limits);

// What came out of a build.
struct Outcome {
  Bytes module;
  Bytes kept;  // a tar that only this project's builds may see; empty: nothing to keep
};
// Reads such a tar: main.wasm, else artifact.wasm. Errors: failed_precondition (no module, a step
// that failed by its own account), invalid_argument (hostile).
Result<Outcome> outcome_of(BytesView results, const BuildLimits& limits);

}  // namespace tau::monkey
