// RaftIo: libraft's world. It translates the callbacks of `raft_io` into our disk, network, clock
// and chance, and keeps three promises that libraft leaves to its caller:
// - no message leaves before the term and vote that it speaks for are durable, though writes wait;
// - a leader counts no answers before an entry of its own term is on its disk, so that it never
//   commits an entry of an earlier term by counting alone (Raft, 5.4.2);
// - an entry that named members and turns out never to have been committed is not truncated under
//   libraft's feet, which then would not know the members before it: `conflict` tells Group.
//
// Its clock stands still while the group sleeps.
//
// Loop thread only. Owned by Group, outlives the raft instance that uses it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

extern "C" {
#include <raft.h>
}

#include "base/log.h"
#include "base/random.h"
#include "consensus/disk.h"
#include "consensus/groups.h"

namespace tau::consensus {

class RaftIo {
 public:
  struct Events {
    // After each event that may have changed what the raft instance believes.
    std::function<void()> changed;
    // The leader's log differs from here on, and an entry from there on named members.
    std::function<void(std::uint64_t index)> conflict;
  };
  RaftIo(Groups& groups, std::string group, Disk& disk, Logger log, Events events);
  ~RaftIo();
  RaftIo(const RaftIo&) = delete;
  RaftIo& operator=(const RaftIo&) = delete;

  raft_io* io() { return &io_; }
  // What load() will hand over: libraft asks for it without waiting.
  void preload(Disk::Loaded loaded) { loaded_ = std::move(loaded); }
  void watch(const struct raft* raft) { raft_ = raft; }
  void tick();
  void receive(std::uint64_t from, const PeerId& peer, Frame frame);
  void stop_clock();
  void start_clock();
  // What the leader said to be committed when it was first heard.
  std::uint64_t heard_commit() const { return heard_commit_; }
  bool heard_leader() const { return heard_leader_; }

 private:
  static RaftIo& of(raft_io* io) { return *static_cast<RaftIo*>(io->impl); }

  int load(raft_term* term, raft_id* vote, raft_snapshot** snapshot, raft_index* first,
           raft_entry** entries, std::size_t* count);
  int start(unsigned tick_ms, raft_io_tick_cb tick, raft_io_recv_cb receive);
  void close(raft_io_close_cb done);
  int put_state(raft_term term, raft_id vote);
  int send(raft_io_send* request, const raft_message* message, raft_io_send_cb done);
  int append(raft_io_append* request, const raft_entry* entries, unsigned count,
             raft_io_append_cb done);
  int truncate(raft_index index);
  int put_snapshot(unsigned keep, raft_io_snapshot_put* request, const raft_snapshot* snapshot,
                   raft_io_snapshot_put_cb done);
  int get_snapshot(raft_io_snapshot_get* request, raft_io_snapshot_get_cb done);
  Task<void> read_snapshot(raft_io_snapshot_get* request, raft_io_snapshot_get_cb done);
  bool refuses(const Append& append);
  bool may_count() const;
  void deliver(std::uint64_t from, const PeerId& peer, const Frame& frame);
  void flush_answers();
  void flush_held();
  void leave(PeerId to, Frame frame, raft_io_send* request, raft_io_send_cb done);
  void sent(raft_io_send* request, raft_io_send_cb done, int status);
  void finish_close();

  Groups& groups_;
  runtime::Loop& loop_;
  std::string group_;
  Disk& disk_;
  Logger log_;
  Events events_;
  const struct raft* raft_ = nullptr;
  raft_io io_{};
  Disk::Loaded loaded_;
  std::uint64_t term_ = 0, vote_ = 0;
  std::uint64_t state_ticket_ = 0;  // of the last write of term and vote
  struct Held {
    std::uint64_t ticket;
    PeerId to;
    Frame frame;
    raft_io_send* request;
    raft_io_send_cb done;
  };
  std::deque<Held> held_;
  struct HeldAnswer {
    std::uint64_t from;
    PeerId peer;
    Frame frame;
  };
  std::deque<HeldAnswer> held_answers_;
  // Snapshots on their way. A close answers for them; what the stream says later finds nothing.
  using Large = std::map<std::uint64_t, std::pair<raft_io_send*, raft_io_send_cb>>;
  std::shared_ptr<Large> large_ = std::make_shared<Large>();
  std::uint64_t next_large_ = 1;
  std::size_t pending_ = 0;  // callbacks that libraft waits for
  Duration stopped_for_{};   // that the clock did not count
  std::optional<TimePoint> stopped_at_;
  raft_io_tick_cb tick_cb_ = nullptr;
  raft_io_recv_cb receive_cb_ = nullptr;
  raft_io_close_cb closed_ = nullptr;
  bool heard_leader_ = false;
  std::uint64_t heard_commit_ = 0;
  runtime::TaskGroup reads_;
};

// libraft wants a number for each member: from the peer id, so that all give it the same.
std::uint64_t number_of(const PeerId& peer);
// Encodes as libraft does; role numbers are libraft's.
Result<Bytes> encode_servers(const std::vector<Server>& servers);

}  // namespace tau::consensus
