// hoarder on the wire: nodes that keep content on their disks for the others.
//
// What is held is a whole DAG, named by its root: DAG-CBOR, DAG-PB and raw blocks. The blocks come
// by bitswap; a command names the content and never carries it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>
#include <tuple>
#include <vector>

#include "codec/cid.h"
#include "codec/record.h"
#include "command/command.h"

namespace tau::hoarder {

inline constexpr std::string_view kRole = "hoarder";
inline constexpr std::string_view kProtocol = "/tau/hoarder/1";

// Of one held DAG: a deployment with its websites is a few megabytes.
inline constexpr std::uint64_t kDagBytesMax = 512ull << 20;
inline constexpr std::uint64_t kDagBlocksMax = 100'000;
inline constexpr std::size_t kHintsMax = 16;
inline constexpr std::uint32_t kListMax = 500;

struct Held {
  codec::Cid root;
  std::uint64_t blocks = 0;  // different ones
  std::uint64_t bytes = 0;
  std::int64_t since_unix_ms = 0;
  friend bool operator==(const Held&, const Held&) = default;
  static constexpr auto fields() {
    return std::tuple{codec::field("root", &Held::root), codec::field("blocks", &Held::blocks),
                      codec::field("bytes", &Held::bytes),
                      codec::field("since", &Held::since_unix_ms)};
  }
};

// Fetches everything below the root (from the caller, from the peers it names, from whoever has it)
// and answers once all of it and the promise to keep it are on this node's disk (fsynced). What is
// held already answers at once. Errors: not_found (a block that nobody has), resource_exhausted
// (too large, or too many holds at once), invalid_argument.
struct Hold {
  static constexpr std::string_view kName = "hold";
  static constexpr command::Callers kCallers = command::callers("monkey", "tns", "patrick");
  static constexpr Duration kDeadline = std::chrono::seconds(120);  // kDagBytesMax at 40 Mbit/s
  struct Request {
    codec::Cid root;
    std::vector<PeerId> from;  // who has it, at most kHintsMax; the caller is asked in any case
    static constexpr auto fields() {
      return std::tuple{codec::field("root", &Request::root), codec::field("from", &Request::from)};
    }
  };
  using Response = Held;
};

// Ends the promise; not being held is no error. The blocks stay until their space is needed.
struct Release {
  static constexpr std::string_view kName = "release";
  static constexpr command::Callers kCallers = command::callers("monkey", "tns", "patrick");
  static constexpr Duration kDeadline = std::chrono::seconds(5);
  struct Request {
    codec::Cid root;
    static constexpr auto fields() { return std::tuple{codec::field("root", &Request::root)}; }
  };
  using Response = command::Empty;
};

struct Holds {
  static constexpr std::string_view kName = "holds";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(2);
  struct Request {
    codec::Cid root;
    static constexpr auto fields() { return std::tuple{codec::field("root", &Request::root)}; }
  };
  struct Response {
    std::optional<Held> held;  // nothing: not here
    static constexpr auto fields() { return std::tuple{codec::field("held", &Response::held)}; }
  };
};

// A page of what is held, in the order of the roots' text, after `after`.
struct ListHeld {
  static constexpr std::string_view kName = "list_held";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(5);
  struct Request {
    std::optional<codec::Cid> after;
    std::uint32_t limit = 100;  // at most kListMax
    static constexpr auto fields() {
      return std::tuple{codec::field("after", &Request::after),
                        codec::field("limit", &Request::limit)};
    }
  };
  struct Response {
    std::vector<Held> held;
    static constexpr auto fields() { return std::tuple{codec::field("held", &Response::held)}; }
  };
};

using Commands = command::List<Hold, Release, Holds, ListHeld>;

}  // namespace tau::hoarder
