#include "consensus/groups.h"

#include <algorithm>
#include <set>
#include <utility>

namespace tau::consensus {

Groups::Groups(runtime::Loop& loop, p2p::Host& host, Random& random, Logger log, Options options)
    : loop_(loop),
      host_(host),
      random_(random),
      log_(std::move(log)),
      options_(std::move(options)),
      links_(loop, host, options_.name, options_.role, log_) {}
Groups::~Groups() { CHECK(parts_.empty() && !timer_); }

Status Groups::start() {
  if (links_.running()) return {};
  if (options_.name.empty() || options_.role.empty())
    return fail(ErrorCode::invalid_argument, "groups need a name and a role");
  started_ = loop_.now();
  links_.start([this](const PeerId& from, Item item) { hear(from, std::move(item)); });
  return {};
}

Task<void> Groups::stop() {
  CHECK(parts_.empty());
  co_await links_.stop();
}

Status Groups::add(const std::string& name, GroupPart& part) {
  if (!links_.running())
    return fail(ErrorCode::failed_precondition, "start the groups before group " + name);
  if (!parts_.emplace(name, &part).second)
    return fail(ErrorCode::already_exists, "this node has a group " + name + " already");
  part_woke();
  return {};
}

void Groups::remove(const std::string& name) {
  parts_.erase(name);
  if (parts_.empty() && timer_) {
    loop_.cancel_timer(*timer_);
    timer_.reset();
  }
}

std::size_t Groups::awake() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(parts_, [](const auto& p) { return p.second->awake(); }));
}

bool Groups::is_silent(const PeerId& peer, Duration within) const {
  const auto heard = links_.last_heard(peer);
  const TimePoint since = heard ? std::max(*heard, started_) : started_;
  return loop_.now() - since > std::max(3 * options_.alive, within);
}

void Groups::hear(const PeerId& from, Item item) {
  const auto it = parts_.find(item.group);
  if (it != parts_.end()) {
    it->second->hear(from, std::move(item.frame));
  } else if (on_unknown_ && (item.frame.append || item.frame.install_snapshot)) {
    on_unknown_(item.group, from);
  }
}

void Groups::part_woke() {
  if (timer_) loop_.cancel_timer(*timer_);
  timer_.reset();
  arm();
}

// Ticks as often as an awake group needs it; signs of life need less, and a node whose groups all
// sleep alone nothing at all.
void Groups::arm() {
  if (timer_ || parts_.empty()) return;
  bool any_awake = false, any_company = false;
  for (const auto& [name, part] : parts_) {
    any_awake = any_awake || part->awake();
    any_company = any_company || !part->companions().empty();
  }
  if (!any_awake && !any_company) return;
  timer_ = loop_.call_after(any_awake ? options_.heartbeat : options_.alive, [this] {
    timer_.reset();
    tick();
  });
}

void Groups::tick() {
  std::set<PeerId> company;
  std::vector<std::string> names;
  for (const auto& [name, part] : parts_) names.push_back(name);
  for (const auto& name : names) {  // a part may go while another ticks
    const auto it = parts_.find(name);
    if (it == parts_.end()) continue;
    GroupPart& part = *it->second;
    if (part.awake()) {
      part.tick();
      continue;
    }
    const auto companions = part.companions();
    if (std::ranges::any_of(companions,
                            [this](const PeerId& peer) { return is_silent(peer, {}); })) {
      part.wake();
      continue;
    }
    company.insert(companions.begin(), companions.end());
  }
  for (const PeerId& peer : company) links_.say_alive(peer, options_.alive * 3 / 4);
  arm();
}

}  // namespace tau::consensus
