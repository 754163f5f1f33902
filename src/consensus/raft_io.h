// RaftIo: libraft's world. It translates the callbacks of `raft_io` into our disk, network, clock
// and chance, and keeps one promise that asynchronous writes make hard: no message leaves before
// the term and vote that it speaks for are durable.
//
// Loop thread only. Owned by Group, outlives the raft instance that uses it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>

extern "C" {
#include <raft.h>
}

#include "base/log.h"
#include "base/random.h"
#include "consensus/disk.h"
#include "consensus/transport.h"
#include "runtime/loop.h"

namespace tau::consensus {

class RaftIo {
 public:
  // `changed` is called after each event that may have changed what the raft instance believes.
  RaftIo(runtime::Loop& loop, Disk& disk, Transport& transport, Random& random, Logger log,
         std::function<void()> changed);
  ~RaftIo();
  RaftIo(const RaftIo&) = delete;
  RaftIo& operator=(const RaftIo&) = delete;

  raft_io* io() { return &io_; }
  // What load() will hand over: libraft asks for it without waiting.
  void preload(Disk::Loaded loaded) { loaded_ = std::move(loaded); }
  void receive(std::uint64_t from, const PeerId& peer, Frame frame);
  // What the leader said to be committed when it was first heard.
  std::uint64_t heard_commit() const { return heard_commit_; }
  bool heard_leader() const { return heard_leader_; }

 private:
  struct Sending;
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
  void tick();
  void flush_held();
  void sent(raft_io_send* request, raft_io_send_cb done, int status);
  void finish_close();

  runtime::Loop& loop_;
  Disk& disk_;
  Transport& transport_;
  Random& random_;
  Logger log_;
  std::function<void()> changed_;
  raft_io io_{};
  Disk::Loaded loaded_;
  std::uint64_t term_ = 0, vote_ = 0;
  std::uint64_t state_ticket_ = 0;  // of the last write of term and vote
  struct Held {
    std::uint64_t ticket;
    std::uint64_t to;
    Bytes frame;
    raft_io_send* request;
    raft_io_send_cb done;
  };
  std::deque<Held> held_;
  std::size_t pending_ = 0;  // callbacks that libraft waits for
  Duration tick_every_{};
  runtime::TimerId timer_{};
  bool ticking_ = false;
  raft_io_tick_cb tick_cb_ = nullptr;
  raft_io_recv_cb receive_cb_ = nullptr;
  raft_io_close_cb closed_ = nullptr;
  bool heard_leader_ = false;
  std::uint64_t heard_commit_ = 0;
  runtime::TaskGroup reads_;
};

// Encodes as libraft does; role numbers are libraft's.
Result<Bytes> encode_servers(const std::vector<Server>& servers);

}  // namespace tau::consensus
