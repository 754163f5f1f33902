#include "guest/host_functions.h"

namespace tau::guest {

std::vector<vm::HostFunction> host_functions() {
  std::vector<vm::HostFunction> table;
  add_http_event_functions(table);
  add_wasi_functions(table);
  add_env_functions(table);
  return table;
}

}  // namespace tau::guest
