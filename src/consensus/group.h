// Group: one replicated state machine, by Raft (libraft). What propose() has answered was applied
// by the state machine and is fsynced on a majority of the voters; with one voter, on its own disk.
//
// Owns the group's log in `kv` (a store of its own: store::with_prefix). Lives from start() to
// stop() on the loop's thread, never blocks it: a write waits as a task. A minority neither answers
// proposals nor linearizable reads; it still has its state machine, as old as it is.
//
// Members are voters, who decide, and replicas, who only follow. They change while the group runs,
// one at a time; what they are is in the log and its snapshots, not in the options.
//
// How it fails: a member that crashes comes back with all that it acknowledged. After an error of
// the store the member says data_loss or unavailable until it is started again. Members may be slow
// or dead, not malicious: who may speak is fenced by certificates (the role of Groups).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "consensus/groups.h"
#include "consensus/reads.h"
#include "consensus/state_machine.h"
#include "runtime/channel.h"
#include "runtime/task_group.h"
#include "store/kv.h"

namespace tau::consensus {

// Who belongs to a group, as one member knows it.
struct Members {
  std::uint64_t index = 0;  // of the entry that says so; 0: this member waits to be added
  bool committed = false;
  std::vector<PeerId> voters, replicas;  // sorted
  bool is_voter(const PeerId& peer) const;
  bool has(const PeerId& peer) const;
};

class Group final : private GroupPart {
 public:
  struct Options {
    std::string name;  // among the groups of its Groups; on the wire
    // Who founds the group, the same list on each of them; read when the group is first started. A
    // node that is not among them, with an empty log, waits until the leader adds it.
    std::vector<PeerId> voters;
    // Each command reaches the state machine behind a Stamp, the leader's time
    // (consensus/leases.h).
    bool stamped = false;
    std::uint32_t snapshot_after = 1024;  // entries; bounds the log, and the time of a restart
    std::uint32_t keep = 128;             // entries before a snapshot, for a member that lags a bit
  };

  Group(Groups& groups, store::Kv& kv, Options options, StateMachine& machine);
  ~Group() override;
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  // A single voter leads, and has applied its whole log, when start() returns. Errors: data_loss,
  // invalid_argument (the voters), failed_precondition (Groups not started), the store's.
  Task<Status> start();
  Task<void> stop();  // idempotent

  // The state machine's answer, once the command is durable on a majority and applied here (or at
  // the leader, when this member is not it). Errors: unavailable (no leader, or leadership was
  // lost: the command may or may not have been applied, so commands are made to be repeated),
  // invalid_argument (larger than kCommandSizeMax), resource_exhausted, data_loss,
  // failed_precondition (this node was removed from the group).
  Task<Result<Bytes>> propose(Bytes command);

  // Reads, of any member: see consensus/reads.h. `look` is called once, on the loop, and returns
  // what it found. One round trip to the leader and one from there to a majority, no fsync. Errors:
  // unavailable (no majority answers), failed_precondition (removed).
  template <class F>
  Task<Result<Linearizable<std::invoke_result_t<F>>>> read(F look) {
    CO_TRY_STATUS(read_barrier());
    co_return Linearizable<std::invoke_result_t<F>>(look());
  }
  // At once, from what is here.
  template <class F>
  Stale<std::invoke_result_t<F>> read_stale(F look) const {
    return {look(), age()};
  }
  // After it, the machine here holds all that was acknowledged anywhere before it was called.
  Task<Status> read_barrier();
  // How old the machine's state here may be; Stale::age().
  std::optional<Duration> age() const;

  // Changes of members, at the leader, one at a time; each ends when it is committed. What holds
  // already succeeds. Errors: unavailable (another leads; it is named), failed_precondition
  // (another change is under way, the member is not ready, or no majority of the voters would be
  // live after it: never done), not_found. To remove or demote the leader itself, it first hands
  // over and says unavailable.
  Task<Status> add_replica(PeerId peer);
  Task<Status> promote(PeerId peer);  // a replica that has caught up
  Task<Status> demote(PeerId peer);
  Task<Status> remove(PeerId peer);
  Task<Status> hand_over();  // leadership, to some other voter

