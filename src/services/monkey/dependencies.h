// Gets what a function's sources need of other people's: from the store, else by the language's
// fetch script in a sandbox of its own, which has the network and sees nothing of the machine, the
// project or other builds but what the plan gives it.
//
// Loop thread; files are read and written on the pool.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "process/runner.h"
#include "runtime/loop.h"
#include "runtime/thread_pool.h"
#include "services/monkey/dependency_store.h"
#include "services/monkey/images/image.h"

namespace tau::monkey {

struct FetchLimits {
  Duration wall_time_max = std::chrono::minutes(2);
  std::uint64_t bytes_max = DependencyStore::kSetBytesMax;
  std::size_t files_max = DependencyStore::kSetFilesMax;
  std::uint64_t memory_bytes_max = 1ull << 30;
};

class Dependencies {
 public:
  Dependencies(runtime::Loop& loop, process::Runner& runner, runtime::ThreadPool& pool,
               const std::filesystem::path& folder, FetchLimits limits)
      : loop_(loop), runner_(runner), pool_(pool), store_(folder), limits_(limits) {}

  // "store/<name>" and "project/<path>". `say` gets lines for the person who pushed. Errors:
  // failed_precondition (what is missing, and what to do).
  Task<Result<process::ArchivedFiles>> get(const Language& language, FetchPlan plan,
                                           std::function<void(std::string_view)> say);

 private:
  runtime::Loop& loop_;
  process::Runner& runner_;
  runtime::ThreadPool& pool_;
  DependencyStore store_;
  FetchLimits limits_;
};

}  // namespace tau::monkey
