// Groups: what all consensus groups of one node share, so that many cost little more than one.
//
//   consensus::Groups groups(loop, host, random, log, {.name = "tns", .role = "tns"});
//   consensus::Group shard(groups, kv, {.name = "shard-7", .voters = …}, machine);
//   co_await groups.start();   co_await shard.start();   …   co_await shard.stop();
//   co_await groups.stop();
//
// One stream to each peer carries the messages of all groups, one timer ticks those that are awake.
// A group in which nothing happens sleeps: its leader says so, every clock of it stops, and instead
// of heartbeats for each group there is one small packet for each pair of nodes. What wakes it is a
// message, a proposal, a read, or a peer of it that falls silent.
//
// Loop thread only. Started before its groups and stopped after them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "consensus/links.h"
#include "p2p/host.h"

namespace tau::consensus {

// What Groups asks of a group.
class GroupPart {
 public:
  virtual ~GroupPart() = default;
  virtual void hear(const PeerId& from, Frame frame) = 0;
  virtual bool awake() const = 0;
  virtual void tick() = 0;  // while awake
  // While it sleeps: whose silence would matter, and that they are silent.
  virtual std::vector<PeerId> companions() const = 0;
  virtual void wake() = 0;
};

class Groups {
 public:
  struct Options {
    std::string name;                                    // in the protocol id: "tns"
    std::string role;                                    // what a member's certificate must name
    Duration election = std::chrono::milliseconds(600);  // a few round trips around the world
    Duration heartbeat = std::chrono::milliseconds(100);
    Duration sleep_after = std::chrono::seconds(2);   // without work
    Duration alive = std::chrono::milliseconds(500);  // between signs of life; silence: three
  };

  Groups(runtime::Loop& loop, p2p::Host& host, Random& random, Logger log, Options options);
  ~Groups();
  Groups(const Groups&) = delete;
  Groups& operator=(const Groups&) = delete;

  Status start();
  Task<void> stop();  // idempotent; its groups are stopped by then

  // Called for a message to a group that this node does not have (yet), from a peer with the role:
  // where groups come and go, that is how a node learns that it was asked to join one. It must not
  // start the group before it returns.
  void on_unknown(std::function<void(const std::string& group, const PeerId& from)> handler) {
    on_unknown_ = std::move(handler);
  }

  const Options& options() const { return options_; }
  const Links& links() const { return links_; }
  std::size_t size() const { return parts_.size(); }
  std::size_t awake() const;

  // For Group.
  runtime::Loop& loop() { return loop_; }
  p2p::Host& host() { return host_; }
  Random& random() { return random_; }
  const Logger& log() const { return log_; }
  bool send(const PeerId& to, const std::string& group, Frame frame, Links::Sent sent = nullptr) {
    return links_.send(to, group, std::move(frame), std::move(sent));
  }
  Status add(const std::string& name, GroupPart& part);
  void remove(const std::string& name);
  void part_woke();
  // Said something within the last three `alive`, or within `within`.
  bool is_silent(const PeerId& peer, Duration within) const;

 private:
  void hear(const PeerId& from, Item item);
  void arm();
  void tick();

  runtime::Loop& loop_;
  p2p::Host& host_;
  Random& random_;
  Logger log_;
  Options options_;
  Links links_;
  std::map<std::string, GroupPart*> parts_;
  std::function<void(const std::string&, const PeerId&)> on_unknown_;
  std::optional<runtime::TimerId> timer_;
  TimePoint started_;
};

}  // namespace tau::consensus
