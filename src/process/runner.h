// Running other programs: the build sandbox and git. process/local.h is real (fork, bubblewrap,
// cgroups); process/simulated.h follows a script. Loop thread only.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/time.h"
#include "runtime/task.h"

namespace tau::process {

// The network of a sandboxed program. `machine` is for a program of ours that fetches what was
// asked for by name and runs nothing of what it gets; what a user sends never runs with it. It sees
// the machine's network, with the files that name and trust servers.
enum class Network : std::uint8_t { none, machine };

// What a sandboxed program sees. There is no network inside unless said, and never a way to gain
// privileges.
struct Sandbox {
  struct Bind {
    std::filesystem::path outside, inside;
  };
  std::vector<Bind> read_only;  // toolchains, sources; symbolic links are copied as such
  std::vector<Bind> writable;   // sparingly: owned by the sandbox's uid
  struct Tmpfs {
    std::filesystem::path inside;
    std::uint64_t bytes_max = 0;
  };
  std::vector<Tmpfs> tmpfs;  // /out, /tmp: gone with the sandbox
  Network network = Network::none;
};

struct Limits {
  Duration wall_time_max = std::chrono::minutes(10);
  std::uint64_t memory_bytes_max = 2ull << 30;
  std::uint32_t processes_max = 128;
  std::uint64_t output_bytes_max =
      4u << 20;  // standard output and error together; more ends the program
  // When not 0, descriptor 3 is a pipe: what the program writes there comes back as Exit::results.
  // More than this ends the program.
  std::uint64_t results_bytes_max = 0;
};

struct Command {
  std::vector<std::string>
      argv;  // argv[0] is looked up in PATH (inside the sandbox, if there is one)
  std::map<std::string, std::string> environment;  // all of it: nothing is inherited
  std::filesystem::path directory;                 // inside the sandbox, if there is one
  Bytes input;                                     // standard input, then end of file
  // Opened for reading as descriptors 5, 6, …, by whoever runs the runner: the program's user need
  // not have access to their folders.
  std::vector<std::filesystem::path> files;
  std::optional<Sandbox> sandbox;
  Limits limits;
};

struct Exit {
  int code = 0;  // 128 + n for signal n
  bool out_of_memory = false;
  bool too_much_output = false;  // or too many results
  Bytes results;                 // complete only when `code` is 0
  std::string why() const;       // "exit code 2", "killed: more than 2048 MiB of memory"
};

enum class Output : std::uint8_t { standard_output, standard_error };
// Called as output arrives. What it throws away is thrown away.
using OutputSink = std::function<void(Output, BytesView)>;

class Runner {
 public:
  virtual ~Runner() = default;
  // Runs to the end. Cancellation and a passed time limit kill the program and all it started, then
  // end the task. Errors: deadline_exceeded, failed_precondition (no namespaces: says what to
  // enable), not_found (no such program).
  virtual Task<Result<Exit>> run(Command command, OutputSink sink) = 0;
  // Says why sandboxed programs can't run on this machine, and what to do.
  virtual Task<Status> sandbox_available() = 0;
};

}  // namespace tau::process
