// What a group agrees on: a machine that every member feeds the same commands in the same order.
#pragma once

#include "base/bytes.h"
#include "base/error.h"

namespace tau::consensus {

// Deterministic: the same commands give the same answers and the same state on every member, so it
// reads no clock, no chance and no options that differ between nodes. Commands come from members of
// the group, but an older or newer program may have written them: one that cannot be read is
// answered, never crashed on. Loop thread only.
class StateMachine {
 public:
  virtual ~StateMachine() = default;
  virtual Bytes apply(BytesView command) = 0;
  // The whole state. Called on the loop every few hundred commands: it should take milliseconds.
  virtual Bytes snapshot() const = 0;
  // Replaces the whole state. An error stops the group: the state on disk is not this machine's.
  virtual Status restore(BytesView snapshot) = 0;
};

}  // namespace tau::consensus
