#include "services/seer/nodes.h"

#include <algorithm>

namespace tau::seer {
namespace {

constexpr std::uint32_t kFullPercent = 100;

bool same_place(const Announcement& a, const Announcement& b) {
  return a.addresses == b.addresses && a.services == b.services && a.multiaddrs == b.multiaddrs &&
         a.dns == b.dns && a.http_port == b.http_port;
}

}  // namespace

bool Nodes::hears(const Node& node, TimePoint now) {
  return node.own && now - node.heard <= kDeadAfter;
}

Result<Nodes::Node*> Nodes::place(const PeerId& peer) {
  const auto known = nodes_.find(peer);
  if (known != nodes_.end()) return &known->second;
  if (nodes_.size() >= kNodesMax)
    return fail(ErrorCode::resource_exhausted, "this seer knows as many nodes as it can");
  return &nodes_[peer];
}

Status Nodes::hear(StatusPtr status, std::uint32_t load_percent, TimePoint now) {
  TRY(Node * node, place(status->peer()));
  // Two reports that overtook each other.
  if (node->own && node->own->status.life_unix_ms == status->status.life_unix_ms &&
      node->own->count() > status->count())
    return {};
  const bool same = hears(*node, now) && node->own_good &&
                    same_place(node->own->status.what, status->status.what) &&
                    (node->load_percent >= kFullPercent) == (load_percent >= kFullPercent);
  node->own = std::move(status);
  node->own_good = true;
  node->heard = now;
  node->spoke = now;
  node->cut.reset();
  node->load_percent = load_percent;
  if (!same) ++version_;
  return {};
}

bool Nodes::hear_again(const PeerId& peer, const Count& count, std::uint32_t load_percent,
                       TimePoint now) {
  const auto known = nodes_.find(peer);
  if (known == nodes_.end() || !known->second.own || known->second.own->count() != count)
    return false;
  Node& node = known->second;
  if (!hears(node, now) || (node.load_percent >= kFullPercent) != (load_percent >= kFullPercent))
    ++version_;
  node.heard = now;
  node.spoke = now;
  node.load_percent = load_percent;
  return true;
}

void Nodes::forget(const PeerId& peer, TimePoint now) {
  const auto known = nodes_.find(peer);
  if (known == nodes_.end()) return;
  known->second.own.reset();
  known->second.cut = now;
  ++version_;
}

std::vector<PeerId> Nodes::expire(TimePoint now) {
  std::vector<PeerId> gone;
  for (auto& [peer, node] : nodes_) {
    if (!node.own || hears(node, now)) continue;
    node.own.reset();
    gone.push_back(peer);
  }
  if (!gone.empty()) ++version_;
  return gone;
}

Status Nodes::add_row(const PeerId& seer, Row row) {
  TRY(Node * node, place(row.status->peer()));
  if (node->rows.size() >= kWitnessesMax && !node->rows.contains(seer))
    return fail(
        ErrorCode::resource_exhausted,
        "more seers say that they hear " + row.status->peer().str() + " than it reports to");
  node->rows[seer] = std::move(row);
  ++version_;
  return {};
}

Status Nodes::witness(const PeerId& seer, StatusPtr status, TimePoint now) {
  return add_row(seer, {.status = std::move(status), .told = now});
}

Status Nodes::remember(const PeerId& seer, StatusPtr status, TimePoint told) {
  return add_row(seer, {.status = std::move(status), .told = told, .remembered = true});
}

void Nodes::unwitness(const PeerId& seer, const PeerId& peer) {
  const auto known = nodes_.find(peer);
  if (known != nodes_.end() && known->second.rows.erase(seer) > 0) ++version_;
}

void Nodes::judge(const std::function<bool(const CheckedStatus&, bool)>& good) {
  const auto set = [this](bool& flag, bool value) {
    if (std::exchange(flag, value) != value) ++version_;
  };
  for (auto& [peer, node] : nodes_) {
    if (node.own) set(node.own_good, good(*node.own, false));
    for (auto& [seer, row] : node.rows) set(row.good, good(*row.status, true));
  }
}

void Nodes::sweep(TimePoint now) {
  std::erase_if(nodes_, [&](const auto& item) {
    const Node& node = item.second;
    return !node.own && node.rows.empty() && (!node.spoke || now - *node.spoke > 10 * kDeadAfter);
  });
}

StatusPtr Nodes::heard_here(const PeerId& peer, TimePoint now) const {
  const auto known = nodes_.find(peer);
  if (known == nodes_.end() || !hears(known->second, now) || !known->second.own_good)
    return nullptr;
  return known->second.own;
}

StatusPtr Nodes::known(const PeerId& peer, BytesView raw) const {
  const auto it = nodes_.find(peer);
  if (it == nodes_.end()) return nullptr;
  const auto same = [&](const StatusPtr& status) {
    return status && std::ranges::equal(status->raw, raw);
  };
  if (same(it->second.own)) return it->second.own;
  for (const auto& [seer, row] : it->second.rows)
    if (same(row.status)) return row.status;
  return nullptr;
}

// When the seer that says so was last known to be right; nothing: it does not count.
std::optional<TimePoint> Nodes::vouched(const PeerId& seer, const Row& row, const Node& node,
                                        TimePoint now) const {
  if (!row.good) return std::nullopt;
  if (row.remembered && now < remember_until_ && !node.cut) return row.told;
  if (seer == self_) return std::nullopt;  // what is heard here is told by the hearing
  const auto it = nodes_.find(seer);
  if (it == nodes_.end() || !it->second.spoke) return std::nullopt;
  const TimePoint spoke = *it->second.spoke;
  if (now - spoke > kDeadAfter) return std::nullopt;
  // A connection that broke is the fastest sign of death: the seer has to live on after it.
  if (node.cut && spoke <= *node.cut) return std::nullopt;
  return spoke;
}

Nodes::Current Nodes::current(const Node& node, TimePoint now) const {
  if (hears(node, now) && node.own_good) return {node.own.get(), node.load_percent, node.heard};
  Current best;
  for (const auto& [seer, row] : node.rows) {
    const auto seen = vouched(seer, row, node, now);
    if (!seen || (best.status && row.status->count() <= best.status->count())) continue;
    best = {row.status.get(), row.status->status.what.load_percent, *seen};
  }
  return best;
}

std::vector<LiveNode> Nodes::live(std::string_view service, TimePoint now) const {
  std::vector<LiveNode> found;
  for (const auto& [peer, node] : nodes_) {
    const Current is = current(node, now);
    if (!is.status) continue;
    const Announcement& what = is.status->status.what;
    if (!service.empty() && std::ranges::find(what.services, service) == what.services.end())
      continue;
    found.push_back(
        {peer, what, static_cast<std::uint64_t>((now - is.seen) / std::chrono::milliseconds(1))});
    found.back().announcement.load_percent = is.load_percent;
  }
  return found;
}

Nodes::Pool& Nodes::pool(std::string_view service, Family family, TimePoint now) {
  Pool& pool = pools_[{std::string(service), family}];
  if (pool.version == version_ && now - pool.made < kPoolFor) return pool;
  std::map<std::string, std::int64_t> free, busy;
  for (const auto& node : live(service, now)) {
    const std::uint32_t load = node.announcement.load_percent;
    for (const auto& address : addresses_of(node.announcement, service)) {
      if (!is_family(address, family)) continue;
      if (load < kFullPercent) {
        free[address] += kFullPercent - load;
      } else {
        busy[address] = 1;
      }
    }
  }
  // Whose turn it is outlives the pool, so that rare questions go round, too.
  std::vector<Choice> choices;
  pool.weights = 0;
  for (const auto& [address, weight] : free.empty() ? busy : free) {
    const auto before = std::ranges::lower_bound(pool.choices, address, {}, &Choice::address);
    const bool known = before != pool.choices.end() && before->address == address;
    choices.push_back({address, weight, known ? before->turn : 0});
    pool.weights += weight;
  }
  pool.choices = std::move(choices);
  pool.made = now;
  pool.version = version_;
  return pool;
}

std::vector<std::string> Nodes::addresses(std::string_view service, Family family,
                                          std::size_t at_most, TimePoint now) {
  Pool& from = pool(service, family, now);
  if (from.choices.empty() || at_most == 0) return {};
  std::vector<Choice*> order;
  order.reserve(from.choices.size());
  for (Choice& choice : from.choices) {
    choice.turn += choice.weight;
    order.push_back(&choice);
  }
  const std::size_t count = std::min(at_most, order.size());
  const auto later = [](const Choice* a, const Choice* b) {
    return a->turn != b->turn ? a->turn > b->turn : a->address < b->address;
  };
  std::ranges::partial_sort(order, order.begin() + static_cast<std::ptrdiff_t>(count), later);
  order.front()->turn -= from.weights;
  std::vector<std::string> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(order[i]->address);
  return out;
}

std::vector<std::string> Nodes::multiaddrs(std::string_view service, std::size_t at_most,
                                           TimePoint now) {
  std::vector<std::string> all;
  for (const auto& node : live(service, now))
    all.insert(all.end(), node.announcement.multiaddrs.begin(), node.announcement.multiaddrs.end());
  if (all.empty()) return all;
  const std::size_t start = rotation_++ % all.size();
  std::ranges::rotate(all, all.begin() + static_cast<std::ptrdiff_t>(start));
  if (all.size() > at_most) all.resize(at_most);
  return all;
}

}  // namespace tau::seer
