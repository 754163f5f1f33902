// Caller: sends commands, to a named peer or to whichever live node has a role.
//
// Which nodes have a role is known from the certificates that connected peers proved; this node
// counts too. Loop thread only; lives as long as the node.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "command/command.h"
#include "command/router.h"
#include "p2p/host.h"

namespace tau::command {

class Caller {
 public:
  Caller(runtime::Loop& loop, p2p::Host& host, Router& router, Random& random)
      : loop_(loop), host_(host), router_(router), random_(random) {}

  // Reaches a peer that is not connected where the network is too large for that (Host::reach).
  // Errors: unavailable (not connected, connection lost), deadline_exceeded, and what the handler
  // answers.
  template <class C>
  Task<Result<typename C::Response>> call(PeerId peer, std::string_view protocol,
                                          typename C::Request request,
                                          Duration deadline = C::kDeadline) {
    CO_TRY(const codec::Value body,
           call_value(std::move(peer), std::string(protocol), std::string(C::kName),
                      codec::to_value(request), deadline));
    auto response = codec::from_value<typename C::Response>(body);
    if (!response)
      co_return fail(std::move(response).error().context(std::string(C::kName) + " response"));
    co_return response;
  }

  // This node first if it serves `protocol`, then the others with `role` in random order: the next
  // one is tried when one is unavailable or lacks the command, until `deadline` has passed in all.
  // Errors: unavailable when none is there.
  template <class C>
  Task<Result<typename C::Response>> call_any(std::string_view role, std::string_view protocol,
                                              typename C::Request request,
                                              Duration deadline = C::kDeadline) {
    CO_TRY(const codec::Value body,
           call_any_value(std::string(role), std::string(protocol), std::string(C::kName),
                          codec::to_value(request), deadline));
    auto response = codec::from_value<typename C::Response>(body);
    if (!response)
      co_return fail(std::move(response).error().context(std::string(C::kName) + " response"));
    co_return response;
  }

  // Connected members with the role; this node too, if it has it. In peer id order.
  std::vector<PeerId> peers_with_role(std::string_view role) const;

 private:
  Task<Result<codec::Value>> call_value(PeerId peer, std::string protocol, std::string command,
                                        codec::Value body, Duration deadline);
  Task<Result<codec::Value>> call_remote(PeerId peer, std::string protocol, RequestFrame frame);
  Task<Result<codec::Value>> call_any_value(std::string role, std::string protocol,
                                            std::string command, codec::Value body,
                                            Duration deadline);

  runtime::Loop& loop_;
  p2p::Host& host_;
  Router& router_;
  Random& random_;
};

}  // namespace tau::command
