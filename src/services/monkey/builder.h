// Builder: from the sources of a job to a deployment in blocks. All functions are built, side by
// side, even when one of them fails, so that one push shows every mistake; a deployment comes only
// of a job without mistakes.
//
// Owns no tasks beyond build(). Loop thread only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "content/exchange.h"
#include "process/runner.h"
#include "project/plan.h"
#include "runtime/thread_pool.h"
#include "services/auth/api.h"
#include "services/monkey/api.h"
#include "services/monkey/build_log.h"
#include "services/monkey/dependencies.h"
#include "services/monkey/file_cache.h"
#include "services/monkey/function_build.h"
#include "services/monkey/images.h"
#include "services/monkey/module_cache.h"
#include "services/patrick/api.h"
#include "vm/engine.h"

namespace tau::monkey {

struct BuilderOptions {
  std::string suffix;          // of the network: "blackhole.localhost"
  std::size_t builds_max = 2;  // sandboxes at once: as many as there are cores
  std::filesystem::path toolchains = "/var/cache/tau/toolchains";  // see Machine
  BuildLimits limits;
  // Of one repository's tar. More than a project of functions has; bounds the monkey's memory.
  std::size_t archive_bytes_max = 64u << 20;
  // Where builds keep what makes the next ones quick: warmth, what projects keep, modules. Nothing
  // is lost with it but time; nodes of one user may share it. Empty: nothing is kept.
  std::filesystem::path cache;
  std::string go_proxy;  // see Machine
  FetchLimits fetch;
};

struct Built {
  codec::Cid deployment;
  std::vector<std::string> hosts;
  std::vector<BuiltFunction> functions;
};

class Builder {
 public:
  Builder(runtime::Loop& loop, content::Exchange& exchange, process::Runner& runner,
          ModuleCache& cache, runtime::ThreadPool& pool, BuilderOptions options);

  // Learns what this machine builds with; build() does it, too, if nobody did. Errors:
  // failed_precondition (no sandbox: says what to enable).
  Task<Status> prepare();
  // Makes later builds of small functions several times faster; nothing depends on it.
  Task<Status> warm_up();
  // What this machine builds, and why not the rest, a line each.
  std::vector<std::string> toolchains() const;
  std::vector<std::string> missing_toolchains() const { return images_.absent(); }

  // `from` holds the archives. Errors: invalid_argument and failed_precondition (mistakes of the
  // project: every one, a line each, with its place), and what the network says.
  Task<Result<Built>> build(patrick::Job job, auth::Registration registration, PeerId from,
                            BuildLog& log);

 private:
  struct Sources;
  struct Run;
  Task<Result<Sources>> fetch(const patrick::Job& job, const auth::Registration& registration,
                              PeerId from, BuildLog& log);
  Task<void> build_one(Run& run, std::size_t index);
  Task<Result<BuiltFunction>> make(Run& run, std::size_t index);
  Task<Status> warm_up(std::shared_ptr<const Image> image);
  // The image as this build uses it: warm, if that is worth waiting for.
  Task<Result<std::shared_ptr<const Image>>> ready(Run& run, const std::string& key,
                                                   std::shared_ptr<const Image> image);
  struct Work;  // one function: what all steps of its build share
  Task<Result<codec::Cid>> compile(Work& work);
  // `shared`: the image's warmth, and nothing of the project's own.
  enum class Caches : std::uint8_t { all, shared, none };
  Task<Result<codec::Cid>> compile_once(Work& work, Caches caches);

  runtime::Loop& loop_;
  content::Exchange& exchange_;
  process::Runner& runner_;
  ModuleCache& cache_;
  runtime::ThreadPool& pool_;
  BuilderOptions options_;
  std::vector<vm::HostFunction> offered_;  // what functions may import
  Images images_;
  runtime::Semaphore warming_;  // one at a time
  FileCache warm_, kept_;
  Dependencies dependencies_;
  bool probed_ = false;
  runtime::Semaphore sandboxes_;
};

}  // namespace tau::monkey
