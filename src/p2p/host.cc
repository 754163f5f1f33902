#include "p2p/host.h"

#include <algorithm>
#include <chrono>

#include "runtime/loop.h"

namespace tau::p2p {
namespace {

using namespace std::chrono_literals;

constexpr Duration kDialMax = 5s;
constexpr Duration kLookMax = 10s;  // a Kademlia lookup; it dials whom it looks for, too
constexpr Duration kFirstPause = 500ms, kLongestPause = 8s;
constexpr std::size_t kMissedMax = 1024;

}  // namespace

void Host::reach_by(Finder finder) { finder_ = std::move(finder); }

bool Host::reachable(const PeerId& peer) const {
  return peer == id() || certificate_of(peer) || (finder_ && finder_(peer));
}

Task<bool> Host::dial_one_of(PeerId peer, std::vector<std::string> addresses) {
  for (std::string& address : addresses) {
    if (certificate_of(peer)) co_return true;
    const std::string what = "dialing " + address;
    const auto dialed =
        co_await runtime::with_deadline(kDialMax, what, connect(std::move(address)));
    if (dialed && certificate_of(peer)) co_return true;
  }
  co_return certificate_of(peer) != nullptr;
}

Task<Status> Host::reach(PeerId peer) {
  if (peer == id() || certificate_of(peer)) co_return Status{};
  auto known = finder_ ? finder_(peer) : std::nullopt;
  if (!known) co_return fail(ErrorCode::unavailable, "not connected to " + peer.str());
  runtime::Loop& loop = (co_await runtime::current_scope()).loop();
  const auto missed = missed_.find(peer);
  if (missed != missed_.end() && loop.now() < missed->second.until)
    co_return fail(ErrorCode::unavailable, peer.str() + " was not reached a moment ago");
  bool reached = co_await dial_one_of(peer, *std::move(known));
  if (!reached) {
    auto found =
        co_await runtime::with_deadline(kLookMax, "looking for " + peer.str(), find_peer(peer));
    if (!found && found.error().code() == ErrorCode::cancelled) co_return fail(found.error());
    reached = co_await dial_one_of(peer, found ? *std::move(found) : std::vector<std::string>());
  }
  if (reached) {
    missed_.erase(peer);
    co_return Status{};
  }
  if (missed_.size() >= kMissedMax) missed_.clear();  // each is tried once more
  Missed& entry = missed_[peer];
  entry.pause = std::clamp<Duration>(entry.pause * 2, kFirstPause, kLongestPause);
  entry.until = loop.now() + entry.pause;
  co_return fail(ErrorCode::unavailable, "not connected to " + peer.str() + ", nor is it reached");
}

void Host::protect(const PeerId& peer, const std::string& reason) {
  protected_[peer].insert(reason);
}

void Host::unprotect(const PeerId& peer, const std::string& reason) {
  const auto it = protected_.find(peer);
  if (it == protected_.end()) return;
  it->second.erase(reason);
  if (it->second.empty()) protected_.erase(it);
}

}  // namespace tau::p2p
