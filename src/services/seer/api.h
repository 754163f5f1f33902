// seer on the wire: which nodes live, and what they offer. A node reports to two of the connected
// seers; seers share what they hear (roster.h), so that every seer knows every live node. One that
// is silent for kDeadAfter, or whose connection breaks and does not come back, is no longer
// answered in DNS.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "command/command.h"
#include "p2p/node_signed.h"

namespace tau::seer {

inline constexpr std::string_view kRole = "seer";
inline constexpr std::string_view kProtocol = "/tau/seer/1";
inline constexpr Duration kReportEvery = std::chrono::milliseconds(500);
inline constexpr Duration kDeadAfter =
    std::chrono::milliseconds(2000);  // four reports lost; dead ones are gone within 3 s
// To how many a node reports: one may die without anybody taking the node for dead. Seers report to
// all other seers.
inline constexpr std::size_t kSeersOfANode = 2;
// A node signs what it says anew at least this often, and what others pass on of it counts as long
// as this by the wall clock: so a seer that lies keeps a dead node alive no longer.
inline constexpr Duration kSignEvery = std::chrono::minutes(10);
inline constexpr Duration kStatusFor = std::chrono::minutes(30);
// Of one signed status, with its certificate: the sum of the bounds below is less.
inline constexpr std::size_t kStatusBytesMax = 12u << 10;

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

// What a node says of itself, signed by it: seers pass it on to each other, and none can make up a
// node, an address or a capacity.
struct NodeStatus {
  static constexpr std::string_view kPurpose = "tau node status v1";
  Announcement what;  // load: as it was when this was signed, see Report
  // Its own count: the later life, and in it the higher number, is the fresher.
  std::int64_t life_unix_ms = 0;  // when the node started
  std::uint64_t number = 0;       // from 1
  std::int64_t made_unix_ms = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("what", &NodeStatus::what),
                      codec::field("life", &NodeStatus::life_unix_ms),
                      codec::field("number", &NodeStatus::number),
                      codec::field("made", &NodeStatus::made_unix_ms)};
  }
};

// "I live, and my status is still that one." Every kReportEvery to the first of the node's seers,
// every other time to the second. Errors: permission_denied (a service beyond the certificate's
// roles, signed by another), invalid_argument (bounds, addresses that others cannot reach),
// resource_exhausted (this seer knows as many nodes as it can).
struct Report {
  static constexpr std::string_view kName = "report";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::milliseconds(1500);
  struct Request {
    std::int64_t life_unix_ms = 0;
    std::uint64_t number = 0;
    std::uint32_t load_percent = 0;         // now
    std::optional<p2p::NodeSigned> status;  // a NodeStatus; left out once this seer has it
    static constexpr auto fields() {
      return std::tuple{
          codec::field("life", &Request::life_unix_ms), codec::field("number", &Request::number),
          codec::field("load", &Request::load_percent), codec::field("status", &Request::status)};
    }
  };
  struct Response {
    bool known = false;  // false: this seer has no such status, so it was not counted; send it
    static constexpr auto fields() { return std::tuple{codec::field("known", &Response::known)}; }
  };
};

// A clean stop: gone at once. Said to the seers that were reported to.
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
  std::uint64_t silent_ms = 0;  // since it, or a seer that hears it, was heard
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

// This seer's copy of what seers share, in a few bytes: copies with the same content have the same
// digest.
struct Roll {
  static constexpr std::string_view kName = "roll";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(5);
  struct Request {
    static constexpr auto fields() { return std::tuple{}; }
  };
  struct Response {
    std::uint64_t records = 0;  // "that seer hears that node"
    Bytes digest;
    std::uint64_t written = 0;  // deltas of this seer since it started
    static constexpr auto fields() {
      return std::tuple{codec::field("records", &Response::records),
                        codec::field("digest", &Response::digest),
                        codec::field("written", &Response::written)};
    }
  };
};

using Commands = command::List<Report, Leave, ListNodes, Statistics, Roll>;

}  // namespace tau::seer
