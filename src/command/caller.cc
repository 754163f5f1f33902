#include "command/caller.h"

#include <algorithm>
#include <chrono>

namespace tau::command {

Task<Result<codec::Value>> Caller::call_remote(PeerId peer, std::string protocol,
                                               RequestFrame frame) {
  CO_TRY_STATUS(host_.reach(peer));
  CO_TRY(const auto stream, host_.open(peer, std::move(protocol)));
  CO_TRY_STATUS(write_frame(*stream, codec::to_cbor(frame)));
  CO_TRY_STATUS(stream->close_write());
  const auto payload = co_await read_frame(*stream);
  auto response = payload ? codec::from_cbor<ResponseFrame>(*payload)
                          : Result<ResponseFrame>(fail(payload.error()));
  if (response) co_return std::move(*response).take();
  if (response.error().code() == ErrorCode::invalid_argument)
    host_.conduct().blame(peer, p2p::Misdeed::malformed, "its answer to " + frame.command);
  co_return fail(std::move(response).error());
}

Task<Result<codec::Value>> Caller::call_value(PeerId peer, std::string protocol,
                                              std::string command, codec::Value body,
                                              Duration deadline) {
  if (peer == host_.id())
    co_return co_await router_.call_local(std::move(protocol), std::move(command), std::move(body),
                                          deadline);
  const std::string what = command + " at " + peer.str();
  RequestFrame frame{std::move(command),
                     static_cast<std::uint64_t>(deadline / std::chrono::milliseconds(1)),
                     std::move(body)};
  co_return co_await runtime::with_deadline(
      deadline, what, call_remote(std::move(peer), std::move(protocol), std::move(frame)));
}

std::vector<PeerId> Caller::peers_with_role(std::string_view role) const {
  std::vector<PeerId> found;
  host_.each_peer([&](const PeerId& peer, const p2p::Certificate& certificate) {
    if (certificate.has_role(role)) found.push_back(peer);
  });
  const auto own = host_.certificate_of(host_.id());
  if (own && own->has_role(role))
    found.insert(std::ranges::lower_bound(found, host_.id()), host_.id());
  return found;
}

Task<Result<codec::Value>> Caller::call_any_value(std::string role, std::string protocol,
                                                  std::string command, codec::Value body,
                                                  Duration deadline) {
  auto peers = peers_with_role(role);
  for (std::size_t i = peers.size(); i > 1; --i) std::swap(peers[i - 1], peers[random_.below(i)]);
  if (router_.serves(protocol))
    std::ranges::partition(peers, [&](const PeerId& peer) { return peer == host_.id(); });
  const TimePoint until = loop_.now() + deadline;
  Error last(ErrorCode::unavailable, "no live node with the role \"" + role + "\" is connected");
  for (const auto& peer : peers) {
    const Duration left = until - loop_.now();
    if (left <= Duration::zero()) break;
    if (peer == host_.id() && !router_.serves(protocol)) continue;
    auto result = co_await call_value(peer, protocol, command, body, left);
    if (result) co_return result;
    last = std::move(result).error();
    if (last.code() != ErrorCode::unavailable && last.code() != ErrorCode::unimplemented) break;
  }
  co_return fail(std::move(last).context(command));
}

}  // namespace tau::command
