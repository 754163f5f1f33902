// Tells every seer that this node lives and what it offers: each kAnnounceEvery, and at once to a
// seer that has just been met. A clean stop says goodbye; kill() does not.
//
// Loop thread only. A seer that can't be reached is a debug line: the next announcement follows.
#pragma once

#include <functional>
#include <memory>

#include "base/log.h"
#include "command/caller.h"
#include "runtime/task_group.h"
#include "services/seer/api.h"

namespace tau::node {

class Announcer {
 public:
  // `what` is asked before each announcement.
  Announcer(runtime::Loop& loop, p2p::Host& host, command::Caller& caller,
            std::function<seer::Announcement()> what, Logger log);
  ~Announcer();

  void start();
  Task<void> leave();  // says goodbye to the seers, then stops
  Task<void> stop();   // idempotent

 private:
  struct Watcher;

  Task<void> keep_announcing();
  Task<void> announce_to(PeerId seer);
  Task<void> leave_from(PeerId seer);

  runtime::Loop& loop_;
  p2p::Host& host_;
  command::Caller& caller_;
  std::function<seer::Announcement()> what_;
  Logger log_;
  std::shared_ptr<Watcher> watcher_;
  runtime::TaskGroup tasks_;
};

}  // namespace tau::node
