// One run as its host functions see it: the event, and the world that the run may observe.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/random.h"
#include "base/time.h"
#include "guest/log_sink.h"

namespace tau::guest {

class HttpExchange;

// `void* context` of vm::Module::run points at one of these. Everything is borrowed for the run.
struct Context {
  Clock& clock;
  Random& random;
  LogSink& log;
  HttpExchange* http = nullptr;       // null: the event is not an HTTP request
  std::uint32_t event_id = 0;         // the argument of the exported function
  std::string_view program = "main";  // argv[0]
};

}  // namespace tau::guest
