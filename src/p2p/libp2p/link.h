// Internal to p2p/libp2p: how what happens on tokio's threads reaches the loop's.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "p2p/host.h"
#include "p2p/src/lib.rs.h"
#include "runtime/loop.h"
#include "runtime/one_shot.h"

namespace tau::p2p::libp2p {

class LibP2pHost;

// Shared by a host and everything that libp2p may still call on its behalf. The host closes it in
// its destructor; calls that come later are dropped.
class Link final {
 public:
  Link(runtime::RealLoop& loop, LibP2pHost& host, const Admission& admission)
      : loop_(&loop), host_(&host), admission_(admission) {}

  // From any thread.
  void post(runtime::Callback callback);
  // Runs `use(host)` on the loop, if the host still is.
  static void with_host(std::shared_ptr<Link> link, std::move_only_function<void(LibP2pHost&)> use);
  std::int64_t wall_unix_ms() const { return SystemClock().wall_unix_ms(); }
  const Admission& admission() const { return admission_; }

  // Loop thread.
  void close();
  bool closed() const { return host_ == nullptr; }

  // Gossip that waits for the loop; more than the bound is dropped, as gossip may be.
  std::atomic<std::size_t> queued_bytes{0};

 private:
  std::mutex mutex_;
  runtime::RealLoop* loop_;  // guarded by mutex_
  LibP2pHost* host_;         // loop thread
  const Admission admission_;
};

// One answer, given on the loop.
class Answer final : public native::Completion {
 public:
  using Done = std::move_only_function<void(Result<native::Outcome>)>;
  using Opened = std::move_only_function<void(rust::Box<native::NativeStream>)>;

  Answer(std::shared_ptr<Link> link, Done done) : link_(std::move(link)), done_(std::move(done)) {}
  Answer(std::shared_ptr<Link> link, Done done, Opened opened)
      : link_(std::move(link)), done_(std::move(done)), opened_(std::move(opened)) {}

  void done(native::Outcome outcome) const noexcept override;
  void opened(rust::Box<native::NativeStream> stream) const noexcept override;

 private:
  std::shared_ptr<Link> link_;
  mutable Done done_;  // called once
  mutable Opened opened_;
};

// The host's half of admission, and what it hears of. Called from any thread.
class Events final : public native::HostEvents {
 public:
  explicit Events(std::shared_ptr<Link> link) : link_(std::move(link)) {}

  native::Admitted admit(rust::Str peer,
                         rust::Slice<const std::uint8_t> certificate) const noexcept override;
  void peer_up(rust::Str peer, rust::Slice<const std::uint8_t> certificate) const noexcept override;
  void peer_down(rust::Str peer) const noexcept override;
  void message(rust::Str topic, rust::Str from,
               rust::Slice<const std::uint8_t> data) const noexcept override;
  void inbound_stream(rust::Str peer, rust::Str protocol,
                      rust::Box<native::NativeStream> stream) const noexcept override;
  void address(rust::Str address, bool listening) const noexcept override;
  void failed(rust::Str why) const noexcept override;

 private:
  std::shared_ptr<Link> link_;
};

}  // namespace tau::p2p::libp2p
