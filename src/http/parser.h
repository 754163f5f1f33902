// HTTP/1.1 as this cloud accepts it (RFC 9112), strict where two readers of one message could
// disagree about where it ends: no bare LF, no folded lines, no space before a colon, one
// Content-Length at most and never beside Transfer-Encoding, which is "chunked" or refused.
//
// Pure functions of the bytes: no I/O, no clock; fuzzed as they are.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

#include "http/message.h"

namespace tau::http {

struct HeadLimits {
  std::size_t head_bytes = 16u << 10;   // as most servers and proxies
  std::size_t target_bytes = 8u << 10;  // RFC 9110 4.1 asks for 8000 at least
  std::size_t headers = 100;
};

// What to answer, and why; the connection ends with it, because its framing is not to be trusted.
struct Refusal {
  int status = 400;
  std::string_view why;  // of static duration
};

// Whether it may be sent as it is: no line breaks, no control characters.
bool valid_header(std::string_view name, std::string_view value);

// Finds the end of a head as bytes come in, without reading any of them twice.
class HeadScanner {
 public:
  // The size of the head that `input` starts with, the empty line included; 0 while it is not all
  // there. `input` is what was given before, or starts with it.
  std::variant<std::size_t, Refusal> scan(std::string_view input, const HeadLimits& limits);
  void reset() { *this = HeadScanner(); }

 private:
  std::size_t scanned_ = 0;
  std::size_t line_ = 0;  // where the line that is being scanned starts
  std::size_t lines_ = 0;
};

// Parses a complete head into `out`, which may hold an earlier one. Nothing: it was accepted.
std::optional<Refusal> parse_request_head(std::string_view head, const HeadLimits& limits,
                                          RequestHead& out);

struct ResponseHead {
  int status = 0;
  HeadersView headers;
  Framing framing = Framing::none;
  std::uint64_t content_length = 0;
  bool keep_alive = true;
};
// `method` is that of the request: the answer to HEAD has no body.
std::optional<Refusal> parse_response_head(std::string_view head, std::string_view method,
                                           const HeadLimits& limits, ResponseHead& out);

// Decodes chunked bodies (RFC 9112, 7.1). Chunk extensions are skipped, trailers are checked and
// dropped.
class ChunkDecoder {
 public:
  struct Step {
    std::size_t consumed = 0;  // bytes of the input that are done with
    std::string_view data;     // body bytes among them, if any
    bool finished = false;
    std::optional<Refusal> refusal;
  };
  // Takes from the front of `input` up to the next run of body bytes (at most `at_most` of them).
  // Consumed 0, no data and not finished: more input is needed.
  Step next(std::string_view input, std::size_t at_most);

 private:
  enum class State : std::uint8_t { size, data, data_end, trailer, finished };
  State state_ = State::size;
  std::uint64_t left_ = 0;
  std::size_t trailer_bytes_ = 0;
};

}  // namespace tau::http
