// Shards: the registry in pieces, each a group of some tns nodes. A name lives in the shard of its
// hash, a project's pointers in the shard of the project's.
//
// How many there are is decided when a network is founded, and kept on every tns node's disk; a
// node that joins is told by the others. Each node has all of them at hand, and is a member of
// those that their leaders' keepers chose it for: of each shard three nodes vote (or five) and two
// more follow, those that rank highest for it (rendezvous hashing) where failure domains allow. So
// with five nodes or fewer each is a member of all, and with more each holds its part.
//
// Loop thread only, between start() and stop().
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "command/caller.h"
#include "services/tns/shard.h"
#include "services/tns/shard_api.h"
#include "store/kv.h"

namespace tau::tns {

inline constexpr std::size_t kShardsUsual = 8;
inline constexpr std::size_t kShardsMax = 256;
inline constexpr std::size_t kReplicas = 2;  // of a shard, which follow beside those that vote

// Which of `count` shards keeps `key`; by its SHA-256, the same on all nodes for ever.
std::size_t shard_of(std::string_view key, std::size_t count);
// Where `peer` stands for `shard` among the nodes; the lowest come first.
std::uint64_t rank_of(std::size_t shard, const PeerId& peer);
// Who founds `shard`: the first of the founders by rank.
std::vector<PeerId> founders_of(std::size_t shard, std::vector<PeerId> founders,
                                std::size_t voters);

class Shards {
 public:
  struct Options {
    std::vector<PeerId> founders;      // of the network; empty: this node alone
    std::size_t count = kShardsUsual;  // read by founders at their first start
    consensus::Keeper::Options keeper;
  };

  // `kv` is the service's own.
  Shards(runtime::Loop& loop, p2p::Host& host, command::Caller& caller, store::Kv& kv,
         Random& random, Logger log, Options options);
  ~Shards();
  Shards(const Shards&) = delete;
  Shards& operator=(const Shards&) = delete;

  // Errors: data_loss (the number of shards on the disk), and as consensus::Group::start.
  Task<Status> start();
  Task<void> stop();  // idempotent

  std::size_t count() const { return shards_.size(); }  // 0: not known yet, or not started
  std::size_t of_name(std::string_view name) const { return shard_of(name, count()); }
  std::size_t of_project(const ProjectId& project) const {
    return shard_of(project.str(), count());
  }
  // Null: this node is no member of it (yet), and does not know what is in it.
  const Shard* held(std::size_t shard) const;
  // Which of them this node is a member of, and who else.
  GetShards::Response held() const;
  // Every shard that it is a member of has a leader, and all are known.
  bool decides() const;
  // The fewest that vote in a shard that it is a member of; 0: in none.
  std::size_t voters() const;

  // Here, or at a node that holds it. Errors: as consensus::Group::propose; unavailable when no
  // node that holds it is connected.
  Task<Result<Bytes>> propose(std::size_t shard, Bytes command);
  // consensus::Linearizable of what `look(names)` finds in a shard that is held. Errors: as
  // consensus::Group::read.
  template <class F>
  auto read(std::size_t shard, F look) {
    Shard& of = *shards_[shard].shard;
    return of.read([&of, look = std::move(look)] { return look(of.names()); });
  }
  // A question to nodes that hold a shard, the next when one gives no answer.
  template <class C>
  Task<Result<typename C::Response>> ask(std::size_t shard, std::string_view protocol,
                                         typename C::Request request) {
    Result<typename C::Response> answer = fail(no_holder(shard));
    if (count() == 0) co_return answer;
    for (int round = 0; round < 2; ++round) {
      for (const PeerId& peer : holders(shard)) {
        answer = co_await caller_.call<C>(peer, protocol, request);
        if (answer || !is_passing(answer.error())) co_return answer;
      }
      // Who holds it has changed, or this node never knew.
      if (round == 0 && !co_await look_around()) break;
    }
    co_return answer;
  }

 private:
  struct Part {
    std::unique_ptr<store::Kv> kv;
    std::unique_ptr<Shard> shard;
  };
  static bool is_passing(const Error& error);
  Error no_holder(std::size_t shard) const;
  std::vector<PeerId> holders(std::size_t shard) const;  // connected ones, best first
  Task<bool> look_around();
  Task<Status> begin();
  Task<Result<std::size_t>> read_count();
  Task<Status> open(std::size_t count);
  Task<void> start_part(std::size_t shard, Status& first_failure);
  Task<void> join();

  runtime::Loop& loop_;
  p2p::Host& host_;
  command::Caller& caller_;
  store::Kv& kv_;
  Logger log_;
  Options options_;
  consensus::Groups groups_;
  std::vector<Part> shards_;
  std::map<std::size_t, std::vector<PeerId>> known_;  // of shards that others hold
  std::optional<TimePoint> looked_;
  std::unique_ptr<runtime::TaskGroup> tasks_;
};

}  // namespace tau::tns
