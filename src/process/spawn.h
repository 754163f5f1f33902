// Starts one program: the few steps between a new process and exec, which may use nothing but
// system calls, because they run in the memory of a process with many threads.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace tau::process {

// Owns a file descriptor.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor();

  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

struct Spawn {
  std::vector<std::string> argv;
  std::vector<std::string> environment;  // "NAME=value"
  std::string program;                   // path, already found
  std::string directory;                 // empty: stay
  std::vector<Descriptor> descriptors;   // become 0, 1, 2, …; all others are closed
  std::vector<int> join;                 // control groups: "0" is written to each
  std::vector<std::pair<int, rlim_t>> limits;
  std::optional<uid_t> become;  // uid and gid of the new process, without other groups
  // First to go when the machine runs out of memory, last to get a processor that others want.
  bool expendable = false;
};

struct Spawned {
  pid_t pid = -1;
  Descriptor pidfd;
};

// The new process leads its own session and group, and dies with the calling thread.
// Errors: not_found (no such program), failed_precondition (names the step and errno).
Result<Spawned> spawn(Spawn what);

// Looks a program up in PATH; a name with a slash is a path.
Result<std::string> find_program(const std::string& name, const std::string& path_variable);

// A pipe whose read end does not block: {read, write}.
Result<std::pair<Descriptor, Descriptor>> make_pipe();
// A read-only file in memory that holds `data`, positioned at its start.
Result<Descriptor> file_of(const void* data, std::size_t size);

}  // namespace tau::process
