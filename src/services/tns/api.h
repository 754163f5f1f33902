// tns on the wire: names and pointers.
//
//   pointer  (project, branch) -> (seq, deployment CID)     signed by a tns node; moves only
//   forward name     fqdn or label     -> (project, branch)          first come
//
// A publish carries the whole chain of trust: the owner's registration inside patrick's job, and
// monkey's receipt.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "codec/cid.h"
#include "command/command.h"
#include "p2p/node_signed.h"
#include "services/auth/api.h"

namespace tau::tns {

struct Pointer {
  static constexpr std::string_view kPurpose = "tau pointer v1";
  ProjectId project;
  std::string branch;
  std::uint64_t seq = 0;
  codec::Cid deployment;
  std::vector<std::string> hosts;  // the fqdns that this deployment answers
  std::vector<PeerId> holders;     // hoarders that hold it: hints for fetching, not a promise
  std::int64_t moved_unix_ms = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("project", &Pointer::project),
                      codec::field("branch", &Pointer::branch),
                      codec::field("seq", &Pointer::seq),
                      codec::field("deployment", &Pointer::deployment),
                      codec::field("hosts", &Pointer::hosts),
                      codec::field("holders", &Pointer::holders),
                      codec::field("moved", &Pointer::moved_unix_ms)};
  }
};

inline constexpr std::string_view kRole = "tns";
inline constexpr std::string_view kProtocol = "/tau/tns/1";
// Gossip after a move: the CBOR of Moved. A hint to look again, never believed by itself.
inline constexpr std::string_view kMovedTopic = "/tau/tns/moved/1";
struct Moved {
  ProjectId project;
  std::string branch;
  std::uint64_t seq = 0;
  std::vector<std::string> hosts;
  static constexpr auto fields() {
    return std::tuple{codec::field("project", &Moved::project),
                      codec::field("branch", &Moved::branch), codec::field("seq", &Moved::seq),
                      codec::field("hosts", &Moved::hosts)};
  }
};

// Claims a label for a project. Again by the same project: success. Errors: already_exists, with
// advice.
struct Claim {
  static constexpr std::string_view kName = "claim";
  static constexpr command::Callers kCallers = command::callers("auth");
  static constexpr Duration kDeadline = std::chrono::seconds(5);
  struct Request {
    codec::Signed registration;  // by the owner; its label is what is claimed
    static constexpr auto fields() {
      return std::tuple{codec::field("registration", &Request::registration)};
    }
  };
  using Response = command::Empty;
};

// Moves the pointer. Checked: patrick's and monkey's certificates and signatures, the owner's
// registration in the job, that receipt and job agree, that seq goes up (the same seq with the same
// deployment: success again), that every host is the project's or free. Decided by consensus,
// fsynced, then gossiped. Errors: permission_denied, failed_precondition (an older seq),
// already_exists (a host is another project's: names it), unavailable (no majority).
struct Publish {
  static constexpr std::string_view kName = "publish";
  static constexpr command::Callers kCallers = command::callers("monkey", "patrick");
  static constexpr Duration kDeadline = std::chrono::seconds(10);
  struct Request {
    p2p::NodeSigned job;      // patrick::Job
    p2p::NodeSigned receipt;  // monkey::Receipt
    static constexpr auto fields() {
      return std::tuple{codec::field("job", &Request::job),
                        codec::field("receipt", &Request::receipt)};
    }
  };
  struct Response {
    p2p::NodeSigned pointer;  // Pointer
    static constexpr auto fields() {
      return std::tuple{codec::field("pointer", &Response::pointer)};
    }
  };
};

// host -> pointer. Errors: not_found (unknown name; or known, but nothing is deployed: the message
// says which).
struct Lookup {
  static constexpr std::string_view kName = "lookup";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(2);
  struct Request {
    std::string host;  // lower case, without port
    static constexpr auto fields() { return std::tuple{codec::field("host", &Request::host)}; }
  };
  struct Response {
    p2p::NodeSigned pointer;
    static constexpr auto fields() {
      return std::tuple{codec::field("pointer", &Response::pointer)};
    }
  };
};

// Is the name claimed? For DNS, which answers for names before anything is deployed there.
struct Resolve {
  static constexpr std::string_view kName = "resolve";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(2);
  struct Request {
    std::string host;  // lower case, without port
    static constexpr auto fields() { return std::tuple{codec::field("host", &Request::host)}; }
  };
  struct Response {
    std::optional<ProjectId> project;  // nothing: nobody claimed it
    std::string branch;
    static constexpr auto fields() {
      return std::tuple{codec::field("project", &Response::project),
                        codec::field("branch", &Response::branch)};
    }
  };
};

// Errors: not_found.
struct GetPointer {
  static constexpr std::string_view kName = "get_pointer";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(2);
  struct Request {
    ProjectId project;
    std::string branch;
    static constexpr auto fields() {
      return std::tuple{codec::field("project", &Request::project),
                        codec::field("branch", &Request::branch)};
    }
  };
  using Response = Lookup::Response;
};

using Commands = command::List<Claim, Publish, Lookup, Resolve, GetPointer>;

}  // namespace tau::tns
