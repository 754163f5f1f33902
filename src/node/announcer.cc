#include "node/announcer.h"

#include <algorithm>

#include "crypto/ed25519.h"

namespace tau::node {
namespace {

using namespace std::chrono_literals;

// What changes is signed at most so often; load only if it moved by a step, or the node became full
// or ceased to be: seers that hear the node know its load anyway, the others need it roughly.
constexpr Duration kSignGap = 1s, kLoadGap = 5s;
constexpr std::uint32_t kLoadStepPercent = 20, kFullPercent = 100;
// A seer that did not answer is asked again after this; meanwhile the next one is told.
constexpr Duration kFailedFor = 5s;
constexpr std::size_t kToldMax = 1024;  // seers that were ever met

bool same_place(const seer::Announcement& a, const seer::Announcement& b) {
  return a.services == b.services && a.addresses == b.addresses && a.http_port == b.http_port &&
         a.dns == b.dns && a.multiaddrs == b.multiaddrs;
}

bool same_load(std::uint32_t a, std::uint32_t b) {
  return (a >= kFullPercent) == (b >= kFullPercent) &&
         std::max(a, b) - std::min(a, b) < kLoadStepPercent;
}

}  // namespace

std::vector<PeerId> seers_for(const PeerId& node, std::vector<PeerId> seers, std::size_t at_most) {
  if (seers.size() <= 1) return seers;
  std::vector<std::pair<crypto::Sha256, PeerId>> ranked;
  for (PeerId& seer : seers)
    ranked.emplace_back(crypto::sha256(as_bytes(node.str() + '/' + seer.str())), std::move(seer));
  std::ranges::sort(ranked, std::greater<>());
  std::vector<PeerId> out;
  for (auto& [rank, seer] : ranked)
    if (out.size() < at_most) out.push_back(std::move(seer));
  return out;
}

// What the host's callback holds: it outlives the announcer.
struct Announcer::Watcher {
  Announcer* announcer = nullptr;
};

Announcer::Announcer(runtime::Loop& loop, p2p::Host& host, command::Caller& caller,
                     const p2p::NodeIdentity& identity, std::function<seer::Announcement()> what,
                     Logger log)
    : loop_(loop),
      host_(host),
      caller_(caller),
      identity_(identity),
      what_(std::move(what)),
      log_(std::move(log)),
      watcher_(std::make_shared<Watcher>()),
      tasks_(loop) {}

Announcer::~Announcer() { watcher_->announcer = nullptr; }

void Announcer::start() {
  watcher_->announcer = this;
  status_.life_unix_ms = loop_.wall_unix_ms();
  host_.on_peer([watcher = watcher_](const PeerId& peer, bool connected) {
    Announcer* self = watcher->announcer;
    if (!self) return;
    if (connected) {
      const auto certificate = self->host_.certificate_of(peer);
      if (!certificate || !certificate->has_role(seer::kRole)) return;
    }
    // A seer that comes or goes changes who is told; it may have forgotten what it knew.
    if (!connected && self->told_.erase(peer) == 0) return;
    self->tell_all();
  });
  tasks_.spawn(keep_telling());
}

void Announcer::sign_anew() {
  now_ = what_();
  const TimePoint now = loop_.now();
  if (signed_at_) {
    const Duration since = now - *signed_at_;
    const bool same =
        same_place(now_, status_.what) && signed_.certificate == identity_.certificate();
    const bool lighter = !same_load(now_.load_percent, status_.what.load_percent);
    const bool full =
        (now_.load_percent >= kFullPercent) != (status_.what.load_percent >= kFullPercent);
    const Duration gap = !same || full ? kSignGap : lighter ? kLoadGap : seer::kSignEvery;
    if (since < gap) return;
  }
  status_.what = now_;
  ++status_.number;
  status_.made_unix_ms = loop_.wall_unix_ms();
  signed_ = identity_.sign(status_);
  signed_at_ = now;
}

std::vector<PeerId> Announcer::chosen() {
  auto seers = caller_.peers_with_role(seer::kRole);
  if (std::ranges::find(now_.services, seer::kRole) != now_.services.end()) return seers;
  const TimePoint now = loop_.now();
  auto well = seers;
  std::erase_if(well, [&](const PeerId& seer) {
    const auto told = told_.find(seer);
    return told != told_.end() && told->second.failed && now - *told->second.failed < kFailedFor;
  });
  return seers_for(identity_.id(), well.empty() ? std::move(seers) : std::move(well),
                   seer::kSeersOfANode);
}

void Announcer::tell_all() {
  sign_anew();
  if (told_.size() > kToldMax)
    std::erase_if(told_, [](const auto& t) { return !t.second.calling; });
  const TimePoint now = loop_.now();
  const bool is_seer = std::ranges::find(now_.services, seer::kRole) != now_.services.end();
  bool first = true;
  for (const PeerId& seer : chosen()) {
    Told& told = told_[seer];
    const bool often = is_seer || std::exchange(first, false);
    // A tick that comes a little early is not left out; one that failed waits for its turn.
    const bool due = now + seer::kReportEvery / 4 >= told.next;
    const bool news = told.number != status_.number && !told.failed;
    if (told.calling || !(due || news)) continue;
    told.calling = true;
    told.next = now + (often ? seer::kReportEvery : 2 * seer::kReportEvery);
    tasks_.spawn(tell(seer));
  }
}

Task<void> Announcer::keep_telling() {
  do tell_all();
  while (co_await runtime::sleep_for(seer::kReportEvery));
}

Task<void> Announcer::tell(PeerId seer) {
  const auto before = told_.find(seer);
  bool has_it = before != told_.end() && before->second.number == status_.number;
  for (int tries = 0; tries < 2; ++tries) {
    seer::Report::Request report{status_.life_unix_ms, status_.number, now_.load_percent, {}};
    if (!has_it) report.status = signed_;
    const std::uint64_t number = status_.number;
    const auto answer =
        co_await caller_.call<seer::Report>(seer, seer::kProtocol, std::move(report));
    if (!answer && answer.error().code() == ErrorCode::cancelled) co_return;
    if (answer && !answer->known && has_it) {
      has_it = false;  // it has just started
      continue;
    }
    const auto told = told_.find(seer);
    if (told == told_.end()) co_return;  // it is gone
    told->second.calling = false;
    told->second.number = answer && answer->known ? number : 0;
    told->second.failed.reset();
    if (answer) co_return;
    log_.debug("report to " + seer.str() + ": " + answer.error().message());
    told->second.failed = loop_.now();
    tell_all();  // the next one
    co_return;
  }
}

Task<void> Announcer::leave() {
  co_await stop();
  runtime::TaskGroup goodbyes(loop_);
  for (const auto& [seer, told] : told_)
    if (told.number > 0) goodbyes.spawn(leave_from(seer));
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
