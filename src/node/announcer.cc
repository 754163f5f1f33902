#include "node/announcer.h"

namespace tau::node {

// What the host's callback holds: it outlives the announcer.
struct Announcer::Watcher {
  Announcer* announcer = nullptr;
};

Announcer::Announcer(runtime::Loop& loop, p2p::Host& host, command::Caller& caller,
                     std::function<seer::Announcement()> what, Logger log)
    : loop_(loop),
      host_(host),
      caller_(caller),
      what_(std::move(what)),
      log_(std::move(log)),
      watcher_(std::make_shared<Watcher>()),
      tasks_(loop) {}

Announcer::~Announcer() { watcher_->announcer = nullptr; }

void Announcer::start() {
  watcher_->announcer = this;
  host_.on_peer([watcher = watcher_](const PeerId& peer, bool connected) {
    Announcer* self = watcher->announcer;
    if (!self || !connected) return;
    const auto certificate = self->host_.certificate_of(peer);
    if (certificate && certificate->has_role(seer::kRole))
      self->tasks_.spawn(self->announce_to(peer));
  });
  tasks_.spawn(keep_announcing());
}

Task<void> Announcer::keep_announcing() {
  do {
    for (const PeerId& seer : caller_.peers_with_role(seer::kRole)) tasks_.spawn(announce_to(seer));
  } while (co_await runtime::sleep_for(seer::kAnnounceEvery));
}

Task<void> Announcer::announce_to(PeerId seer) {
  // Not longer than the time to the next one, so that they never pile up.
  const auto told =
      co_await caller_.call<seer::Announce>(seer, seer::kProtocol, what_(), seer::kAnnounceEvery);
  if (!told) log_.debug("announce to " + seer.str() + ": " + told.error().message());
}

Task<void> Announcer::leave() {
  co_await stop();
  runtime::TaskGroup goodbyes(loop_);
  for (const PeerId& seer : caller_.peers_with_role(seer::kRole)) goodbyes.spawn(leave_from(seer));
  co_await goodbyes.join();
}

Task<void> Announcer::leave_from(PeerId seer) {
  (void)co_await caller_.call<seer::Leave>(seer, seer::kProtocol, {});
}

Task<void> Announcer::stop() {
  watcher_->announcer = nullptr;
  co_await tasks_.stop();
}

}  // namespace tau::node
