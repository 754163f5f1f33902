#include "testnet/simulation/votes.h"

#include <fmt/format.h>

#include <algorithm>

#include "consensus/wire.h"
#include "services/patrick/api.h"
#include "services/tns/api.h"

namespace tau::testnet::simulation {
namespace {

// Where a group keeps term and vote (consensus/disk.h, tns/shards.h), and of which role its voters
// are; no role: the group is not watched.
struct Kept {
  std::string_view role;
  std::string key;
};
Kept kept_of(std::string_view group) {
  if (group == patrick::kRole) return {patrick::kRole, "db/patrick/raft/state"};
  if (group == tns::kRole) return {tns::kRole, "db/tns/raft/state"};
  constexpr std::string_view kShard = "shard-";
  const auto of = group.find("-of-");
  if (!group.starts_with(kShard) || of == group.npos) return {};
  return {tns::kRole,
          fmt::format("db/tns/shard/{}/state", group.substr(kShard.size(), of - kShard.size()))};
}
struct State {
  std::uint64_t term = 0, vote = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("term", &State::term), codec::field("vote", &State::vote)};
  }
};
constexpr std::uint8_t kRealVote = 2;     // in VoteAnswer::before
constexpr std::size_t kPacketMax = 4096;  // what carries votes carries little else

struct Vote {
  std::string group;
  std::uint64_t term = 0;
};
// The votes that a packet grants.
std::vector<Vote> granted(BytesView data) {
  if (data.size() < 5 || data.size() > kPacketMax || data[0] != 0 || data[1] != 0) return {};
  const std::size_t size = static_cast<std::size_t>(data[2]) << 8 | data[3];
  if (size != data.size() - 4) return {};
  const auto packet = codec::from_cbor<consensus::Packet>(data.subspan(4));
  if (!packet) return {};
  std::vector<Vote> votes;
  for (const auto& item : packet->items) {
    const auto& answer = item.frame.vote_answer;
    if (answer && answer->granted && answer->before == kRealVote)
      votes.push_back({item.group, answer->term});
  }
  return votes;
}

void check(World& world, Ledger& ledger, const PeerId& from, const Vote& vote) {
  const auto [role, key] = kept_of(vote.group);
  if (role.empty()) return;
  for (World::Member* voter : world.with(role)) {
    if (voter->node->id() != from) continue;
    const Bytes* kept = voter->machine->disk().durable(key);
    const auto state = kept ? codec::from_cbor<State>(*kept)
                            : Result<State>(fail(ErrorCode::not_found, "nothing"));
    ledger.checked_vote();
    if (!state || state->term < vote.term || (state->term == vote.term && state->vote == 0))
      ledger.violated(fmt::format("{} votes in term {} of {}, and its disk has {}",
                                  voter->spec.name, vote.term, vote.group,
                                  state ? fmt::format("term {} vote {}", state->term, state->vote)
                                        : std::string("nothing")));
  }
}

}  // namespace

void watch_votes(World& world, Ledger& ledger) {
  world.wires().set_tap([&world, &ledger](const PeerId& from, const PeerId&, BytesView data) {
    for (const Vote& vote : granted(data)) check(world, ledger, from, vote);
  });
}

}  // namespace tau::testnet::simulation
