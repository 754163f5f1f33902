// Client: how the other services of a node ask tns. Answers come from a cache when they can. A
// pointer is believed for its proof (chain.h): what owner, patrick and monkey signed. That a node
// with the role tns signed it, too, says who gave the answer. A proof is checked once for each
// version of a pointer.
//
// What is deployed stays served: an answer that once was right is kept, and served while no tns can
// be reached. Gossip about a move only makes the client look again; it is never believed by itself.
//
// How old may an answer be? Younger than `lease`: served as it is. Up to twice that: served, and
// looked up again beside. Older, or named by gossip: looked up first, for at most
// `refresh_wait`; then, if tns is silent, the old answer is served, and for one lease without
// asking.
//
// A tns node is asked at a time, another one each time, and the next when it gives no usable
// answer: one that is silent or lags, one whose pointer is not signed by itself or does not answer
// the host. Where several are connected, none alone decides what no proof shows: whose a name is
// that was never asked for, that a host is gone or another project's, and pointers without a proof
// are believed when a second one says the same. For a name that was never asked for, one is
// enough when all others are silent; this node's own tns is enough by itself. Where a version was
// proven, none without a proof follows. One that said what is not to be believed is logged,
// counted, and asked last for a while.
//
// Loop thread only. Owns its refreshes: stop() cancels and awaits them. One Client per node.
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/log.h"
#include "command/caller.h"
#include "p2p/host.h"
#include "p2p/node_signed.h"
#include "runtime/channel.h"
#include "runtime/task_group.h"
#include "services/tns/api.h"
#include "services/tns/chain.h"

namespace tau::tns {

class Client {
 public:
  struct Options {
    Duration lease = std::chrono::seconds(1);
    Duration refresh_wait = std::chrono::milliseconds(300);  // a few round trips between continents
    Duration negative = std::chrono::milliseconds(500);      // a name just claimed appears soon
    std::size_t hosts_max = 10'000;          // about 10 MB of pointers of usual size
    std::size_t negative_hosts_max = 2'000;  // made-up names must not push out real ones
    std::size_t lookups_max = 512;           // at once, for different hosts
    std::size_t proofs_max = 10'000;         // checked, each about 400 bytes
    // Pointers that have no proof: published by earlier versions, and not since.
    bool accept_unproven = true;
  };

