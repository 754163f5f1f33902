// Artifacts: the modules of a deployment compiled ahead, signed, for substrates that believe this
// monkey: their first request then compiles nothing.
//
// A module that was compiled before is not compiled again while its machine code is in the block
// store. Loop thread only.
#pragma once

#include <vector>

#include "content/exchange.h"
#include "p2p/node_signed.h"
#include "runtime/thread_pool.h"
#include "services/monkey/api.h"
#include "services/monkey/build_log.h"
#include "services/monkey/module_cache.h"
#include "vm/engine.h"

namespace tau::monkey {

class ArtifactMaker {
 public:
  // Larger ones would hold up the publish for longer than compiling them where they are asked for.
  static constexpr std::size_t kModuleBytesMax = 16u << 20;

  // `engine` may be null: then nothing is compiled ahead.
  ArtifactMaker(runtime::Loop& loop, content::Exchange& exchange, runtime::ThreadPool& pool,
                ModuleCache& cache, const p2p::NodeIdentity& identity, vm::Engine* engine)
      : loop_(loop),
        exchange_(exchange),
        pool_(pool),
        cache_(cache),
        identity_(identity),
        engine_(engine) {}

  // Puts the files and the block of Compiled into the block store; gives the block, or nothing
  // where nothing was compiled. A module that cannot be compiled is left out: the log says why.
  // Errors: cancelled, and those of the block store.
  Task<Result<std::optional<codec::Cid>>> make(std::vector<BuiltFunction> functions, BuildLog& log);

 private:
  Task<Result<Artifact>> artifact_of(codec::Cid module);
  Task<Result<Artifact>> known(codec::Cid module, codec::Cid artifact);

  runtime::Loop& loop_;
  content::Exchange& exchange_;
  runtime::ThreadPool& pool_;
  ModuleCache& cache_;
  const p2p::NodeIdentity& identity_;
  vm::Engine* engine_;
};

}  // namespace tau::monkey
