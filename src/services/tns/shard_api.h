// What tns nodes ask each other, because each holds some shards of the registry. A tns node that is
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

using ShardCommands = command::List<GetShards, ProposeTo, OwnerOf, FindHost>;

}  // namespace tau::tns
