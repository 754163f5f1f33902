#include "p2p/conduct.h"

#include <algorithm>
#include <cmath>

namespace tau::p2p {
namespace {

using namespace std::chrono_literals;

constexpr double kSlowedShare = 0.1;
// After a day without being shut out the next time is a first time again.
constexpr std::int64_t kForgottenAfterMs = 24 * 3600 * 1000;

double seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

// Ten broken frames within a minute are no accident, and three false blocks neither; a lie needs no
// repetition to be one, but a bug of ours might look like it. A caller that is told to come back
// later may try again at once.
double weight_of(Misdeed misdeed) {
  switch (misdeed) {
    case Misdeed::flood:
      return 0.02;
    case Misdeed::malformed:
      return 10;
    case Misdeed::wrong_content:
      return 40;
    case Misdeed::forgery:
      return 60;
  }
  return 0;
}

}  // namespace

std::string_view name_of(Misdeed misdeed) {
  switch (misdeed) {
    case Misdeed::flood:
      return "it floods";
    case Misdeed::malformed:
      return "it sends what is malformed";
    case Misdeed::wrong_content:
      return "it sends wrong content";
    case Misdeed::forgery:
      return "it forges";
  }
  return "it misbehaves";
}

Conduct::Conduct(runtime::Loop& loop, Admission admission, Disconnect disconnect, Logger log,
                 Rates rates)
    : loop_(loop),
      admission_(std::move(admission)),
      disconnect_(std::move(disconnect)),
      log_(std::move(log)),
      rates_(rates) {}

double Conduct::decayed(const Record& record) const {
  if (record.score == 0) return 0;
  return record.score * std::exp2(-seconds(loop_.now() - record.scored) / seconds(kHalfLife));
}

Conduct::Record& Conduct::record_of(const PeerId& peer) {
  const auto it = peers_.find(peer);
  if (it != peers_.end()) return it->second;
  if (peers_.size() >= kPeersMax)
    peers_.erase(std::ranges::min_element(
        peers_, {}, [&](const auto& entry) { return decayed(entry.second); }));
  const TimePoint now = loop_.now();
  return peers_
      .emplace(peer, Record{.calls = {rates_.calls_burst, now},
                            .messages = {rates_.messages_burst, now},
                            .scored = now})
      .first->second;
}

bool Conduct::take(const PeerId& peer, Bucket Record::* bucket, double per_second, double burst,
                   std::string_view what) {
  Record& record = record_of(peer);
  Bucket& of = record.*bucket;
  const double share = decayed(record) >= kSlowAt ? kSlowedShare : 1;
  const TimePoint now = loop_.now();
  of.left = std::min(burst * share, of.left + seconds(now - of.counted) * per_second * share);
  of.counted = now;
  if (of.left >= 1) {
    of.left -= 1;
    return true;
  }
  blame(peer, Misdeed::flood, what);
  return false;
}

bool Conduct::admit_call(const PeerId& peer) {
  return take(peer, &Record::calls, rates_.calls_per_second, rates_.calls_burst, "calls");
}

bool Conduct::admit_message(const PeerId& author) {
  return take(author, &Record::messages, rates_.messages_per_second, rates_.messages_burst,
              "gossip");
}

void Conduct::blame(const PeerId& peer, Misdeed misdeed, std::string_view what) {
  Record& record = record_of(peer);
  record.score = decayed(record) + weight_of(misdeed);
  record.scored = loop_.now();
  if (misdeed != Misdeed::flood || record.last.empty())
    record.last = std::string(name_of(misdeed)) + ": " + std::string(what.substr(0, 200));
  log_.debug("peer " + peer.str() + ": " + record.last);
  if (record.score < kLeaveAt) return;
  // It starts again with half of what it takes: slowed, and out again after a few more.
  record.score = kLeaveAt / 2;
  const std::int64_t now = loop_.wall_unix_ms();
  if (now < record.out_until_unix_ms) return disconnect_(peer);
  if (now - record.out_until_unix_ms > kForgottenAfterMs) record.times_out = 0;
  const Duration out =
      std::min<Duration>(kOutFirst * (1u << std::min(record.times_out, 6u)), kOutLongest);
  ++record.times_out;
  record.out_until_unix_ms = now + out / 1ms;
  log_.warning("closing the connection to " + peer.str() + " for " + std::to_string(out / 1s) +
               " s: " + record.last);
  admission_.shut_out(peer, record.out_until_unix_ms, record.last);
  disconnect_(peer);
}

double Conduct::score(const PeerId& peer) const {
  const auto it = peers_.find(peer);
  return it == peers_.end() ? 0 : decayed(it->second);
}

std::vector<Conduct::Entry> Conduct::entries() const {
  constexpr double kCounts = 0.5;
  const std::int64_t now = loop_.wall_unix_ms();
  std::vector<Entry> out;
  for (const auto& [peer, record] : peers_) {
    const double score = decayed(record);
    const std::int64_t until = record.out_until_unix_ms > now ? record.out_until_unix_ms : 0;
    if (score < kCounts && until == 0) continue;
    out.push_back({peer, score, score >= kSlowAt, until, record.last});
  }
  std::ranges::sort(out, std::ranges::greater(), &Entry::score);
  return out;
}

}  // namespace tau::p2p
