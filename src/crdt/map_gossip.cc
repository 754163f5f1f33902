// What a map says and hears: announcements, and whom it asks when.
#include <algorithm>

#include "crdt/map.h"

namespace tau::crdt {
namespace {

using namespace std::chrono_literals;

// Announcements of one node at most every so often; what is written meanwhile goes together.
constexpr Duration kAnnounceGap = 5ms;
// Of one author: as fast as the gap lets it, and a reserve for bursts that the network gathered.
constexpr double kRatePerSecond = 250, kBurst = 500;
constexpr std::size_t kAuthorsMax = 4096;
// Who hears old heads says its own, once in a while and not all at the same moment.
constexpr Duration kAnswerSpread = 500ms, kAnswerGap = 2s;
constexpr std::size_t kPullsMax = 64;  // peers that wait to be asked
constexpr Duration kPullPause = 1s;    // after one that failed

Task<Status> wait_for(runtime::Signal& signal) { co_return co_await signal.wait(); }

// Until the signal or the time; false when the task is to end.
Task<bool> wait_until(runtime::Loop& loop, runtime::Signal& signal, TimePoint at) {
  const Duration left = at - loop.now();
  if (left <= Duration{}) co_return true;
  const auto woken = co_await runtime::with_deadline(left, "waiting", wait_for(signal));
  if (!woken) signal.notify_all();  // forgets the wait that was given up
  co_return woken || woken.error().code() == ErrorCode::deadline_exceeded;
}

Duration jittered(Random& random, Duration about) {
  const auto n = static_cast<std::uint64_t>(about.count());
  return about / 2 + Duration(random.below(n + 1));
}

}  // namespace

bool Map::in_rate(Author& author) {
  const TimePoint now = loop_.now();
  const double seconds = std::chrono::duration<double>(now - author.at).count();
  author.tokens = std::min(kBurst, author.tokens + seconds * kRatePerSecond);
  author.at = now;
  if (author.tokens < 1) return false;
  author.tokens -= 1;
  return true;
}

Status Map::may_announce(const PeerId& from, const Bytes& certificate) {
  const std::int64_t now = loop_.wall_unix_ms();
  TRY(p2p::Certificate opened, reader_.certificate(certificate, now));
  TRY(const auto who, admission_.judge(std::move(opened), now));
  if (who.peer != from || !who.has_role(options_.writers))
    return fail(ErrorCode::permission_denied, "it may not write");
  return {};
}

void Map::hear(const PeerId& from, BytesView data) {
  if (authors_.size() >= kAuthorsMax && !authors_.contains(from)) authors_.clear();
  Author& author = authors_.try_emplace(from, Author{kBurst, loop_.now()}).first->second;
  if (!in_rate(author)) {
    ++counters_.refused;
    return;
  }
  auto announcement = decode_announcement(data);
  const auto refuse = [&](std::string_view why) {
    ++counters_.refused;
    if (log_.enabled(LogLevel::debug))
      log_.debug("announcement of " + from.str() + " refused: " + std::string(why));
  };
  if (!announcement) {
    host_.conduct().blame(from, p2p::Misdeed::malformed, "an announcement of " + options_.name);
    return refuse(announcement.error().message());
  }
  if (announcement->map != options_.name) return refuse("of another map");
  if (const auto may = may_announce(from, announcement->certificate); !may)
    return refuse(may.error().message());
  auto heads = links_from(announcement->heads, kAnnouncedHeadsMax);
  if (!heads) return refuse(heads.error().message());
  ++counters_.heard;

  if (!std::ranges::all_of(*heads, [&](const Link& link) { return state_.known(link); }))
    return walk_.hear(from, std::move(*heads), std::move(announcement->blocks));
  const auto& mine = state_.heads();
  const bool same =
      mine.size() == heads->size() && std::ranges::all_of(mine, [&](const Head& head) {
        return std::ranges::find(*heads, head.link) != heads->end();
      });
  if (same) {
    heard_same_ = true;
  } else if (!answer_at_ && loop_.now() - announced_at_ > kAnswerGap) {
    answer_at_ = loop_.now() +
                 Duration(random_.below(static_cast<std::uint64_t>(kAnswerSpread.count()) + 1));
    say_.notify_all();
  }
}

Task<void> Map::announce_all() {
  TimePoint next = loop_.now() + jittered(random_, options_.announce_every);
  for (;;) {
    const TimePoint now = loop_.now();
    const bool due = now >= next && !std::exchange(heard_same_, false);
    const bool asked = answer_at_ && now >= *answer_at_;
    if (now >= next) next = now + jittered(random_, options_.announce_every);
    if (asked) answer_at_.reset();
    if (std::exchange(news_, false) || asked || due) {
      announce();
      if (!co_await runtime::sleep_for(kAnnounceGap)) co_return;
      continue;
    }
    if (!co_await wait_until(loop_, say_, answer_at_ ? std::min(*answer_at_, next) : next))
      co_return;
  }
}

void Map::announce() {
  if (!may_write() || state_.heads().empty()) return;
  Announcement announcement{
      .map = options_.name, .certificate = identity_.certificate(), .heads = {}, .blocks = {}};
  std::vector<Head> heads = state_.heads();
  std::ranges::sort(heads, highest_first);
  if (heads.size() > kAnnouncedHeadsMax) heads.resize(kAnnouncedHeadsMax);
  for (const auto& head : heads) announcement.heads.push_back(wire_link(head.link));
  // The newest first: the others are found from it.
  std::size_t bytes = 0;
  for (auto it = unannounced_.rbegin(); it != unannounced_.rend(); ++it) {
    bytes += it->block.size();
    if (bytes > kAnnouncedBytesMax) break;
    announcement.blocks.push_back(it->block);
  }
  unannounced_.clear();
  announced_at_ = loop_.now();
  const auto sent = host_.publish(topic_, codec::to_cbor(announcement));
  if (sent) {
    ++counters_.announced;
  } else {
    log_.debug("heads were not announced: " + sent.error().message());
  }
}

std::optional<PeerId> Map::some_writer() {
  std::vector<PeerId> writers;
  host_.each_peer([&](const PeerId& peer, const p2p::Certificate& certificate) {
    if (certificate.has_role(options_.writers)) writers.push_back(peer);
  });
  if (writers.empty()) return std::nullopt;
  return writers[random_.below(writers.size())];
}

void Map::pull(std::optional<PeerId> peer) {
  if (peer) {
    const auto certificate = host_.certificate_of(*peer);
    if (!certificate || !certificate->has_role(options_.writers)) peer.reset();
  }
  if (!peer) peer = some_writer();
  if (!peer || to_pull_.size() >= kPullsMax) return;
  to_pull_.insert(*peer);
  pulls_.notify_all();
}

Task<void> Map::pull_all() {
  for (;;) {
    if (to_pull_.empty()) {
      const TimePoint at = loop_.now() + jittered(random_, options_.pull_every);
      if (!co_await wait_until(loop_, pulls_, at)) co_return;
      if (to_pull_.empty() && loop_.now() >= at) pull();
      continue;
    }
    const PeerId peer = *to_pull_.begin();
    to_pull_.erase(to_pull_.begin());
    const auto before = counters_.received + sync_.counters().snapshots_merged;
    const auto pulled = co_await sync_.pull(peer);
    // Others on this side of the network may not know the peer.
    if (counters_.received + sync_.counters().snapshots_merged != before) {
      news_ = true;
      say_.notify_all();
      walk_.review();
    }
    if (pulled) continue;
    if (pulled.error().code() == ErrorCode::cancelled) co_return;
    log_.debug("asking " + peer.str() + " what is new: " + pulled.error().message());
    if (!co_await runtime::sleep_for(kPullPause)) co_return;
  }
}

}  // namespace tau::crdt
