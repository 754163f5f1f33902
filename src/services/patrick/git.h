// Runs git for patrick: with a clean environment (nobody's configuration, no prompts), bounded
// output and bounded time, a few at once.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "process/runner.h"
#include "runtime/channel.h"

namespace tau::patrick {

// Largest pack that is taken or given. A project's sources are a thousandth of it.
inline constexpr std::uint64_t kPackBytesMax = 256u << 20;

// Where a branch is.
struct Ref {
  std::string branch, commit;
};

// Lives as long as the provider. Loop thread only.
class Git {
 public:
  Git(runtime::Loop& loop, process::Runner& runner, std::filesystem::path folder);

  // Standard output. Errors: those of the runner; failed_precondition with what git said;
  // resource_exhausted (more output than that).
  Task<Result<Bytes>> run(std::vector<std::string> arguments, std::filesystem::path repository,
                          std::uint64_t output_bytes_max);

  // An empty bare repository that answers pushes. Appears whole or not at all.
  Task<Status> create(std::filesystem::path repository);
  Task<Result<std::vector<Ref>>> branches(std::filesystem::path repository);
  // `commit`: 40 hex digits. Errors: not_found.
  Task<Result<Bytes>> archive(std::filesystem::path repository, std::string commit,
                              std::size_t bytes_max);

  // git http-backend (a CGI program, RFC 3875): `variables` beside the clean environment; standard
  // input from the file `input`, standard output into `output`.
  Task<Status> http_backend(std::map<std::string, std::string> variables,
                            std::filesystem::path input, std::filesystem::path output);

 private:
  std::map<std::string, std::string> environment() const;

  process::Runner& runner_;
  std::filesystem::path folder_;
  runtime::Semaphore running_;
};

}  // namespace tau::patrick
