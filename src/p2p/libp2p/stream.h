// Internal to p2p/libp2p: a libp2p stream, polled from the loop.
#pragma once

#include <memory>
#include <optional>

#include "p2p/libp2p/link.h"

namespace tau::p2p::libp2p {

class NativeBackedStream final : public Stream {
 public:
  NativeBackedStream(PeerId remote, rust::Box<native::NativeStream> native,
                     std::shared_ptr<Link> link, runtime::Loop& loop);
  ~NativeBackedStream() override;

  const PeerId& remote() const override { return remote_; }
  Task<Result<std::size_t>> read(std::span<std::uint8_t> out) override;
  Task<Status> write(BytesView data) override;
  Task<Status> close_write() override;
  void reset() override;

 private:
  class Wakeup;

  std::unexpected<Error> lost() const;

  PeerId remote_;
  std::optional<rust::Box<native::NativeStream>> native_;  // empty: reset
  std::shared_ptr<Wakeup> readable_, writable_;
};

}  // namespace tau::p2p::libp2p
