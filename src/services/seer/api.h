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

// Interfaces and families of one machine; each of those over TCP and QUIC.
inline constexpr std::size_t kAddressesMax = 8;
inline constexpr std::size_t kMultiaddrsMax = 16;

struct Announcement {
  std::vector<std::string> services;    // what this node runs, each within its certificate's roles
  std::vector<std::string> addresses;   // IPs that its substrate answers on
  std::uint16_t http_port = 0;          // of the substrate
  std::uint32_t load_percent = 0;       // of its capacity; 100 takes no new work
  std::optional<std::string> dns;       // where its seer answers DNS: "127.0.0.1:1453"
  std::vector<std::string> multiaddrs;  // that nodes dial it by, each ending with its peer id
  static constexpr auto fields() {
    return std::tuple{codec::field("services", &Announcement::services),
                      codec::field("addresses", &Announcement::addresses),
                      codec::field("http_port", &Announcement::http_port),
                      codec::field("load", &Announcement::load_percent),
                      codec::field("dns", &Announcement::dns),
                      codec::field("multiaddrs", &Announcement::multiaddrs)};
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

// What the DNS of this seer did since it started.
struct Statistics {
  static constexpr std::string_view kName = "statistics";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(2);
  struct Request {
    static constexpr auto fields() { return std::tuple{}; }
  };
  struct Response {
    std::uint64_t udp = 0, tcp = 0;  // messages that came in
    std::uint64_t malformed = 0;     // of them, answered FORMERR or not at all
    std::uint64_t answers = 0, no_data = 0, name_errors = 0, errors = 0;  // what was answered
    std::uint64_t truncated = 0;             // answers that did not fit
    std::uint64_t slipped = 0, dropped = 0;  // beyond a client's rate: truncated, or no answer
    std::uint64_t lookups = 0, lookups_failed = 0;  // names asked of tns
    std::uint64_t connections_refused = 0;          // TCP, beyond what a client or all may have
    static constexpr auto fields() {
      return std::tuple{codec::field("udp", &Response::udp),
                        codec::field("tcp", &Response::tcp),
                        codec::field("malformed", &Response::malformed),
                        codec::field("answers", &Response::answers),
                        codec::field("no_data", &Response::no_data),
                        codec::field("name_errors", &Response::name_errors),
                        codec::field("errors", &Response::errors),
                        codec::field("truncated", &Response::truncated),
                        codec::field("slipped", &Response::slipped),
                        codec::field("dropped", &Response::dropped),
                        codec::field("lookups", &Response::lookups),
                        codec::field("lookups_failed", &Response::lookups_failed),
                        codec::field("connections_refused", &Response::connections_refused)};
    }
  };
};

using Commands = command::List<Announce, Leave, ListNodes, Statistics>;

}  // namespace tau::seer
