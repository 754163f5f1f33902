// Commands of a host that is no node: it dials, says one thing, and hears the answer.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "command/frame.h"
#include "p2p/host.h"

namespace tau::testnet::simulation {

inline constexpr Duration kRawCommandMax = std::chrono::seconds(5);  // each of both steps

template <class C>
Task<Result<void>> say(p2p::Host& host, PeerId to, std::string protocol,
                       typename C::Request request) {
  CO_TRY(auto stream, host.open(std::move(to), std::move(protocol)));
  const command::RequestFrame frame{std::string(C::kName), 2000, codec::to_value(request)};
  CO_TRY_STATUS(command::write_frame(*stream, codec::to_cbor(frame)));
  CO_TRY(const Bytes answer, command::read_frame(*stream));
  CO_TRY_SYNC(auto response, codec::from_cbor<command::ResponseFrame>(answer));
  CO_TRY_SYNC(const codec::Value body, std::move(response).take());
  (void)body;
  co_return Status{};
}

// Errors: what the other side answers, or that it is not reached.
template <class C>
Task<Result<void>> command_to(p2p::Host& host, PeerId to, std::string_view protocol,
                              typename C::Request request) {
  CO_TRY(const PeerId peer,
         runtime::with_deadline(kRawCommandMax, "dial", host.connect("/memory/0/p2p/" + to.str())));
  co_return co_await runtime::with_deadline(
      kRawCommandMax, "command", say<C>(host, peer, std::string(protocol), std::move(request)));
}

}  // namespace tau::testnet::simulation
