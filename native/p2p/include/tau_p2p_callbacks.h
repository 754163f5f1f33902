// What the Rust half calls back into. Every method may be called from any tokio thread, several at once, and must not
// block or throw.
#pragma once

#include <cstdint>

#include "rust/cxx.h"

namespace tau::native {

struct Outcome;  // generated: p2p/src/lib.rs.h
struct Admitted;
struct NativeStream;

// The answer to one operation; called exactly once, then destroyed. When the host ends first, the answer says so.
class Completion {
 public:
  virtual ~Completion() = default;
  virtual void done(Outcome outcome) const noexcept = 0;
  virtual void opened(rust::Box<NativeStream> stream) const noexcept = 0;
};

// What happens at a host. Lives until the host has stopped and its last stream has gone.
class HostEvents {
 public:
  virtual ~HostEvents() = default;
  virtual Admitted admit(rust::Str peer, rust::Slice<const std::uint8_t> certificate) const noexcept = 0;
  virtual void peer_up(rust::Str peer, rust::Slice<const std::uint8_t> certificate) const noexcept = 0;
  virtual void peer_down(rust::Str peer) const noexcept = 0;
  virtual void message(rust::Str topic, rust::Str from, rust::Slice<const std::uint8_t> data) const noexcept = 0;
  virtual void inbound_stream(rust::Str peer, rust::Str protocol, rust::Box<NativeStream> stream) const noexcept = 0;
  virtual void address(rust::Str address, bool listening) const noexcept = 0;
  virtual void failed(rust::Str why) const noexcept = 0;
};

// Told when a stream that was not ready may be; spurious calls happen.
class StreamWaker {
 public:
  virtual ~StreamWaker() = default;
  virtual void wake() const noexcept = 0;
};

}  // namespace tau::native