  Client(runtime::Loop& loop, p2p::Host& host, command::Caller& caller,
         const p2p::Admission& admission, Logger log);
  Client(runtime::Loop& loop, p2p::Host& host, command::Caller& caller,
         const p2p::Admission& admission, Logger log, Options options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void start();       // listens to gossip
  Task<void> stop();  // idempotent

  enum class Source : std::uint8_t { network, cache, stale };
  struct Found {
    std::shared_ptr<const Pointer> pointer;  // verified; immutable, may be kept
    Source source = Source::network;
    bool proven = false;  // false: tns's word alone
  };
  // `host` in lower case without port. Errors: not_found (the message says whether the name is
  // unknown or has nothing deployed), invalid_argument (no host name), unavailable or
  // deadline_exceeded (no tns answers, and it was never found before), resource_exhausted.
  Task<Result<Found>> lookup(std::string host);
  // The cache alone: what lookup() would give without waiting, or nothing. Starts a refresh when
  // one is due. For paths that must not suspend.
  std::shared_ptr<const Pointer> cached(const std::string& host);

  // Not cached. Errors: as tns answers them (api.h), unavailable when none does.
  Task<Result<Resolve::Response>> resolve(std::string host);
  Task<Result<Pointer>> pointer_of(ProjectId project, std::string branch);
  Task<Status> claim(codec::Signed registration);
  Task<Result<Pointer>> publish(p2p::NodeSigned job, p2p::NodeSigned receipt,
                                std::optional<p2p::NodeSigned> head = std::nullopt);

  // A move that this node knows of before gossip says so.
  void note_moved(const Moved& moved);
  // Called when gossip says that a pointer moved, before its hosts are looked up again: a hint for
  // prefetching. Handlers live as long as the client.
  void on_moved(std::function<void(const Moved&)> handler);

  std::size_t cached_hosts() const { return entries_.size(); }
  struct Counters {
    std::uint64_t hits = 0, hits_negative = 0;  // answered from the cache
    std::uint64_t stale = 0;                    // served though no tns confirmed it
    std::uint64_t asked = 0;                    // questions to tns nodes
    std::uint64_t refused = 0;                  // answers that were not to be believed
    std::uint64_t proofs = 0;                   // checked
    std::uint64_t unproven = 0;                 // answers believed without a proof
  };
  const Counters& counters() const { return counters_; }

 private:
  using Version = std::pair<std::uint64_t, std::uint64_t>;  // Pointer::version()
  using Kept = std::shared_ptr<const Pointer>;
  // What stands behind an answer besides the node that gave it. `doubtful`: a proof by somebody who
  // was revoked since; or by the owner's order alone, of a host that was not the branch's before.
  enum class Backing : std::uint8_t { none, doubtful, proof };
  struct Answer {
    Pointer pointer;
    Backing backing = Backing::none;
  };
  struct Entry {
    Kept pointer;        // null: known to be absent
    std::string absent;  // then why, for the error
    TimePoint checked;
    Backing backing = Backing::none;
    bool suspect = false;   // gossip named it: look again before the next use
    Version heard = {};     // by gossip, of the same pointer: a replica that has less lags
    TimePoint quiet_until;  // the last refresh failed: served as it is until then
    std::list<std::string>::iterator place;
  };
  struct Flight {  // one lookup on its way, however many wait for it
    explicit Flight(runtime::Loop& loop) : landed(loop), since(loop.now()) {}
    runtime::Signal landed;
    TimePoint since;
    bool doubted = false;  // gossip named the host meanwhile: the answer may be from before
    std::optional<Result<Found>> result;
  };
  // What is known of a host before tns is asked.
  struct Before {
    Kept pointer;  // null: it was never found
    Backing backing = Backing::none;
    std::shared_ptr<const Facts> facts;  // of that version
  };

  // How much an entry may still be trusted.
  enum class Age : std::uint8_t { fresh, soft, old, quiet };
  Age age_of(const Entry& entry) const;
  Entry* find(const std::string& host);  // marks it as used

  std::shared_ptr<Flight> fly(const std::string& host);  // null: too many already
  Task<void> refresh(std::string host, std::shared_ptr<Flight> flight);
  Before before(const std::string& host);
  Task<Result<Answer>> ask(Lookup::Request question, Before known);
  std::vector<PeerId> askable();
  Result<Pointer> open(const p2p::NodeSigned& item, const PeerId* peer) const;
  Result<Answer> check(const PeerId& peer, const Lookup::Response& response,
                       const std::string& host, const Before& known);
  Result<Backing> backing_of(const Pointer& pointer, const std::optional<Bytes>& proof,
                             const Before& known);
  static Result<Backing> weigh(const Facts& facts, const Pointer& pointer, const Before& known);
  static bool is_enough(const Answer& answer, const Before& known);
  static const Answer* agreed(const Answer& one, const Answer& other);
  void refuse(const PeerId& peer, const Error& why);
  static Found found(const Entry& entry, Source source);
  Found as_it_was(Found before);
  static Task<Status> wait_for(std::shared_ptr<Flight> flight);
  void keep(const std::string& host, Entry entry);
  void drop(const std::string& host);

  runtime::Loop& loop_;
  p2p::Host& host_;
  command::Caller& caller_;
  const p2p::Admission& admission_;
  Logger log_;
  Options options_;

  std::unordered_map<std::string, Entry> entries_;
  std::list<std::string> positive_, negative_;  // most recently used first
  std::map<std::string, std::shared_ptr<Flight>> flights_;
  std::vector<std::function<void(const Moved&)>> moved_handlers_;
  ProofReader reader_;
  // Of each pointer the newest version whose proof was checked. Forgotten when full.
  std::map<std::pair<ProjectId, std::string>, std::shared_ptr<const Facts>> facts_;
  std::size_t turn_ = 0;
  std::map<PeerId, TimePoint> distrusted_;  // until when
  Counters counters_;
  std::shared_ptr<Client*> self_;  // what gossip handlers hold: null after stop()
  std::unique_ptr<runtime::TaskGroup> tasks_;
  bool running_ = false;
};

}  // namespace tau::tns
