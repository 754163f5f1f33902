#include "command/frame.h"

#include "codec/varint.h"

namespace tau::command {

ResponseFrame ResponseFrame::of(Result<codec::Value> result) {
  ResponseFrame frame;
  if (result) {
    frame.body = *std::move(result);
  } else {
    frame.error =
        ErrorFrame{static_cast<std::uint64_t>(result.error().code()), result.error().message()};
  }
  return frame;
}

Result<codec::Value> ResponseFrame::take() && {
  if (error) return fail(error_code_from(error->code).value_or(ErrorCode::unknown), error->message);
  if (!body) return fail(ErrorCode::invalid_argument, "the response has neither body nor error");
  return *std::move(body);
}

Task<Status> write_frame(p2p::Stream& stream, Bytes payload) {
  if (payload.size() > kFrameSizeMax)
    co_return fail(ErrorCode::invalid_argument, "a frame of " + std::to_string(payload.size()) +
                                                    " bytes is larger than " +
                                                    std::to_string(kFrameSizeMax));
  Bytes framed;
  framed.reserve(payload.size() + 5);
  codec::put_uvarint(framed, payload.size());
  framed.insert(framed.end(), payload.begin(), payload.end());
  co_return co_await stream.write(framed);
}

Task<Result<std::size_t>> read_frame_size(p2p::Stream& stream) {
  Bytes head;
  std::uint64_t size = 0;
  for (;;) {
    std::uint8_t byte = 0;
    CO_TRY_STATUS(p2p::read_exactly(stream, {&byte, 1}));
    head.push_back(byte);
    if (byte & 0x80) {
      if (head.size() < 5) continue;
      co_return fail(ErrorCode::invalid_argument, "frame length has too many bytes");
    }
    BytesView in = head;
    CO_TRY_SYNC(size, codec::take_uvarint(in));
    break;
  }
  if (size > kFrameSizeMax)
    co_return fail(ErrorCode::invalid_argument, "a frame of " + std::to_string(size) +
                                                    " bytes is larger than " +
                                                    std::to_string(kFrameSizeMax));
  co_return static_cast<std::size_t>(size);
}

Task<Result<Bytes>> read_frame_payload(p2p::Stream& stream, std::size_t size) {
  // Grows with what arrives, so that a peer that announces much and sends nothing costs nothing.
  Bytes payload;
  while (payload.size() < size) {
    const std::size_t had = payload.size();
    payload.resize(std::min<std::size_t>(size, had + (64u << 10)));
    CO_TRY_STATUS(p2p::read_exactly(stream, std::span(payload).subspan(had)));
  }
  co_return payload;
}

Task<Result<Bytes>> read_frame(p2p::Stream& stream) {
  CO_TRY(const std::size_t size, read_frame_size(stream));
  co_return co_await read_frame_payload(stream, size);
}

}  // namespace tau::command
