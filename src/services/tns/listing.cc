#include "services/tns/listing.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

#include "services/tns/shards.h"

namespace tau::tns {
namespace {

constexpr std::size_t kAskedMax = 16;      // tns nodes, for what they hold
constexpr std::size_t kQuestionsMax = 64;  // of one page: of suffixes that few names have
constexpr std::size_t kHostMax = 253;      // as check_host
constexpr std::size_t kBranchMax = 128;    // as check_branch

struct Layout {
  std::size_t count = 0;
  std::map<std::uint64_t, std::vector<PeerId>> holders;
};

Task<Result<Layout>> look(command::Caller& caller) {
  Layout layout;
  Error last(ErrorCode::unavailable, "no live node with the role \"tns\" is connected");
  std::size_t asked = 0;
  for (const PeerId& peer : caller.peers_with_role(kRole)) {
    if (++asked > kAskedMax) break;
    const auto told = co_await caller.call<GetShards>(peer, kShardsProtocol, {});
    if (!told) last = told.error();
    if (!told || told->count == 0 || told->count > kShardsMax) continue;
    // All nodes of a network say the same; one that does not is passed over.
    if (layout.count == 0) layout.count = static_cast<std::size_t>(told->count);
    if (layout.count != told->count) continue;
    for (const auto& held : told->held) {
      if (held.shard >= layout.count) continue;
      auto& holders = layout.holders[held.shard];
      if (std::ranges::find(holders, peer) == holders.end()) holders.push_back(peer);
    }
    if (layout.holders.size() == layout.count && asked >= 3) break;  // and a second one of most
  }
  if (layout.count == 0) co_return fail(std::move(last));
  co_return layout;
}

template <class C>
Task<Result<typename C::Response>> ask(command::Caller& caller, const Layout& layout,
                                       typename C::Request request) {
  // A peer would take text that is none for misconduct of this node.
  if (!codec::from_cbor<typename C::Request>(codec::to_cbor(request)))
    co_return fail(ErrorCode::invalid_argument,
                   "what is looked for, or the cursor, is not UTF-8 text");
  Error last(ErrorCode::unavailable, "no tns node that holds shard " +
                                         std::to_string(request.shard) +
                                         " of the registry answers; try again");
  const auto holders = layout.holders.find(request.shard);
  if (holders == layout.holders.end()) co_return fail(std::move(last));
  for (const PeerId& peer : holders->second) {
    auto page = co_await caller.call<C>(peer, kShardsProtocol, request);
    // More than was asked for, or a page that leads back, would keep who walks busy for ever.
    if (page && (page->found.size() > request.limit ||
                 (page->next && (*page->next <= request.after || page->next->size() > kHostMax))))
      page = fail(ErrorCode::unavailable, "a tns node answered with a page that was not asked for");
    if (page) co_return page;
    last = page.error();
  }
  co_return fail(std::move(last));
}

struct Place {
  std::uint64_t shard = 0;
  std::string after;
};

std::string cursor_of(const Place& place) {
  return std::to_string(place.shard) + "." + place.after;
}

Result<Place> place_of(std::string_view cursor, std::size_t shards, std::size_t after_max) {
  Place place;
  if (cursor.empty()) return place;
  const auto read = std::from_chars(cursor.data(), cursor.data() + cursor.size(), place.shard);
  const auto used = static_cast<std::size_t>(read.ptr - cursor.data());
  if (read.ec != std::errc() || used >= cursor.size() || cursor[used] != '.' ||
      place.shard >= shards || cursor.size() - used - 1 > after_max)
    return fail(ErrorCode::invalid_argument,
                "that is no place to go on from: give the cursor that the page before ended with, "
                "as it is, or none to begin");
  place.after = cursor.substr(used + 1);
  return place;
}

std::size_t limit_of(std::size_t limit) { return std::clamp<std::size_t>(limit, 1, kListedMax); }

void grow_older(std::optional<Duration>& age, const std::optional<std::uint64_t>& stale_ms,
                bool first) {
  const std::uint64_t most = 1000u * 60 * 60 * 24 * 365;  // of a node that says nonsense
  if (!stale_ms || (!first && !age)) {
    age.reset();
  } else {
    const Duration one = std::chrono::milliseconds(std::min(*stale_ms, most));
    age = first ? one : std::max(*age, one);
  }
}

}  // namespace

Task<Result<StalePage<ListNames::Name>>> list_names(command::Caller& caller,
                                                    NamesQuestion question) {
  if (std::max(question.prefix.size(), question.suffix.size()) > kHostMax)
    co_return fail(ErrorCode::invalid_argument, "a name has at most 253 characters");
  CO_TRY(const Layout layout, look(caller));
  CO_TRY_SYNC(Place place, place_of(question.cursor, layout.count, kHostMax));
  const std::size_t limit = limit_of(question.limit);
  StalePage<ListNames::Name> page;
  for (std::size_t asked = 0; place.shard < layout.count; ++asked) {
    if (page.items.size() >= limit || asked == kQuestionsMax) {
      page.next = cursor_of(place);
      break;
    }
    CO_TRY(auto told, ask<ListNames>(caller, layout,
                                     {place.shard, question.prefix, question.suffix, place.after,
                                      limit - page.items.size()}));
    grow_older(page.age, told.stale_ms, asked == 0);
    for (auto& name : told.found) page.items.push_back(std::move(name));
    place = told.next ? Place{place.shard, *std::move(told.next)} : Place{place.shard + 1, ""};
  }
  co_return page;
}

Task<Result<StalePage<ListPointers::Standing>>> list_pointers(command::Caller& caller,
                                                              PointersQuestion question) {
  if (question.project.empty() || question.project.str().size() > 128)
    co_return fail(ErrorCode::invalid_argument,
                   "whose pointers? Give a project's id, as `odo names` shows it");
  if (question.prefix.size() > kBranchMax)
    co_return fail(ErrorCode::invalid_argument, "a branch has at most 128 characters");
  CO_TRY(const Layout layout, look(caller));
  const Place first{shard_of(question.project.str(), layout.count), ""};
  CO_TRY_SYNC(Place place, place_of(question.cursor, layout.count, kBranchMax));
  if (question.cursor.empty()) place = first;
  if (place.shard != first.shard)
    co_return fail(ErrorCode::invalid_argument, "that cursor is of another project's listing");
  CO_TRY(auto told, ask<ListPointers>(caller, layout,
                                      {place.shard, question.project, question.prefix, place.after,
                                       limit_of(question.limit)}));
  StalePage<ListPointers::Standing> page{std::move(told.found), "", {}};
  grow_older(page.age, told.stale_ms, true);
  if (told.next) page.next = cursor_of({place.shard, *std::move(told.next)});
  co_return page;
}

}  // namespace tau::tns
