#include "consensus/wire.h"

#include <algorithm>
#include <array>

namespace tau::consensus {
namespace {

template <class... T>
int count_of(const std::optional<T>&... parts) {
  return (0 + ... + static_cast<int>(parts.has_value()));
}
int parts_of(const Frame& f) {
  return count_of(f.vote_request, f.vote_answer, f.append, f.append_answer, f.install_snapshot,
                  f.timeout_now, f.confirm, f.confirmed, f.sleep, f.hello, f.removed, f.ask,
                  f.answer);
}

}  // namespace

std::size_t size_of(const Frame& frame) {
  std::size_t size = 160;  // names and numbers
  if (frame.append)
    for (const auto& entry : frame.append->entries) size += entry.data.size() + 32;
  if (frame.install_snapshot)
    size += frame.install_snapshot->data.size() + 128 * frame.install_snapshot->servers.size();
  if (frame.ask && frame.ask->command) size += frame.ask->command->size();
  if (frame.answer)
    size +=
        frame.answer->message.size() + (frame.answer->answer ? frame.answer->answer->size() : 0);
  return size;
}

Result<Bytes> packet_bytes(const Packet& packet) {
  const Bytes body = codec::to_cbor(packet);
  if (body.size() > kPacketSizeMax)
    return fail(ErrorCode::resource_exhausted, "a raft message of " + std::to_string(body.size()) +
                                                   " bytes; at most " +
                                                   std::to_string(kPacketSizeMax) + " are sent");
  Bytes out;
  out.reserve(body.size() + 4);
  for (int shift = 24; shift >= 0; shift -= 8)
    out.push_back(static_cast<std::uint8_t>(body.size() >> shift));
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

Task<Result<Packet>> read_packet(p2p::Stream& stream) {
  std::array<std::uint8_t, 4> head{};
  CO_TRY_STATUS(p2p::read_exactly(stream, head));
  std::size_t length = 0;
  for (const auto byte : head) length = length << 8 | byte;
  if (length > kPacketSizeMax)
    co_return fail(ErrorCode::invalid_argument,
                   "a raft message announces " + std::to_string(length) + " bytes");
  // Grows with what arrives: an announcement alone costs nothing.
  constexpr std::size_t kStep = 256u << 10;
  Bytes body;
  while (body.size() < length) {
    const std::size_t from = body.size();
    body.resize(std::min(length, from + kStep));
    CO_TRY_STATUS(p2p::read_exactly(stream, std::span(body).subspan(from)));
  }
  CO_TRY_SYNC(Packet packet, codec::from_cbor<Packet>(body));
  if (packet.items.size() > kItemsMax)
    co_return fail(ErrorCode::invalid_argument, "a raft packet with too many messages");
  for (const Item& item : packet.items)
    if (parts_of(item.frame) != 1)
      co_return fail(ErrorCode::invalid_argument, "a raft message holds exactly one part");
  co_return packet;
}

}  // namespace tau::consensus
