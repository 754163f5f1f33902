// Tells seers that this node lives and what it offers: the first of its seers each kReportEvery,
// the second every other time, and both at once when they change. A node that runs a seer itself
// tells all seers, each time, because what a seer says counts only while it is heard itself. A
// clean stop says goodbye; kill() does not.
//
// What it offers is signed anew when it changes, and every kSignEvery; it goes along once, then
// reports only say that it still holds.
//
// Loop thread only. A seer that can't be reached is a debug line: the next one takes its place.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "base/log.h"
#include "command/caller.h"
#include "p2p/node_signed.h"
#include "runtime/task_group.h"
#include "services/seer/api.h"

namespace tau::node {

// Of `seers` those that `node` reports to, the first one first: by rendezvous, so that one which
// comes or goes moves only its share of the nodes.
std::vector<PeerId> seers_for(const PeerId& node, std::vector<PeerId> seers, std::size_t at_most);

class Announcer {
 public:
  // `what` is asked before each report.
  Announcer(runtime::Loop& loop, p2p::Host& host, command::Caller& caller,
            const p2p::NodeIdentity& identity, std::function<seer::Announcement()> what,
            Logger log);
  ~Announcer();

  void start();
  Task<void> leave();  // says goodbye to the seers that it reports to, then stops
  Task<void> stop();   // idempotent

 private:
  struct Watcher;
  struct Told {
    std::uint64_t number = 0;  // the status that it has
    bool calling = false;
    std::optional<TimePoint> failed;  // left alone for a while, if there are others
    TimePoint next{};
  };

  void sign_anew();
  std::vector<PeerId> chosen();
  void tell_all();
  Task<void> keep_telling();
  Task<void> tell(PeerId seer);
  Task<void> leave_from(PeerId seer);

  runtime::Loop& loop_;
  p2p::Host& host_;
  command::Caller& caller_;
  const p2p::NodeIdentity& identity_;
  std::function<seer::Announcement()> what_;
  Logger log_;
  seer::Announcement now_;  // as it is
  seer::NodeStatus status_;
  p2p::NodeSigned signed_;
  std::optional<TimePoint> signed_at_;
  std::map<PeerId, Told> told_;
  std::shared_ptr<Watcher> watcher_;
  runtime::TaskGroup tasks_;
};

}  // namespace tau::node
