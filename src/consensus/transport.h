// Transport: Raft's messages between the members of one group, over p2p streams.
//
// Holds for each other member one outbound stream with a bounded queue, opened when there is
// something to say; what cannot be sent is dropped, because Raft repeats what matters. Inbound
// streams are heard only from members of the group whose certificate has the group's role.
//
// Loop thread only. stop() ends the streams and awaits their tasks.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "base/log.h"
#include "consensus/wire.h"
#include "p2p/host.h"
#include "runtime/channel.h"
#include "runtime/task_group.h"

namespace tau::consensus {

class Transport {
 public:
  using OnMessage = std::function<void(std::uint64_t from, const PeerId& peer, Frame frame)>;
  using OnPropose = std::function<Task<Result<Bytes>>(Bytes command)>;

  Transport(runtime::Loop& loop, p2p::Host& host, std::string group, std::string role, Logger log);
  ~Transport();
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  void start(std::map<std::uint64_t, PeerId> others, OnMessage on_message, OnPropose on_propose);
  Task<void> stop();  // idempotent

  // False: not connected, or too much is waiting already.
  bool send(std::uint64_t to, Bytes frame);
  // Hands a proposal to the member that leads. Errors: unavailable, and what it answers.
  Task<Result<Bytes>> propose_at(PeerId leader, Bytes command);

 private:
  struct Link;

  bool is_member(const PeerId& peer) const;  // connected, and proved the role
  Task<void> pump(std::shared_ptr<Link> link);
  Task<Status> send_frame(std::shared_ptr<Link> link, const Bytes& frame);
  Task<void> hear(std::unique_ptr<p2p::Stream> stream);
  Task<Status> hear_frames(p2p::Stream& stream, std::uint64_t from);
  Task<Status> answer(p2p::Stream& stream, Propose propose);

  runtime::Loop& loop_;
  p2p::Host& host_;
  std::string protocol_, role_;
  Logger log_;
  OnMessage on_message_;
  OnPropose on_propose_;
  std::map<std::uint64_t, std::shared_ptr<Link>> links_;
  std::map<PeerId, std::uint64_t> ids_;
  std::unique_ptr<runtime::TaskGroup> pumps_;
  // Of the inbound streams, whose tasks are the host's.
  bool listening_ = false;
  std::set<runtime::Scope*> inbound_;  // of the streams that are heard
  std::size_t hearing_ = 0;
  runtime::Signal ended_;
};

}  // namespace tau::consensus
