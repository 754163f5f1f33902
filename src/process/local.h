// Programs that really run, on Linux. A sandboxed one runs in bubblewrap: own user, mount, pid,
// network, ipc and uts namespaces, no network, a read-only root, and control groups for memory and
// processes. Started by root, it first becomes a user that nothing else uses, one for each slot.
//
// Where the machine has no control groups for us, limits for each process stand in for those of the
// whole sandbox: weaker, said once in the log.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "process/runner.h"
#include "runtime/channel.h"
#include "runtime/loop.h"

namespace tau::process {

struct LocalOptions {
  std::string bubblewrap = "bwrap";  // looked up in PATH
  // Sandboxed programs at once; more wait. Each has a user of its own: first_uid + slot.
  std::uint32_t slots = 32;
  // systemd's and Debian's documentation leave this range to nobody.
  std::uint32_t first_uid = 1'879'048'192;
  bool control_groups = true;  // off: as on a machine without them
};

// Owned by the composition root; must outlive every run. One for all nodes of a process. Loop
// thread only.
class LocalRunner final : public Runner {
 public:
  LocalRunner(runtime::RealLoop& loop, LocalOptions options, Logger log);
  ~LocalRunner() override;

  Task<Result<Exit>> run(Command command, OutputSink sink) override;
  Task<Status> sandbox_available() override;

 private:
  class Running;
  struct Slot;

  Task<Result<Exit>> run_in(Command command, OutputSink sink, Slot* slot);
  Task<Result<Exit>> run_sandboxed(Command command, OutputSink sink);
  Result<std::shared_ptr<Running>> start(Command& command, OutputSink sink, Slot* slot);
  Task<Result<std::uint32_t>> take_slot();

  runtime::RealLoop& loop_;
  const LocalOptions options_;
  Logger log_;
  const bool drops_;  // root, and first_uid is a user that this namespace has
  bool available_ = false;
  bool said_no_groups_ = false;
  std::uint64_t started_ = 0;
  std::vector<std::uint32_t> free_slots_;
  runtime::Signal slot_freed_;
};

}  // namespace tau::process
