// The wire form of a call: one stream, one request frame, one response frame, each an unsigned
// varint length and that many bytes of DAG-CBOR.
//   request   {"command": text, "deadline": milliseconds, "body": map}
//   response  {"body": map}  or  {"error": {"code": integer, "message": text}}
#pragma once

#include <optional>
#include <string>
#include <tuple>

#include "base/bytes.h"
#include "base/error.h"
#include "codec/record.h"
#include "p2p/host.h"
#include "runtime/task.h"

namespace tau::command {

// Blocks travel by bitswap; what goes in commands is records and pages of lists and logs.
inline constexpr std::size_t kFrameSizeMax = 4u << 20;

struct RequestFrame {
  std::string command;
  std::uint64_t deadline_ms = 0;
  codec::Value body;
  static constexpr auto fields() {
    return std::tuple{codec::field("command", &RequestFrame::command),
                      codec::field("deadline", &RequestFrame::deadline_ms),
                      codec::field("body", &RequestFrame::body)};
  }
};
struct ErrorFrame {
  std::uint64_t code = 0;
  std::string message;
  static constexpr auto fields() {
    return std::tuple{codec::field("code", &ErrorFrame::code),
                      codec::field("message", &ErrorFrame::message)};
  }
};
struct ResponseFrame {
  std::optional<codec::Value> body;
  std::optional<ErrorFrame> error;
  static constexpr auto fields() {
    return std::tuple{codec::field("body", &ResponseFrame::body),
                      codec::field("error", &ResponseFrame::error)};
  }
  static ResponseFrame of(Result<codec::Value> result);
  Result<codec::Value> take() &&;
};

// Errors: invalid_argument (too long a frame), unavailable (the stream broke).
Task<Status> write_frame(p2p::Stream& stream, Bytes payload);
Task<Result<Bytes>> read_frame(p2p::Stream& stream);
// Its two steps, for who decides in between whether there is room.
Task<Result<std::size_t>> read_frame_size(p2p::Stream& stream);
Task<Result<Bytes>> read_frame_payload(p2p::Stream& stream, std::size_t size);

}  // namespace tau::command
