#include "services/seer/claims.h"

#include <chrono>

#include "services/tns/api.h"

namespace tau::seer {
namespace {

using namespace std::chrono_literals;

// How long a name is not asked for again. One that nobody has may be claimed at any moment, and is
// then to answer at once; one that is gone does no harm: the substrates answer 404 for it.
constexpr Duration kClaimedFor = 5s, kUnclaimedFor = 1s;
constexpr std::size_t kKnownMax = 10'000;  // of each kind: about 1 MB
// Questions to tns at the same time; a network of usual size answers each within milliseconds.
constexpr std::size_t kAskingMax = 512;

}  // namespace

bool Claims::fresh(const Known& known) const {
  return loop_.now() - known.asked < (known.claimed ? kClaimedFor : kUnclaimedFor);
}

std::optional<bool> Claims::known(std::string_view name) const {
  if (!tns::check_host(name)) return false;
  for (const Table* table : {&claimed_, &unclaimed_}) {
    const auto it = table->find(name);
    if (it != table->end() && fresh(it->second)) return it->second.claimed;
  }
  return std::nullopt;
}

Task<Result<bool>> Claims::find_out(std::string name) {
  if (const auto now = known(name)) co_return *now;
  if (const auto it = asking_.find(name); it != asking_.end()) {
    const auto other = it->second;
    while (!other->result) CO_TRY_STATUS(other->ended.wait());
    co_return *other->result;
  }
  if (asking_.size() >= kAskingMax)
    co_return fail(ErrorCode::resource_exhausted, "too many names are being asked of tns");
  const auto own = std::make_shared<Asking>(loop_);
  asking_[name] = own;
  auto found = co_await ask(name);
  asking_.erase(name);
  own->result = found;
  own->ended.notify_all();
  co_return found;
}

Task<Result<bool>> Claims::ask(std::string name) {
  ++lookups_;
  auto found = co_await ask_(name);
  if (found) {
    remember(name, *found);
    co_return *found;
  }
  ++lookups_failed_;
  log_.debug("cannot ask tns about " + name + ": " + found.error().message());
  const auto it = claimed_.find(name);
  if (it == claimed_.end()) co_return fail(std::move(found).error());
  it->second.asked = loop_.now();  // not asked again at once while tns is away
  co_return true;
}

void Claims::remember(const std::string& name, bool claimed) {
  (claimed ? unclaimed_ : claimed_).erase(name);
  Table& table = claimed ? claimed_ : unclaimed_;
  if (!table.contains(name)) make_room(table);
  table[name] = Known{claimed, loop_.now()};
}

void Claims::make_room(Table& table) const {
  if (table.size() < kKnownMax) return;
  std::erase_if(table, [this](const auto& item) { return !fresh(item.second); });
  if (table.size() >= kKnownMax) table.clear();
}

}  // namespace tau::seer
