// Names: who owns which name, and where each pointer stands. The state machine that the tns nodes
// agree on: pure, in memory, the same on every node after the same commands.
//
//   name      hello.blackhole.localhost, or another fqdn     -> project        first come, for good
//   pointer   (project, branch)                              -> seq, fence, deployment, hosts; only
//   forward host      a name that a pointer answers                  -> (project, branch)
//
// A network with several shards (shards.h) has one of these for each: names are claimed in theirs
// first, and a pointer is moved in its project's. With one shard a move claims its names itself.
//
// Commands come after the chain of trust has been checked (service.h); what is checked here is what
// only the agreed order can decide: who came first, and which seq is higher.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "consensus/state_machine.h"
#include "services/tns/api.h"
#include "services/tns/shard_api.h"

namespace tau::tns {

struct ClaimName {
  ProjectId project;
  std::string name;  // an fqdn
  static constexpr auto fields() {
    return std::tuple{codec::field("project", &ClaimName::project),
                      codec::field("name", &ClaimName::name)};
  }
};
// All of them, or none.
struct ClaimNames {
  ProjectId project;
  std::vector<std::string> names;
  static constexpr auto fields() {
    return std::tuple{codec::field("project", &ClaimNames::project),
                      codec::field("names", &ClaimNames::names)};
  }
};
struct MovePointer {
  Pointer pointer;
  // For each host of the pointer the name that must be the project's, in the same order.
  std::vector<std::string> names;
  // Instead of the names, to fit a command of the group: where in each host its name begins.
  std::optional<std::vector<std::uint32_t>> name_at = std::nullopt;
  std::optional<Bytes> proof = std::nullopt;  // of Proof
  // The names were claimed in their own shards before; then none is here.
  std::optional<bool> claimed = std::nullopt;
  static constexpr auto fields() {
    return std::tuple{
        codec::field("pointer", &MovePointer::pointer), codec::field("names", &MovePointer::names),
        codec::field("name_at", &MovePointer::name_at), codec::field("proof", &MovePointer::proof),
        codec::field("claimed", &MovePointer::claimed)};
  }
  void shorten();   // names -> name_at
  Status expand();  // and back. Errors: invalid_argument
};
// The pointer goes back to a version that is kept, as `seq`.
struct MoveBack {
  ProjectId project;
  std::string branch;
  std::uint64_t from_seq = 0;  // it must stand there
  std::uint64_t to_seq = 0;
  codec::Cid deployment;
  std::uint64_t seq = 0;
  std::int64_t moved_unix_ms = 0;
  std::optional<p2p::NodeSigned> rollback = std::nullopt;  // for the proof
  static constexpr auto fields() {
    return std::tuple{codec::field("project", &MoveBack::project),
                      codec::field("branch", &MoveBack::branch),
                      codec::field("from", &MoveBack::from_seq),
                      codec::field("to", &MoveBack::to_seq),
                      codec::field("deployment", &MoveBack::deployment),
                      codec::field("seq", &MoveBack::seq),
                      codec::field("moved", &MoveBack::moved_unix_ms),
                      codec::field("rollback", &MoveBack::rollback)};
  }
};
// Exactly one is there.
struct NamesCommand {
  std::optional<ClaimName> claim = std::nullopt;
  std::optional<MovePointer> move = std::nullopt;
  std::optional<MoveBack> back = std::nullopt;
  std::optional<ClaimNames> claims = std::nullopt;
  static constexpr auto fields() {
    return std::tuple{
        codec::field("claim", &NamesCommand::claim), codec::field("move", &NamesCommand::move),
        codec::field("back", &NamesCommand::back), codec::field("claims", &NamesCommand::claims)};
  }
};
struct NamesAnswer {
  std::uint64_t code = 0;  // ErrorCode; 0: done
  std::string message;
  std::optional<Pointer> pointer;  // of a move: as it stands now
  std::vector<std::string> gone;   // hosts that it no longer answers
  bool moved = false;              // false: it stood there already
  static constexpr auto fields() {
    return std::tuple{
        codec::field("code", &NamesAnswer::code), codec::field("message", &NamesAnswer::message),
        codec::field("pointer", &NamesAnswer::pointer), codec::field("gone", &NamesAnswer::gone),
        codec::field("moved", &NamesAnswer::moved)};
  }
  Status status() const;
};

// What the suffix means; the same on all tns nodes of a network.
class NameRules {
 public:
  explicit NameRules(std::string suffix) : suffix_(std::move(suffix)) {}  // "blackhole.localhost"

  const std::string& suffix() const { return suffix_; }
  std::string name_of_label(std::string_view label) const;
  // The name that decides whose `host` is: "<label>.<suffix>" for anything under the suffix, also
  // for previews; any other fqdn itself. Errors: invalid_argument.
  Result<std::string> name_of(std::string_view host) const;
  // The hosts that a pointer of `branch` answers when its receipt lists `hosts`, with their names.
  // Errors: invalid_argument (no host name, kept for previews, too many).
  Result<MovePointer> hosts_for(std::string_view branch,
                                const std::vector<std::string>& hosts) const;

