// tns on the wire: names and pointers.
//
//   pointer  (project, branch) -> (seq, deployment CID)     signed by a tns node; moves only
//   forward name     fqdn or label     -> (project, branch)          first come
//
// A publish carries the whole chain of trust: the owner's registration inside patrick's job, and
// monkey's receipt. What of it shows that a pointer is right goes with the pointer from then on, to
// whoever asks: a Proof, which needs no belief in the node that hands it on.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "codec/cid.h"
#include "command/command.h"
#include "p2p/node_signed.h"
#include "services/auth/api.h"

namespace tau::tns {

// Host names are lower case, at most 253 bytes, labels of 1 to 63 of a-z, 0-9, '-' and '_' with no
// '-' at either end (RFC 1123, and '_' as some services use it), no dot at the end. Errors:
// invalid_argument.
Status check_host(std::string_view host);
// Git's rules are wider; these are what a branch must keep to have a pointer: 1 to 128 bytes, no
// control characters, no space. Errors: invalid_argument.
Status check_branch(std::string_view branch);

// The branch whose deployment answers the project's own names. Every other branch is a preview:
// what would answer at hello.blackhole.localhost answers at <branch>--hello.blackhole.localhost.
inline constexpr std::string_view kMainBranch = "main";
// Of a host's first label: "feature/Login" -> "feature-login". Empty if nothing of it is left.
std::string preview_label(std::string_view branch);
// Where a preview of `branch` answers for `host`; nothing if no host name comes of it.
std::optional<std::string> preview_host(std::string_view branch, std::string_view host);

// The hosts that the deployment of `branch` answers when its configuration names `hosts`: of branch
// main all of them, of another one the previews of those right under the suffix. Sorted, each once.
// Errors: invalid_argument (no host name, kept for previews, too many).
Result<std::vector<std::string>> answered_hosts(std::string_view suffix, std::string_view branch,
                                                const std::vector<std::string>& hosts);
using HostsDigest = std::array<std::uint8_t, 32>;
// SHA-256 of the DAG-CBOR list: what a monkey signs of the hosts that a pointer answers.
HostsDigest digest_of_hosts(const std::vector<std::string>& answered);

// Bounds of one pointer. Its gossip must fit 64 KiB with the hosts before and after the move, and
// the command that moves it 48 KiB.
inline constexpr std::size_t kHostsMax = 500;
inline constexpr std::size_t kHostsBytesMax = 20u << 10;
inline constexpr std::size_t kHoldersMax = 64;

struct Pointer {
  static constexpr std::string_view kPurpose = "tau pointer v1";
  ProjectId project;
  std::string branch;
  std::uint64_t seq = 0;
  codec::Cid deployment;
  std::vector<std::string> hosts;  // the fqdns that this deployment answers
  std::vector<PeerId> holders;     // hoarders that hold it: hints for fetching, not a promise
  std::int64_t moved_unix_ms = 0;
  // The lease that patrick's job was built under; pointers are in the order of (seq, fence).
  // Absent: 0.
  std::optional<std::uint64_t> fence = std::nullopt;
  // monkey::Compiled, machine code of the deployment's modules: a hint, for who believes its
  // signer.
  std::optional<codec::Cid> compiled;
  // Of a pointer that was moved back: the seq of the push whose deployment it serves again. Absent:
  // seq itself.
  std::optional<std::uint64_t> push = std::nullopt;
  static constexpr auto fields() {
    return std::tuple{codec::field("project", &Pointer::project),
                      codec::field("branch", &Pointer::branch),
                      codec::field("seq", &Pointer::seq),
                      codec::field("deployment", &Pointer::deployment),
                      codec::field("hosts", &Pointer::hosts),
                      codec::field("holders", &Pointer::holders),
                      codec::field("moved", &Pointer::moved_unix_ms),
                      codec::field("fence", &Pointer::fence),
                      codec::field("compiled", &Pointer::compiled),
                      codec::field("push", &Pointer::push)};
  }
  std::uint64_t pushed_seq() const { return push.value_or(seq); }
  std::pair<std::uint64_t, std::uint64_t> version() const { return {seq, fence.value_or(0)}; }
  friend bool operator==(const Pointer&, const Pointer&) = default;
};
// Why a pointer is what it is, in the words of those who decided it; chain.h checks it. A push has
// `job` and `head`; a step back has the order, and beside it the push that it goes back to, unless
// that one was published before proofs were kept. Kept and handed on as the bytes of this record.
struct Proof {
  std::optional<p2p::NodeSigned> job = std::nullopt;       // patrick::Job, the registration in it
  std::optional<p2p::NodeSigned> head = std::nullopt;      // monkey::ReceiptHead
  std::optional<p2p::NodeSigned> rollback = std::nullopt;  // patrick::NumberedRollback
  static constexpr auto fields() {
    return std::tuple{codec::field("job", &Proof::job), codec::field("head", &Proof::head),
                      codec::field("rollback", &Proof::rollback)};
  }
};
// Of a push with 64 repositories whose names are as long as may be.
inline constexpr std::size_t kPushProofBytesMax = 23u << 10;
// And with an order, which has the registration once more.
inline constexpr std::size_t kProofBytesMax = 36u << 10;

// What the deployment calls a host that its pointer answers: of a preview, the name without the
// branch. This is the name to route by.
std::string_view routed_host(const Pointer& pointer, std::string_view host);

// The label under the suffix that nobody can claim: below it seer answers for the network itself
// (seer.tau.blackhole.localhost).
inline constexpr std::string_view kNetworkLabel = "tau";

inline constexpr std::string_view kRole = "tns";
inline constexpr std::string_view kProtocol = "/tau/tns/1";
// Gossip after a move: the CBOR of Moved. A hint to look again, never believed by itself.
inline constexpr std::string_view kMovedTopic = "/tau/tns/moved/1";
struct Moved {
  ProjectId project;
  std::string branch;
  std::uint64_t seq = 0;
  std::vector<std::string> hosts;  // those that answer now, and those that no longer do
  std::optional<std::uint64_t> fence = std::nullopt;
  static constexpr auto fields() {
    return std::tuple{codec::field("project", &Moved::project),
                      codec::field("branch", &Moved::branch), codec::field("seq", &Moved::seq),
                      codec::field("hosts", &Moved::hosts), codec::field("fence", &Moved::fence)};
  }
  std::pair<std::uint64_t, std::uint64_t> version() const { return {seq, fence.value_or(0)}; }
};

// Claims a label for a project. Again by the same project: success. Errors: already_exists, with
// advice; invalid_argument (a label with "--" is kept for previews).
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
// registration in the job, that receipt and job agree, that (seq, fence) goes up (the same with the
// same deployment: success again; so a build whose lease was lost never replaces that of the monkey
// which got the job after it), that every host is the project's or free. Decided by consensus,
// fsynced, then gossiped. The pointer is signed by the node that answers, here and below: any tns
// node may speak for the group, and the key that signs never leaves its node.
//
// Which hosts? Under the network's suffix a name belongs to the project that holds its label (the
// last one before the suffix), claimed here if it is free; any other fqdn is claimed as it is,
// first come, too (that its owner controls the domain is not proven here). Branch main answers all
// hosts of the receipt; another branch answers their previews under the suffix. Errors:
// permission_denied, failed_precondition (an older seq or fence; no head, where the version before
// has a proof), already_exists (a host is another project's: names it), unavailable (no majority).
struct Publish {
  static constexpr std::string_view kName = "publish";
  static constexpr command::Callers kCallers = command::callers("monkey", "patrick");
  static constexpr Duration kDeadline = std::chrono::seconds(10);
  struct Request {
    p2p::NodeSigned job;      // patrick::Job
    p2p::NodeSigned receipt;  // monkey::Receipt
    // monkey::ReceiptHead: with the job it becomes the pointer's proof. Absent, as earlier monkeys
    // publish: the pointer has none.
    std::optional<p2p::NodeSigned> head = std::nullopt;
    static constexpr auto fields() {
      return std::tuple{codec::field("job", &Request::job),
                        codec::field("receipt", &Request::receipt),
                        codec::field("head", &Request::head)};
    }
  };
  struct Response {
    p2p::NodeSigned pointer;  // Pointer
    static constexpr auto fields() {
      return std::tuple{codec::field("pointer", &Response::pointer)};
    }
  };
};

// What an asker has seen of a pointer: who answers must know as much.
struct Seen {
  ProjectId project;
  std::string branch;
  std::uint64_t seq = 0;
  std::optional<std::uint64_t> fence = std::nullopt;
  // true: the asker has checked this version's proof, and needs it no more.
  std::optional<bool> proven = std::nullopt;
  static constexpr auto fields() {
    return std::tuple{codec::field("project", &Seen::project),
                      codec::field("branch", &Seen::branch), codec::field("seq", &Seen::seq),
                      codec::field("fence", &Seen::fence), codec::field("proven", &Seen::proven)};
  }
  std::pair<std::uint64_t, std::uint64_t> version() const { return {seq, fence.value_or(0)}; }
};

// host -> pointer. Any tns node answers, from what it has applied; one that lags behind what the
// asker has `seen` of the host says so instead of taking it back. Errors: not_found (unknown name;
// or known, but nothing is deployed: the message says which), unavailable (it lags).
struct Lookup {
  static constexpr std::string_view kName = "lookup";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(2);
  struct Request {
    std::string host;                         // lower case, without port
    std::optional<Seen> seen = std::nullopt;  // the pointer that answered this host last
    static constexpr auto fields() {
      return std::tuple{codec::field("host", &Request::host), codec::field("seen", &Request::seen)};
    }
  };
  struct Response {
    p2p::NodeSigned pointer;
    // Of Proof. Absent: the asker has it, or the version was published before proofs were kept.
    std::optional<Bytes> proof = std::nullopt;
    static constexpr auto fields() {
      return std::tuple{codec::field("pointer", &Response::pointer),
                        codec::field("proof", &Response::proof)};
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

// As any tns node has applied it; or, `linearizable`, as it stands after all that was acknowledged
// anywhere before the question. Errors: not_found; unavailable (linearizable: no majority answers).
struct GetPointer {
  static constexpr std::string_view kName = "get_pointer";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(2);
  struct Request {
    ProjectId project;
    std::string branch;
    std::optional<bool> linearizable = std::nullopt;
    static constexpr auto fields() {
      return std::tuple{codec::field("project", &Request::project),
                        codec::field("branch", &Request::branch),
                        codec::field("linearizable", &Request::linearizable)};
    }
  };
  struct Response {
    p2p::NodeSigned pointer;
    std::optional<Bytes> proof = std::nullopt;  // as Lookup's
    // true: it is what was asked for. A node of an earlier version passes the question over.
    std::optional<bool> linearizable = std::nullopt;
    static constexpr auto fields() {
      return std::tuple{codec::field("pointer", &Response::pointer),
                        codec::field("proof", &Response::proof),
                        codec::field("linearizable", &Response::linearizable)};
    }
  };
};

// One version of a pointer, as it stands or stood.
struct Version {
  std::uint64_t seq = 0;
  std::uint64_t push = 0;  // the seq of the push that made the deployment
  codec::Cid deployment;
  std::int64_t moved_unix_ms = 0;
  bool serves = false;  // as it stands now
  static constexpr auto fields() {
    return std::tuple{codec::field("seq", &Version::seq), codec::field("push", &Version::push),
                      codec::field("deployment", &Version::deployment),
                      codec::field("moved", &Version::moved_unix_ms),
                      codec::field("serves", &Version::serves)};
  }
};

// The versions of a pointer that are kept, newest first: as it stands, and those before it that it
// can be moved back to. As much as this node has applied. Errors: not_found.
struct History {
  static constexpr std::string_view kName = "history";
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
  struct Response {
    std::vector<Version> versions;
    static constexpr auto fields() {
      return std::tuple{codec::field("versions", &Response::versions)};
    }
  };
};

// Moves a pointer back to a version of its history, under a seq that goes up as any other move's.
// Checked: patrick's certificate and signature, the owner's registration and order; in the agreed
// order, that the pointer still stands where the order says, and that the version is kept. The same
// one again: success. Errors: permission_denied, failed_precondition (it stands elsewhere by now),
// not_found (the version is not kept), already_exists (a host is another branch's by now),
// unavailable (no majority).
struct Rollback {
  static constexpr std::string_view kName = "rollback";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(10);
  struct Request {
    p2p::NodeSigned rollback;  // patrick::NumberedRollback
    static constexpr auto fields() {
      return std::tuple{codec::field("rollback", &Request::rollback)};
    }
  };
  using Response = Publish::Response;
};

using Commands = command::List<Claim, Publish, Lookup, Resolve, GetPointer, History, Rollback>;

}  // namespace tau::tns
