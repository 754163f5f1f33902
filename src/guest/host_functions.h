// The table of all functions that a guest may import: sdk/abi/*.def with what stands behind them.
#pragma once

#include <vector>

#include "vm/engine.h"

namespace tau::guest {

// Give it to the engine; runs then need a guest::Context.
std::vector<vm::HostFunction> host_functions();

void add_http_event_functions(std::vector<vm::HostFunction>& table);
void add_wasi_functions(std::vector<vm::HostFunction>& table);
void add_env_functions(std::vector<vm::HostFunction>& table);

}  // namespace tau::guest
