// What a running Group owns: libraft's instance, its disk and clock, and who waits for what. Of
// group*.cc only; dies with stop().
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "consensus/group.h"
#include "consensus/raft_io.h"

namespace tau::consensus {

// libraft gives its functions the names of their arguments' types.
using RaftApply = struct raft_apply;
using RaftBarrier = struct raft_barrier;
using RaftTransfer = struct raft_transfer;

struct Group::Change {
  explicit Change(runtime::Loop& loop) : done(loop) {}
  Core* core = nullptr;
  raft_change change{};
  RaftTransfer transfer{};
  runtime::OneShot<void> done;
  bool with_raft = false;  // libraft holds our address
};

struct Group::Core {
  explicit Core(Group& group);

  Group& group;
  Disk disk;
  RaftIo io;
  raft_fsm fsm{};
  struct raft raft{};
  bool initialized = false, running = false;
  runtime::TaskGroup tasks;
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);  // for what is posted to the loop
  std::optional<runtime::OneShot<void>> closed;

  // Proposals: what waits for the append under way, and what waits to be applied, by index.
  struct Waiting {
    Bytes command;
    runtime::OneShot<Bytes> answer;
  };
  std::deque<Waiting> waiting;
  std::map<std::uint64_t, runtime::OneShot<Bytes>> applying;
  bool submit_due = false;
  std::uint64_t skip_until = 0;  // applied before a reload
  bool skip_restore = false;     // the machine holds the snapshot that libraft starts from

  // The term in which this member last saw itself lead, when that began, and the first entry of it.
  std::uint64_t term = 0, settled_term = 0;
  std::uint64_t told_term = 0;  // what on_leading() was last told; 0: that it does not lead
  TimePoint term_began;
  bool settling = false;
  std::uint64_t reload_from = 0;

  // When each member was heard, and when it last followed us as its leader.
  std::map<PeerId, TimePoint> heard, followed;
  // A follower's: its leader's last word of which all is applied, and one of which it is not yet.
  std::optional<TimePoint> word;
  std::optional<TimePoint> next_word;
  std::uint64_t next_word_commit = 0;
  TimePoint awake_since, last_work, last_hello;
  std::vector<PeerId> slept_with;

  // Linearizable reads: the round that is being confirmed.
  std::uint64_t round = 0, confirmed_round = 0;
  bool confirm_due = false;
  std::map<PeerId, std::uint64_t> confirmed;  // the last round of this term that each answered
  std::size_t readers = 0;

  std::uint64_t next_ask = 1;
  struct Asked {
    PeerId of;
    runtime::OneShot<Answer> answer;
  };
  std::map<std::uint64_t, Asked> asked;

  std::shared_ptr<Change> change;
  std::vector<std::shared_ptr<Change>> old_changes;  // libraft may still hold their addresses

  const raft_server* find(const PeerId& peer) const;
  unsigned index_of(const PeerId& peer) const;  // configuration.n: not there
};

Error raft_error(int rv, const char* detail);

}  // namespace tau::consensus
