// A control group of Linux for one sandboxed program: bounds its memory and its processes, all of
// them together. Version 2 where the machine has it with these controllers, else version 1. Owned
// by one run; the destructor removes it, once its processes are gone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"

namespace tau::process {

class ControlGroup {
 public:
  struct Bounds {
    std::uint64_t memory_bytes_max = 0;
    std::uint32_t processes_max = 0;
  };
  // Errors: failed_precondition, when this process may not make one; says what was tried.
  static Result<std::unique_ptr<ControlGroup>> make(const std::string& name, Bounds bounds);
  ~ControlGroup();
  ControlGroup(const ControlGroup&) = delete;
  ControlGroup& operator=(const ControlGroup&) = delete;

  // Open descriptors: a process that writes "0" to each has joined.
  const std::vector<int>& join() const { return join_; }
  // Whether the kernel killed one of its processes for memory.
  bool out_of_memory() const;
  // SIGKILL to whatever is in it.
  void kill_all() const;
  // False while a process is left, or the kernel still counts one.
  bool remove();

 private:
  ControlGroup() = default;
  std::vector<std::filesystem::path> folders_;
  std::filesystem::path memory_events_;  // has a line "oom_kill N"
  bool version_2_ = false;
  std::vector<int> join_;
};

}  // namespace tau::process
