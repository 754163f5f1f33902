// For tests and benchmarks: a machine that counts its commands.
#pragma once

#include <string>

#include "consensus/state_machine.h"

namespace tau::consensus {

class Counter final : public StateMachine {
 public:
  Bytes apply(BytesView) override { return to_bytes(std::string_view(std::to_string(++count))); }
  Bytes snapshot() const override { return to_bytes(std::string_view(std::to_string(count))); }
  Status restore(BytesView snapshot) override {
    count = std::stol(to_text(snapshot));
    return {};
  }
  long count = 0;
};

}  // namespace tau::consensus
