// Structured cancellation. A Scope is what a task runs in: its loop, and whether it has been asked
// to end. Leaf operations (a timer, a read, a queue) register a hook and end at once with
// ErrorCode::cancelled when the scope is cancelled. Scopes form a tree; cancelling one cancels
// those below. Loop thread only.
#pragma once

#include "base/check.h"

namespace tau::runtime {

class Loop;

class CancelHook {
 public:
  CancelHook() = default;
  CancelHook(const CancelHook&) = delete;
  CancelHook& operator=(const CancelHook&) = delete;
  virtual void on_cancel() = 0;  // called once, already unlinked

  bool linked() const { return previous_ != nullptr; }
  void unlink() {
    if (!linked()) return;
    previous_->next_ = next_;
    next_->previous_ = previous_;
    previous_ = next_ = nullptr;
  }

 protected:
  ~CancelHook() { unlink(); }

 private:
  friend class Scope;
  CancelHook* previous_ = nullptr;
  CancelHook* next_ = nullptr;
};

class Scope final : private CancelHook {
 public:
  explicit Scope(Loop& loop) : loop_(loop) { close_ring(); }
  Scope(Loop& loop, Scope& parent) : loop_(loop) {
    close_ring();
    if (parent.cancelled_) {
      cancelled_ = true;
    } else {
      parent.add(*this);
    }
  }
  ~Scope() {
    CHECK(ring_.next_ == &ring_);
    ring_.previous_ = ring_.next_ = nullptr;
  }

  Loop& loop() const { return loop_; }
  bool cancelled() const { return cancelled_; }

  void add(CancelHook& hook) {
    hook.previous_ = ring_.previous_;
    hook.next_ = &ring_;
    ring_.previous_->next_ = &hook;
    ring_.previous_ = &hook;
  }

  void cancel() {
    if (cancelled_) return;
    cancelled_ = true;
    while (ring_.next_ != &ring_) {
      CancelHook* hook = ring_.next_;
      hook->unlink();
      hook->on_cancel();
    }
  }

 private:
  struct Ring final : CancelHook {
    void on_cancel() override {}
  };
  void close_ring() { ring_.previous_ = ring_.next_ = &ring_; }
  void on_cancel() override { cancel(); }

  Loop& loop_;
  bool cancelled_ = false;
  Ring ring_;
};

}  // namespace tau::runtime
