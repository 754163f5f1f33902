// Commands: typed request and response between nodes, and who may send them.
//
// A service declares one struct for each command and lists them:
//
//   struct TakeJob {
//     static constexpr std::string_view kName = "take_job";
//     static constexpr Callers kCallers = callers("monkey");
//     static constexpr Duration kDeadline = std::chrono::seconds(35);
//     struct Request { …; static constexpr auto fields() {…} };      // records, codec/record.h
//     struct Response { …; static constexpr auto fields() {…} };
//   };
//   inline constexpr std::string_view kProtocol = "/tau/patrick/1";
//   using Commands = command::List<TakeJob, FinishJob>;
//
// and has `Task<Result<TakeJob::Response>> handle(Caller, TakeJob::Request)` for each; one that is
// missing does not compile.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <string_view>
#include <tuple>

#include "base/strong_id.h"
#include "base/time.h"
#include "p2p/certificate.h"

namespace tau::command {

// The roles that may send a command; none named: every member of the network.
struct Callers {
  std::array<std::string_view, 6> roles{};
  bool allow(const p2p::Certificate& certificate) const {
    if (roles[0].empty()) return true;
    return std::ranges::any_of(
        roles, [&](auto role) { return !role.empty() && certificate.has_role(role); });
  }
};
template <class... Roles>
constexpr Callers callers(Roles... roles) {
  static_assert(sizeof...(roles) <= 6);
  return Callers{{std::string_view(roles)...}};
}
inline constexpr Callers kEveryMember{};

template <class... C>
struct List {};

// Who sent a command, as its connection proved.
struct Peer {
  PeerId id;
  p2p::Certificate certificate;
};

// For commands without an answer.
struct Empty {
  friend bool operator==(const Empty&, const Empty&) = default;
  static constexpr auto fields() { return std::tuple{}; }
};

}  // namespace tau::command
