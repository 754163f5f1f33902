// Links: one node's streams to the other nodes of its groups. All groups share them: what is said
// to one peer in one turn of the loop leaves as one packet, whatever the number of groups.
//
// Holds for each peer one outbound stream with a bounded queue, opened when there is something to
// say; what cannot be sent is dropped, because Raft repeats what matters. Large messages take a
// stream of their own. Inbound streams are heard only from peers whose certificate has the role.
//
// Loop thread only. stop() ends the streams and awaits their tasks.
#pragma once

#include <cstdint>
#include <deque>
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

class Links {
 public:
  using OnItem = std::function<void(const PeerId& from, Item item)>;
  using Sent = std::move_only_function<void(bool went)>;

  Links(runtime::Loop& loop, p2p::Host& host, const std::string& name, std::string role,
        Logger log);
  ~Links();
  Links(const Links&) = delete;
  Links& operator=(const Links&) = delete;

  void start(OnItem on_item);
  Task<void> stop();  // idempotent
  bool running() const { return tasks_ != nullptr; }

  // Connected, and proved the role.
  bool admitted(const PeerId& peer) const;
  bool may_hear(const PeerId& peer) const;
  // False: not connected, or too much is waiting already; then `sent` is not called. It says true
  // once a large message is written whole, or a small one has its place in the queue.
  bool send(const PeerId& to, const std::string& group, Frame frame, Sent sent = nullptr);
  // An empty packet, unless something was said within `since`.
  void say_alive(const PeerId& to, Duration since);
  // Nothing: never since start().
  std::optional<TimePoint> last_heard(const PeerId& peer) const;

  std::uint64_t packets_sent() const { return packets_sent_; }
  std::uint64_t bytes_sent() const { return bytes_sent_; }

 private:
  struct Link;
  struct Heard {
    TimePoint at;
    std::size_t streams = 0;
  };

  std::shared_ptr<Link> link_to(const PeerId& peer);
  void begin(const std::shared_ptr<Link>& link);
  Task<void> pump(std::shared_ptr<Link> link);
  Task<Result<std::unique_ptr<p2p::Stream>>> open(PeerId peer);
  Task<Status> write_packet(std::shared_ptr<Link> link, Bytes packet);
  Task<void> send_large(PeerId to, Packet packet, Sent sent);
  Task<Status> write_large(PeerId to, Bytes packet);
  Task<void> hear(std::unique_ptr<p2p::Stream> stream);
  Task<Status> hear_packets(p2p::Stream& stream);

  runtime::Loop& loop_;
  p2p::Host& host_;
  std::string protocol_, role_;
  Logger log_;
  OnItem on_item_;
  std::map<PeerId, std::shared_ptr<Link>> links_;
  std::map<PeerId, Heard> heard_;
  std::unique_ptr<runtime::TaskGroup> tasks_;
  bool listening_ = false;
  std::set<runtime::Scope*> inbound_;  // of the streams that are heard; their tasks are the host's
  std::size_t hearing_ = 0, large_ = 0;
  std::uint64_t packets_sent_ = 0, bytes_sent_ = 0;
  runtime::Signal ended_;
};

}  // namespace tau::consensus
