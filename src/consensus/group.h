// Group: one replicated state machine, by Raft (libraft). What propose() has answered was applied
// by the state machine and is fsynced on a majority of the voters; with one voter, on its own disk.
//
// Owns the group's log in `kv` (a store of its own: store::with_prefix) and its streams. Lives from
// start() to stop() on the loop's thread, never blocks it: a write waits as a task. A minority
// neither answers proposals nor barriers; it still has its state machine, as old as it is.
//
// How it fails: a member that crashes comes back with all that it acknowledged. After an error of
// the store the member says data_loss or unavailable until it is started again. Members may be slow
// or dead, not malicious: who may speak is fenced by certificates (the group's role).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "consensus/state_machine.h"
#include "consensus/wire.h"
#include "p2p/host.h"
#include "runtime/channel.h"
#include "runtime/task_group.h"
#include "store/kv.h"

namespace tau::consensus {

class Group {
 public:
  struct Options {
    std::string name;            // "tns": in the protocol id
    std::string role;            // what a member's certificate must name
    std::vector<PeerId> voters;  // the same list on each; read when the group is first started
    Duration election = std::chrono::milliseconds(600);  // a few round trips around the world
    Duration heartbeat = std::chrono::milliseconds(100);
    std::uint32_t snapshot_after = 1024;  // entries; bounds the log, and the time of a restart
    std::uint32_t keep = 128;             // entries before a snapshot, for a member that lags a bit
  };

  Group(runtime::Loop& loop, p2p::Host& host, store::Kv& kv, Random& random, Logger log,
        Options options, StateMachine& machine);
  ~Group();
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  // A single voter leads, and has applied its whole log, when start() returns. Errors: data_loss,
  // invalid_argument (the voters), what the store says.
  Task<Status> start();
  Task<void> stop();  // idempotent

  // The state machine's answer, once the command is durable on a majority and applied here (or at
  // the leader, when this member is not it). Errors: unavailable (no leader, or leadership was
  // lost: the command may or may not have been applied, so commands are made to be repeated),
  // invalid_argument (larger than kCommandSizeMax), resource_exhausted, data_loss.
  Task<Result<Bytes>> propose(Bytes command);
  // After it, the machine here holds all that was acknowledged before it was called. Errors:
  // unavailable, also where this member does not lead.
  Task<Status> read_barrier();

  bool is_leader() const;
  std::optional<PeerId> leader() const;
  // False from a start until what the group had committed by then is applied: answers that say
  // "there is no such thing" mean nothing before.
  bool caught_up() const { return caught_up_; }
  // Waits for it; a single voter never waits. Errors: cancelled.
  Task<Status> wait_caught_up();

  std::uint64_t last_applied() const;
  std::uint64_t log_first_index() const;  // what the log on disk begins with

 private:
  struct Core;      // libraft's instance and what it calls
  struct Proposal;  // one command under way

  Task<Result<Bytes>> propose_here(Bytes command);
  Task<Result<Bytes>> propose_forwarded(Bytes command);
  Task<Status> barrier_here();
  Task<Status> start_core();
  Task<Status> wait_leader();
  void changed();

  runtime::Loop& loop_;
  p2p::Host& host_;
  store::Kv& kv_;
  Random& random_;
  Logger log_;
  Options options_;
  StateMachine& machine_;
  std::unique_ptr<Core> core_;
  runtime::Signal changed_signal_;
  std::size_t under_way_ = 0;
  bool caught_up_ = false;
};

}  // namespace tau::consensus