 private:
  bool under_suffix(std::string_view host) const;
  std::string suffix_;
};

class Names final : public consensus::StateMachine {
 public:
  // Bounds of the whole state: a snapshot is one message between members, and takes the loop some
  // tens of milliseconds at most.
  static constexpr std::size_t kNamesMax = 100'000;
  static constexpr std::size_t kPointersMax = 50'000;
  // About, of all names and pointers with their proofs: 25,000 pointers of usual size.
  static constexpr std::size_t kBytesMax = 64u << 20;
  // So that one project cannot use up the others' part.
  static constexpr std::size_t kNamesOfProjectMax = 1'000;
  static constexpr std::size_t kPointersOfProjectMax = 500;
  // Earlier versions, for going back: of one pointer, and of all together. What is kept longest
  // makes room; a publish never fails for it.
  static constexpr std::size_t kHistoryMax = 20;
  static constexpr std::size_t kHistoryBytesOfPointerMax = 64u << 10;
  static constexpr std::size_t kHistoryBytesMax = 16u << 20;

  // What one group may hold; the same on all its members.
  struct Limits {
    std::size_t names, pointers, bytes, names_of_project;
    // Of several shards each is smaller. A project's names spread over them evenly enough that
    // twice the even part in each never stops one that has fewer than it may have in all.
    static Limits of(std::size_t shards);
  };
  Names() : Names(Limits::of(1)) {}
  explicit Names(Limits limits) : limits_(limits) {}
  void clear() { *this = Names(limits_); }

  Bytes apply(BytesView command) override;
  Bytes snapshot() const override;
  Status restore(BytesView snapshot) override;

  struct Owner {
    ProjectId project;
    std::string branch;
  };
  // Whose is the host that answers, or would once something is deployed?
  std::optional<Owner> owner_of(const NameRules& rules, std::string_view host) const;
  // Null: nothing is deployed there.
  const Pointer* find(std::string_view host) const;
  const Pointer* find(const ProjectId& project, const std::string& branch) const;
  // Of the pointer as it stands: the bytes of its Proof. Null: none is kept.
  const Bytes* proof_of(const ProjectId& project, const std::string& branch) const;
  // Whose name it is, by the name itself; nothing: it is free.
  std::optional<ProjectId> owner_of(std::string_view name) const;
  // failed_precondition when the pointer stands too high already: that never changes again.
  Status comes_too_late(const Pointer& to) const;
  // Newest first, with the pointer as it stands; empty: nothing is deployed there.
  std::vector<Version> history(const ProjectId& project, const std::string& branch) const;
  // A page, in byte order, without its age.
  ListNames::Response list(const ListNames::Request& request) const;
  ListPointers::Response list(const ListPointers::Request& request) const;
  std::size_t name_count() const { return names_.size(); }
  std::size_t history_bytes() const { return history_bytes_; }

 private:
  using Key = std::pair<ProjectId, std::string>;
  NamesAnswer apply(const ClaimName& claim);
  NamesAnswer apply(const ClaimNames& claims);
  NamesAnswer apply(MovePointer move);
  NamesAnswer apply(const MoveBack& back);
  struct Standing {
    Pointer pointer;
    Bytes proof;  // empty: none
    std::size_t size() const;
  };
  Result<Standing> target_of(const MoveBack& back, const Pointer& now) const;
  Status may_move(const MovePointer& move) const;
  Status may_answer(const Standing& to) const;
  NamesAnswer put(Standing to);
  void keep(const Key& key, Standing old);
  void keep_as(std::uint64_t number, const Key& key, Standing old);
  void forget_oldest(const Key& key);
  Status may_own(const ProjectId& project, const std::vector<std::string>& names) const;
  bool own(const ProjectId& project, const std::string& name);

  Limits limits_;
  std::map<std::string, ProjectId, std::less<>> names_;
  std::map<Key, Standing> pointers_;
  // Derived from the two above.
  std::map<std::string, Key, std::less<>> hosts_;
  std::map<ProjectId, std::size_t> name_counts_, pointer_counts_;
  std::size_t bytes_ = 0;

  struct Past {
    std::uint64_t number = 0;  // counts what is kept, of all pointers
    Standing was;
  };
  struct Shelf {
    std::deque<Past> versions;  // oldest first
    std::size_t bytes = 0;
  };
  std::map<Key, Shelf> history_;
  std::map<std::uint64_t, Key> kept_;  // whose each number is
  std::uint64_t next_number_ = 1;
  std::size_t history_bytes_ = 0;
};

}  // namespace tau::tns
