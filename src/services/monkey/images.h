// Images: the names that a function's workflow gives for what builds it, and what they mean here.
// An image is a toolchain of this machine plus files of ours, seen through a sandbox; no container
// engine, nothing fetched.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "process/archive.h"
#include "process/runner.h"
#include "project/workflow.h"

namespace tau::monkey {

struct BuildLimits {
  Duration wall_time_max = std::chrono::minutes(10);
  std::uint64_t memory_bytes_max = 2ull << 30;
  std::uint32_t processes_max = 128;
  std::uint64_t log_bytes_max = 1u << 20;       // of one function; more ends its build
  std::uint64_t source_bytes_max = 256u << 20;  // tmpfs of /src, which the build may write to
  std::uint64_t output_bytes_max = 96u << 20;   // tmpfs of /out
};

struct Image {
  std::string name;  // "taubyte/cpp-wasi"
  // What a module depends on besides its sources: names compiler and SDK by version or digest.
  std::string toolchain;
  process::ArchivedFiles files;  // by absolute path without the first '/': "utils/wasm.sh"
  std::map<std::string, std::string> environment;
  // The SDK's header as the compiler precompiles it, about 9 MB, or nothing. Most of the time of a
  // small function's build goes into reading it; what is built is the same with and without.
  std::shared_ptr<const Bytes> headers;
};

// The images of this machine. Immutable after probe().
class Images {
 public:
  Images();

  // Runs the compilers once, in a sandbox, to learn their versions. Errors: failed_precondition
  // (no sandbox, no compiler: says what to install).
  Task<Status> probe(process::Runner& runner);
  // Precompiles the SDK's header by the flags of its build script, and tries it on a function.
  // Errors: failed_precondition (then builds go without).
  Task<Result<Bytes>> make_headers(process::Runner& runner) const;
  void use_headers(Bytes headers);
  // With or without a tag: "taubyte/cpp-wasi:v1". Null when there is no such image.
  const Image* find(std::string_view name) const;
  std::string names() const;  // for messages

 private:
  std::vector<Image> images_;
};

// Builds a function: unpacks its folder to /src, runs the workflow's steps, and returns /out as a
// tar stream in Exit::results.
enum class Headers : std::uint8_t { precompiled, plain };
Result<process::Command> build_command(const Image& image, const project::Workflow& workflow,
                                       const std::map<std::string, Bytes>& sources,
                                       const BuildLimits& limits, Headers headers);

// The module out of such a tar: main.wasm, else artifact.wasm. Errors: failed_precondition (no
// module, a step that failed by its own account), invalid_argument (hostile).
Result<Bytes> module_of(BytesView results, const BuildLimits& limits);

}  // namespace tau::monkey
