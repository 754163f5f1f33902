// The tns service of a node: answers commands, checks the chain of trust, and lets the tns nodes
// decide. What is not in the shards that this node holds, it asks of a tns node that holds them,
// and never on behalf of another tns node. README.md says what it owns and how it fails.
//
// Lives between start() and stop() on the loop's thread; owns its shards.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "command/router.h"
#include "consensus/group.h"
#include "p2p/host.h"
#include "p2p/node_signed.h"
#include "services/tns/api.h"
#include "services/tns/names.h"
#include "services/tns/shards.h"
#include "store/kv.h"

namespace tau::tns {

class Service {
 public:
  struct Options {
    std::string suffix;  // "blackhole.localhost": the same on all tns nodes
    // The tns nodes that found the registry, the same list on each tns node; read when this one is
    // first started. One that is not among them waits until the others let it follow. Empty: this
    // one alone.
    std::vector<PeerId> founders = {};
    std::size_t shards = kShardsUsual;  // that they found
    Duration keeper_pace = consensus::Keeper::Options().pace;
    Duration keeper_grace = consensus::Keeper::Options().grace;  // until a lost voter is replaced
  };

  // `kv` is this service's own (store::with_prefix).
  Service(runtime::Loop& loop, p2p::Host& host, command::Router& router, command::Caller& caller,
          store::Kv& kv, Random& random, const p2p::Admission& admission,
          const p2p::NodeIdentity& identity, Logger log, Options options);
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  Task<Status> start();
  Task<void> stop();  // idempotent

  // What is gossiped does not come back to the node that says it; a Client of this same node is
  // told here: service.on_moved([&](const Moved& m) { client.note_moved(m); }).
  void on_moved(std::function<void(const Moved&)> handler) { on_moved_ = std::move(handler); }

  Task<Result<Claim::Response>> handle(command::Peer from, Claim::Request request);
  Task<Result<Publish::Response>> handle(command::Peer from, Publish::Request request);
  Task<Result<Lookup::Response>> handle(command::Peer from, Lookup::Request request);
  Task<Result<Resolve::Response>> handle(command::Peer from, Resolve::Request request);
  Task<Result<GetPointer::Response>> handle(command::Peer from, GetPointer::Request request);
  Task<Result<History::Response>> handle(command::Peer from, History::Request request);
  Task<Result<Rollback::Response>> handle(command::Peer from, Rollback::Request request);
  // Of tns nodes.
  Task<Result<GetShards::Response>> handle(command::Peer from, GetShards::Request request);
  Task<Result<ProposeTo::Response>> handle(command::Peer from, ProposeTo::Request request);
  Task<Result<OwnerOf::Response>> handle(command::Peer from, OwnerOf::Request request);
  Task<Result<FindHost::Response>> handle(command::Peer from, FindHost::Request request);

  // Of tools.
  Task<Result<ListNames::Response>> handle(command::Peer from, ListNames::Request request);
  Task<Result<ListPointers::Response>> handle(command::Peer from, ListPointers::Request request);

  const Shards& shards() const { return shards_; }

 private:
  Result<MovePointer> check_chain(const Publish::Request& request) const;
  Result<MoveBack> check_order(const p2p::NodeSigned& rollback) const;
  Task<Result<NamesAnswer>> decide(std::size_t shard, NamesCommand command);
  Task<Status> claim_all(ProjectId project, std::vector<std::string> names);
  // Whose the name is; nothing: it is free. Here, or as another node says.
  Task<Result<std::optional<ProjectId>>> owner_of(std::string name);
  Result<FindHost::Response> find_here(const Shard& shard, const FindHost::Request& request);
  Task<Result<FindHost::Response>> find_host(FindHost::Request request);
  Result<FindHost::Response> in_our_name(Result<FindHost::Response> answer);
  Task<Result<Publish::Response>> move_by(ProjectId project, NamesCommand command);
  Status joined() const;
  template <class C>
  Result<typename C::Response> list(const typename C::Request& request) const;
  p2p::NodeSigned sign(const Pointer& pointer);
  Lookup::Response answer(const Names& names, const Pointer& pointer,
                          const std::optional<Seen>& seen);
  void tell(const Moved& moved);
  void announce(const Pointer& pointer, const std::vector<std::string>& gone);

  runtime::Loop& loop_;
  p2p::Host& host_;
  command::Router& router_;
  const p2p::Admission& admission_;
  const p2p::NodeIdentity& identity_;
  Logger log_;
  NameRules rules_;
  std::unique_ptr<store::Kv> kv_;
  Shards shards_;
  bool serving_ = false;
  std::function<void(const Moved&)> on_moved_;
  // Signatures of pointers as they stand: an answer is then a copy. Forgotten when full.
  using Version = std::pair<std::uint64_t, std::uint64_t>;  // Pointer::version()
  std::map<std::pair<ProjectId, std::string>, std::pair<Version, p2p::NodeSigned>> signed_;
  // Of names in shards that others hold: whose they are, for good. Forgotten when full.
  std::map<std::string, ProjectId> owners_;
};

}  // namespace tau::tns
