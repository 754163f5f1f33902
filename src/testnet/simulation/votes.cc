#include "testnet/simulation/votes.h"

#include <fmt/format.h>

#include <algorithm>

#include "consensus/wire.h"
#include "services/tns/api.h"

namespace tau::testnet::simulation {
namespace {

// Where a tns node keeps term and vote (consensus/disk.h).
const std::string kStateKey = "db/tns/raft/state";
struct State {
  std::uint64_t term = 0, vote = 0;
  static constexpr auto fields() {
    return std::tuple{codec::field("term", &State::term), codec::field("vote", &State::vote)};
  }
};
constexpr std::uint8_t kRealVote = 2;     // in VoteAnswer::before
constexpr std::size_t kPacketMax = 4096;  // what carries votes carries little else

// The highest term in which the packet grants a vote.
std::optional<std::uint64_t> granted(BytesView data) {
  if (data.size() < 5 || data.size() > kPacketMax || data[0] != 0 || data[1] != 0)
    return std::nullopt;
  const std::size_t size = static_cast<std::size_t>(data[2]) << 8 | data[3];
  if (size != data.size() - 4) return std::nullopt;
  const auto packet = codec::from_cbor<consensus::Packet>(data.subspan(4));
  if (!packet) return std::nullopt;
  std::optional<std::uint64_t> term;
  for (const auto& item : packet->items) {
    const auto& answer = item.frame.vote_answer;
    if (answer && answer->granted && answer->before == kRealVote)
      term = std::max(term.value_or(0), answer->term);
  }
  return term;
}

}  // namespace

void watch_votes(World& world, Ledger& ledger) {
  world.wires().set_tap([&world, &ledger](const PeerId& from, const PeerId&, BytesView data) {
    const auto term = granted(data);
    if (!term) return;
    for (World::Member* voter : world.with(tns::kRole)) {
      if (voter->node->id() != from) continue;
      const Bytes* kept = voter->machine->disk().durable(kStateKey);
      const auto state = kept ? codec::from_cbor<State>(*kept)
                              : Result<State>(fail(ErrorCode::not_found, "nothing"));
      ledger.checked_vote();
      if (!state || state->term < *term || (state->term == *term && state->vote == 0))
        ledger.violated(fmt::format("{} votes in term {}, and its disk has {}", voter->spec.name,
                                    *term,
                                    state ? fmt::format("term {} vote {}", state->term, state->vote)
                                          : std::string("nothing")));
    }
  });
}

}  // namespace tau::testnet::simulation
