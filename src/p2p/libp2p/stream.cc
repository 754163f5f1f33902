#include "p2p/libp2p/stream.h"

#include <utility>

namespace tau::p2p::libp2p {
namespace {
constexpr std::int64_t kNotReady = -1;  // native/p2p/src/lib.rs; -2 is a lost stream
}  // namespace

// Holds the one task that waits for a direction of the stream.
class NativeBackedStream::Wakeup final : public std::enable_shared_from_this<Wakeup> {
 public:
  Wakeup(std::shared_ptr<Link> link, runtime::Loop& loop) : link_(std::move(link)), loop_(loop) {}

  // Any thread; calls that come faster than the loop turns count as one.
  void wake() {
    if (posted_.exchange(true)) return;
    link_->post([self = shared_from_this()] {
      self->posted_ = false;
      self->release();
    });
  }
  void release() {
    if (auto waiting = std::exchange(waiting_, std::nullopt)) waiting->set_now({});
  }
  Task<Status> wait() {
    runtime::OneShot<void> turn(loop_);
    waiting_ = turn;
    co_return co_await turn;
  }

  class Waker final : public native::StreamWaker {
   public:
    explicit Waker(std::shared_ptr<Wakeup> wakeup) : wakeup_(std::move(wakeup)) {}
    void wake() const noexcept override { wakeup_->wake(); }

   private:
    std::shared_ptr<Wakeup> wakeup_;
  };

 private:
  std::shared_ptr<Link> link_;
  runtime::Loop& loop_;
  std::atomic<bool> posted_{false};
  std::optional<runtime::OneShot<void>> waiting_;  // loop thread
};

NativeBackedStream::NativeBackedStream(PeerId remote, rust::Box<native::NativeStream> native,
                                       std::shared_ptr<Link> link, runtime::Loop& loop)
    : remote_(std::move(remote)),
      native_(std::move(native)),
      readable_(std::make_shared<Wakeup>(link, loop)),
      writable_(std::make_shared<Wakeup>(link, loop)) {
  (*native_)->set_wakers(std::make_unique<Wakeup::Waker>(readable_),
                         std::make_unique<Wakeup::Waker>(writable_));
}

NativeBackedStream::~NativeBackedStream() = default;

std::unexpected<Error> NativeBackedStream::lost() const {
  return fail(ErrorCode::unavailable, "stream with " + remote_.str() + " was reset");
}

Task<Result<std::size_t>> NativeBackedStream::read(std::span<std::uint8_t> out) {
  while (native_) {
    const std::int64_t n = (*native_)->read({out.data(), out.size()});
    if (n >= 0) co_return static_cast<std::size_t>(n);
    if (n != kNotReady) break;
    CO_TRY_STATUS(readable_->wait());
  }
  co_return lost();
}

Task<Status> NativeBackedStream::write(BytesView data) {
  while (native_ && !data.empty()) {
    const std::int64_t n = (*native_)->write({data.data(), data.size()});
    if (n >= 0) {
      data = data.subspan(static_cast<std::size_t>(n));
    } else if (n == kNotReady) {
      CO_TRY_STATUS(writable_->wait());
    } else {
      co_return lost();
    }
  }
  while (native_) {
    const std::int64_t flushed = (*native_)->flush();
    if (flushed == 0) co_return Status{};
    if (flushed != kNotReady) break;
    CO_TRY_STATUS(writable_->wait());
  }
  co_return lost();
}

Task<Status> NativeBackedStream::close_write() {
  while (native_) {
    const std::int64_t closed = (*native_)->close();
    if (closed == 0) co_return Status{};
    if (closed != kNotReady) break;
    CO_TRY_STATUS(writable_->wait());
  }
  co_return lost();
}

void NativeBackedStream::reset() {
  if (!native_) return;
  native_.reset();
  readable_->wake();
  writable_->wake();
}

}  // namespace tau::p2p::libp2p