  Members members() const;
  // At the leader: whether the member has what the leader has (less than a batch is missing), and
  // whether it was heard lately.
  bool is_ready(const PeerId& peer) const;
  bool is_live(const PeerId& peer) const;

  bool is_leader() const;
  std::optional<PeerId> leader() const;
  // False from a start until what the group had committed by then is applied: answers that say
  // "there is no such thing" mean nothing before.
  bool caught_up() const { return caught_up_; }
  // Waits for it; a single voter never waits. Errors: cancelled.
  Task<Status> wait_caught_up();
  // The group goes on without this node: nothing works here any more. That is on its disk: started
  // again (with an empty state machine), it has forgotten the group and waits to be added, also if
  // it was a founder.
  bool removed() const { return removed_; }
  // Told once, from the loop, when it is on the disk (or cannot be written there).
  void on_removed(std::function<void()> handler) { on_removed_ = std::move(handler); }
  // data_loss after a write failed: stop it, and start it again with an empty state machine.
  Status health() const;
  // Told from the loop when that happens.
  void on_broken(std::function<void()> handler) { on_broken_ = std::move(handler); }
  // Told from the loop each time this member begins to lead, or ceases to; also when it leads anew,
  // in a later term.
  void on_leading(std::function<void()> handler) { on_leading_ = std::move(handler); }
  bool asleep() const { return asleep_; }

  const std::string& name() const { return options_.name; }
  std::uint64_t last_applied() const;
  std::uint64_t log_first_index() const;  // what the log on disk begins with

 private:
  struct Core;    // libraft's instance and what it calls
  struct Change;  // of the members, under way
  enum class Step : std::uint8_t { add, standby, vote, remove, transfer };

  // GroupPart
  void hear(const PeerId& from, Frame frame) override;
  bool awake() const override { return !asleep_; }
  void tick() override;
  std::vector<PeerId> companions() const override;
  void wake() override;

  // group.cc: life and proposals
  Task<Status> start_core();
  Status open_raft();
  Task<void> close_raft();
  Task<void> reload(std::uint64_t from_index);
  void changed();
  void settle_term();
  void fail_waiting();
  Status running() const;
  Status usable() const;  // and not too busy
  Task<Status> wait_leader();
  Error no_leader() const;
  Task<Result<Bytes>> propose_here(Bytes command);
  void submit();

  // group_reads.cc: questions to other members, reads, sleep
  Task<Result<Answer>> ask(PeerId leader, std::optional<Bytes> command);
  Task<void> answer(PeerId from, Ask ask);
  Task<Result<Answer>> answer_here(Ask ask);
  Task<Result<std::uint64_t>> read_index();
  Task<Status> barrier_here();
  Task<Status> wait_applied(std::uint64_t index);
  void send_confirm();
  void count_confirmed(const PeerId& from, const Confirmed& confirmed);
  std::optional<TimePoint> majority_heard() const;
  void maybe_sleep();
  void hear_sleep(const PeerId& from, const Sleep& sleep);

  // group_members.cc
  Task<Status> change(PeerId peer, Step step);
  Task<Status> change_here(PeerId peer, Step step);
  Task<Status> ready_to_change();
  Status survives(const std::vector<PeerId>& voters_after) const;
  int submit_change(Change& change, const PeerId& peer, Step step);
  void fail_change();
  bool hear_stranger(const PeerId& from, const Frame& frame);
  void hear_removed(const PeerId& from, const Removed& removed);
  void say_hello();

  Groups& groups_;
  runtime::Loop& loop_;
  store::Kv& kv_;
  Logger log_;
  Options options_;
  StateMachine& machine_;
  std::unique_ptr<Core> core_;
  runtime::Signal changed_signal_;
  std::function<void()> on_removed_, on_broken_, on_leading_;
  std::size_t under_way_ = 0;
  bool caught_up_ = false, removed_ = false, asleep_ = false, broken_ = false;
};

}  // namespace tau::consensus
