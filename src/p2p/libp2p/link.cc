#include "p2p/libp2p/link.h"

#include "p2p/libp2p/host.h"
#include "p2p/libp2p/stream.h"

namespace tau::p2p::libp2p {
namespace {

// A burst of the largest messages, about 250 of them.
constexpr std::size_t kQueuedGossipMax = 16u << 20;

std::string text_of(rust::Str text) { return std::string(text.data(), text.size()); }
PeerId peer_of(rust::Str text) { return PeerId(text_of(text)); }
BytesView view_of(rust::Slice<const std::uint8_t> bytes) { return {bytes.data(), bytes.size()}; }

}  // namespace

void Link::post(runtime::Callback callback) {
  std::lock_guard lock(mutex_);
  if (loop_) loop_->post(std::move(callback));
}

void Link::with_host(std::shared_ptr<Link> link, std::move_only_function<void(LibP2pHost&)> use) {
  Link& target = *link;
  target.post([link = std::move(link), use = std::move(use)]() mutable {
    if (link->host_) use(*link->host_);
  });
}

void Link::close() {
  std::lock_guard lock(mutex_);
  loop_ = nullptr;
  host_ = nullptr;
}

void Answer::done(native::Outcome outcome) const noexcept {
  link_->post([done = std::move(done_), outcome = std::move(outcome)]() mutable {
    if (outcome.code == 0) {
      done(std::move(outcome));
    } else {
      done(fail(error_code_from(outcome.code).value_or(ErrorCode::unknown),
                std::string(outcome.text)));
    }
  });
}

void Answer::opened(rust::Box<native::NativeStream> stream) const noexcept {
  link_->post([opened = std::move(opened_), stream = std::move(stream)]() mutable {
    opened(std::move(stream));
  });
}

native::Admitted Events::admit(rust::Str peer,
                               rust::Slice<const std::uint8_t> certificate) const noexcept {
  const auto refusal =
      link_->admission().refusal(peer_of(peer), view_of(certificate), link_->wall_unix_ms());
  if (!refusal) return {rust::String(), false};
  return {rust::String::lossy(refusal->why), refusal->was_member};
}

void Events::peer_up(rust::Str peer, rust::Slice<const std::uint8_t> certificate) const noexcept {
  Link::with_host(link_, [id = peer_of(peer), shown = to_bytes(view_of(certificate))](
                             LibP2pHost& host) { host.on_peer_up(id, shown); });
}

void Events::peer_down(rust::Str peer) const noexcept {
  Link::with_host(link_, [id = peer_of(peer)](LibP2pHost& host) { host.on_peer_down(id); });
}

void Events::message(rust::Str topic, rust::Str from,
                     rust::Slice<const std::uint8_t> data) const noexcept {
  if (link_->queued_bytes.fetch_add(data.size()) > kQueuedGossipMax) {
    link_->queued_bytes -= data.size();
    return;
  }
  Link::with_host(link_, [link = link_, name = text_of(topic), id = peer_of(from),
                          bytes = to_bytes(view_of(data))](LibP2pHost& host) {
    link->queued_bytes -= bytes.size();
    host.on_message(name, id, bytes);
  });
}

void Events::inbound_stream(rust::Str peer, rust::Str protocol,
                            rust::Box<native::NativeStream> stream) const noexcept {
  Link::with_host(link_, [link = link_, id = peer_of(peer), name = text_of(protocol),
                          stream = std::move(stream)](LibP2pHost& host) mutable {
    host.on_stream(name,
                   std::make_unique<NativeBackedStream>(id, std::move(stream), link, host.loop_));
  });
}

void Events::address(rust::Str address, bool listening) const noexcept {
  Link::with_host(link_, [text = text_of(address), listening](LibP2pHost& host) {
    host.on_address(text, listening);
  });
}

void Events::failed(rust::Str why) const noexcept {
  Link::with_host(link_,
                  [text = text_of(why)](LibP2pHost& host) { host.log_.error("libp2p: " + text); });
}

}  // namespace tau::p2p::libp2p
