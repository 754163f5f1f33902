#include "vm/engine.h"

namespace tau::vm {

std::string_view name_of(RunFailure::Kind kind) {
  switch (kind) {
    case RunFailure::Kind::trap:
      return "trap";
    case RunFailure::Kind::timeout:
      return "timeout";
    case RunFailure::Kind::out_of_memory:
      return "out_of_memory";
    case RunFailure::Kind::exit_code:
      return "exit_code";
    case RunFailure::Kind::start_failed:
      return "start_failed";
    case RunFailure::Kind::overloaded:
      return "overloaded";
    case RunFailure::Kind::cancelled:
      return "cancelled";
  }
  return "unknown";
}

}  // namespace tau::vm
