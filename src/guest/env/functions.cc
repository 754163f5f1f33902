#include <string>

#include "guest/binding.h"
#include "guest/host_functions.h"

namespace tau::guest {
namespace env {

#define TAU_FUNCTION(result, name, ...) result name(Call& call __VA_OPT__(, ) __VA_ARGS__);
#include "abi/env.def"
#undef TAU_FUNCTION

void _ready(Call&) {}

void _sleep(Call& call, I64 nanoseconds) {
  if (nanoseconds <= 0) return;
  call.context.log.append("env._sleep: sleeping is not offered here, returned at once\n");
}

void _log(Call& call, InBytes text, U32 size) {
  if (const auto line = call.text(text, size)) {
    call.context.log.append(*line);
    call.context.log.append("\n");
  }
}

}  // namespace env

void add_env_functions(std::vector<vm::HostFunction>& table) {
#define TAU_FUNCTION(result, name, ...) table.push_back(bind<&env::name>("env", #name));
#include "abi/env.def"
#undef TAU_FUNCTION
}

}  // namespace tau::guest
