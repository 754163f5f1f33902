#include "consensus/wire.h"

#include <algorithm>
#include <array>

namespace tau::consensus {
namespace {

int parts_of(const Frame& f) {
  return f.vote_request.has_value() + f.vote_answer.has_value() + f.append.has_value() +
         f.append_answer.has_value() + f.install_snapshot.has_value() + f.timeout_now.has_value() +
         f.propose.has_value() + f.propose_answer.has_value();
}

}  // namespace

Result<Bytes> frame_bytes(const Frame& frame) {
  const Bytes body = codec::to_cbor(frame);
  if (body.size() > kFrameSizeMax)
    return fail(ErrorCode::resource_exhausted, "a raft message of " + std::to_string(body.size()) +
                                                   " bytes; at most " +
                                                   std::to_string(kFrameSizeMax) + " are sent");
  Bytes out;
  out.reserve(body.size() + 4);
  for (int shift = 24; shift >= 0; shift -= 8)
    out.push_back(static_cast<std::uint8_t>(body.size() >> shift));
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

Task<Result<Frame>> read_frame(p2p::Stream& stream) {
  std::array<std::uint8_t, 4> head{};
  CO_TRY_STATUS(p2p::read_exactly(stream, head));
  std::size_t length = 0;
  for (const auto byte : head) length = length << 8 | byte;
  if (length > kFrameSizeMax)
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
  CO_TRY_SYNC(Frame frame, codec::from_cbor<Frame>(body));
  if (parts_of(frame) != 1)
    co_return fail(ErrorCode::invalid_argument, "a raft message holds exactly one part");
  co_return frame;
}

}  // namespace tau::consensus
