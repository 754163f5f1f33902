// seer on the wire: which nodes live, and what they offer. Every node announces itself to every
// seer; one that is silent for kDeadAfter, or whose connection breaks and does not come back, is no
// longer answered in DNS.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "command/command.h"

namespace tau::seer {

inline constexpr std::string_view kRole = "seer";
inline constexpr std::string_view kProtocol = "/tau/seer/1";
inline constexpr Duration kAnnounceEvery = std::chrono::milliseconds(500);
inline constexpr Duration kDeadAfter =
    std::chrono::milliseconds(2000);  // four announcements lost; dead ones are gone within 3 s

struct Announcement {
  std::vector<std::string> services;   // what this node runs, each within its certificate's roles
  std::vector<std::string> addresses;  // IPs that its substrate answers on
  std::uint16_t http_port = 0;         // of the substrate
  std::uint32_t load_percent = 0;      // of its capacity; 100 takes no new work
  std::optional<std::string> dns;      // where its seer answers DNS: "127.0.0.1:1453"
  static constexpr auto fields() {
    return std::tuple{codec::field("services", &Announcement::services),
                      codec::field("addresses", &Announcement::addresses),
                      codec::field("http_port", &Announcement::http_port),
                      codec::field("load", &Announcement::load_percent),
                      codec::field("dns", &Announcement::dns)};
  }
};

struct Announce {
  static constexpr std::string_view kName = "announce";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(2);
  using Request = Announcement;
  using Response = command::Empty;
};

// A clean stop: gone at once.
struct Leave {
  static constexpr std::string_view kName = "leave";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(1);
  using Request = command::Empty;
  using Response = command::Empty;
};

struct LiveNode {
  PeerId peer;
  Announcement announcement;
  std::uint64_t silent_ms = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("peer", &LiveNode::peer),
                      codec::field("announcement", &LiveNode::announcement),
                      codec::field("silent", &LiveNode::silent_ms)};
  }
};

struct ListNodes {
  static constexpr std::string_view kName = "list_nodes";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(2);
  struct Request {
    std::string service;  // empty: all
    static constexpr auto fields() {
      return std::tuple{codec::field("service", &Request::service)};
    }
  };
  struct Response {
    std::vector<LiveNode> nodes;
    static constexpr auto fields() { return std::tuple{codec::field("nodes", &Response::nodes)}; }
  };
};

using Commands = command::List<Announce, Leave, ListNodes>;

}  // namespace tau::seer
