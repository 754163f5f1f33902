// What tns nodes ask each other, and tools, because each holds some shards of the registry. A tns node that is
// asked for a shard that it does not hold asks one that does, once: these commands are answered
// from what the node itself holds, and never passed on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "services/tns/api.h"

namespace tau::tns {

inline constexpr std::string_view kShardsProtocol = "/tau/tns/shards/1";

// Which shards the asked node holds, and who holds them with it. Every member may ask: it is how
// tools see who decides.
struct GetShards {
  static constexpr std::string_view kName = "get_shards";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(2);
  struct Held {
    std::uint64_t shard = 0;
    std::vector<PeerId> voters, replicas;
    std::optional<PeerId> leader;
    static constexpr auto fields() {
      return std::tuple{codec::field("shard", &Held::shard), codec::field("voters", &Held::voters),
                        codec::field("replicas", &Held::replicas),
                        codec::field("leader", &Held::leader)};
    }
  };
  struct Request {
    static constexpr auto fields() { return std::tuple{}; }
  };
  struct Response {
    std::uint64_t count = 0;  // shards of the network; 0: this node does not know yet
    std::vector<Held> held;
    static constexpr auto fields() {
      return std::tuple{codec::field("count", &Response::count),
                        codec::field("held", &Response::held)};
    }
  };
};

// Proposes a command to a shard: what a member of its group may do anyway. Errors: unavailable (no
// majority, or the node does not hold the shard).
struct ProposeTo {
  static constexpr std::string_view kName = "propose";
  static constexpr command::Callers kCallers = command::callers("tns");
  static constexpr Duration kDeadline = std::chrono::seconds(4);
  struct Request {
    std::uint64_t shard = 0;
    Bytes command;  // NamesCommand
    static constexpr auto fields() {
      return std::tuple{codec::field("shard", &Request::shard),
                        codec::field("command", &Request::command)};
    }
  };
  struct Response {
    Bytes answer;  // NamesAnswer
    static constexpr auto fields() { return std::tuple{codec::field("answer", &Response::answer)}; }
  };
};

// Whose is the name? Of the shard that keeps the name. Errors: unavailable (not held, or the node
// is catching up).
struct OwnerOf {
  static constexpr std::string_view kName = "owner_of";
  static constexpr command::Callers kCallers = command::callers("tns");
  static constexpr Duration kDeadline = std::chrono::seconds(1);
  struct Request {
    std::string name;  // NameRules::name_of
    static constexpr auto fields() { return std::tuple{codec::field("name", &Request::name)}; }
  };
  struct Response {
    std::optional<ProjectId> project;  // nothing: it is free
    static constexpr auto fields() {
      return std::tuple{codec::field("project", &Response::project)};
    }
  };
};

// The pointer of this project that answers the host. Of the shard that keeps the project. Errors:
// not_found, unavailable (not held, lags behind `seen`, catching up).
struct FindHost {
  static constexpr std::string_view kName = "find_host";
  static constexpr command::Callers kCallers = command::callers("tns");
  static constexpr Duration kDeadline = std::chrono::seconds(1);
  struct Request {
    ProjectId project;
    std::string host;
    std::optional<Seen> seen;
    static constexpr auto fields() {
      return std::tuple{codec::field("project", &Request::project),
                        codec::field("host", &Request::host), codec::field("seen", &Request::seen)};
    }
  };
  using Response = Lookup::Response;
};

// For tools, which walk the shards (listing.h): a page of the names that the asked node knows in
// one shard, in byte order. As much as this node has applied, and nobody's signed word. A page is
// bounded by what is looked at, too: it may be short, or empty, and not the last. Errors:
// unavailable (not held), invalid_argument.
inline constexpr std::size_t kListedMax = 200;          // entries of a page; about 60 KB
inline constexpr std::size_t kLookedThroughMax = 4096;  // keys; well below a millisecond
struct ListNames {
  static constexpr std::string_view kName = "list_names";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(2);
  struct Name {
    std::string name;
    ProjectId project;
    static constexpr auto fields() {
      return std::tuple{codec::field("name", &Name::name), codec::field("project", &Name::project)};
    }
    friend bool operator==(const Name&, const Name&) = default;
  };
  struct Request {
    std::uint64_t shard = 0;
    std::string prefix, suffix;  // both must be the name's; empty: any
    std::string after;           // names above it; any text
    std::uint64_t limit = kListedMax;
    static constexpr auto fields() {
      return std::tuple{
          codec::field("shard", &Request::shard), codec::field("prefix", &Request::prefix),
          codec::field("suffix", &Request::suffix), codec::field("after", &Request::after),
          codec::field("limit", &Request::limit)};
    }
  };
  struct Response {
    std::vector<Name> found;
    std::optional<std::string> next;        // `after` of the next page; nothing: there is none
    std::optional<std::uint64_t> stale_ms;  // consensus::Stale::age; nothing: not known
    static constexpr auto fields() {
      return std::tuple{codec::field("found", &Response::found),
                        codec::field("next", &Response::next),
                        codec::field("stale", &Response::stale_ms)};
    }
  };
};

// The same of a project's pointers, by branch.
struct ListPointers {
  static constexpr std::string_view kName = "list_pointers";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(2);
  struct Standing {
    std::string branch;
    std::uint64_t seq = 0;
    codec::Cid deployment;
    std::uint64_t hosts = 0;               // how many it answers
    std::optional<std::string> host = {};  // one of them
    std::int64_t moved_unix_ms = 0;
    static constexpr auto fields() {
      return std::tuple{codec::field("branch", &Standing::branch),
                        codec::field("seq", &Standing::seq),
                        codec::field("deployment", &Standing::deployment),
                        codec::field("hosts", &Standing::hosts),
                        codec::field("host", &Standing::host),
                        codec::field("moved", &Standing::moved_unix_ms)};
    }
  };
  struct Request {
    std::uint64_t shard = 0;
    ProjectId project;
    std::string prefix, after;  // of branches
    std::uint64_t limit = kListedMax;
    static constexpr auto fields() {
      return std::tuple{
          codec::field("shard", &Request::shard), codec::field("project", &Request::project),
          codec::field("prefix", &Request::prefix), codec::field("after", &Request::after),
          codec::field("limit", &Request::limit)};
    }
  };
  struct Response {
    std::vector<Standing> found;
    std::optional<std::string> next;
    std::optional<std::uint64_t> stale_ms;
    static constexpr auto fields() {
      return std::tuple{codec::field("found", &Response::found),
                        codec::field("next", &Response::next),
                        codec::field("stale", &Response::stale_ms)};
    }
  };
};

using ShardCommands =
    command::List<GetShards, ProposeTo, OwnerOf, FindHost, ListNames, ListPointers>;

}  // namespace tau::tns
