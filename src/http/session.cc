#include "http/session.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/check.h"

namespace tau::http {
namespace {

constexpr std::size_t kBufferSize = 8u << 10;  // most requests fit, pipelined ones too
// Room for the chunked coding beside the head: a line of it must fit as a whole.
constexpr std::size_t kScratch = 8u << 10;
// Answers of pipelined requests that are gathered before they are written.
constexpr std::size_t kGather = 64u << 10;
constexpr std::size_t kKeptOutput = 64u << 10;
// An unread rest of a body up to this size is read and dropped to keep the connection.
constexpr std::uint64_t kDrainMax = 64u << 10;
// After a refusal, what the client still sends is dropped for a while: closing at once would reset
// the connection and could take the answer with it (RFC 9112, 9.6).
constexpr std::size_t kLingerBytesMax = 1u << 20;
constexpr auto kLingerTimeMax = std::chrono::seconds(2);

bool has_body(int status) { return status >= 200 && status != 204 && status != 304; }

// What the server writes itself.
bool reserved(std::string_view name) {
  switch (name.size()) {
    case 4:
      return equal_ignoring_case(name, "date");
    case 7:
      return equal_ignoring_case(name, "trailer") || equal_ignoring_case(name, "upgrade");
    case 10:
      return equal_ignoring_case(name, "connection") || equal_ignoring_case(name, "keep-alive");
    case 14:
      return equal_ignoring_case(name, "content-length");
    case 17:
      return equal_ignoring_case(name, "transfer-encoding");
    default:
      return false;
  }
}

}  // namespace

Session::Session(Server& server, std::unique_ptr<net::Connection> connection)
    : server_(server),
      connection_(std::move(connection)),
      body_(*this),
      writer_(*this),
      request_{{}, body_, *this, {}} {
  grow(kBufferSize);
}

void Session::grow(std::size_t capacity) {
  auto larger = std::make_unique_for_overwrite<char[]>(capacity);
  if (end_ > begin_) std::memcpy(larger.get(), buffer_.get() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  buffer_ = std::move(larger);
  capacity_ = capacity;
}

void Session::wait_for(Waits what, Duration limit) {
  waits_ = what;
  since_ = server_.coarse_now_;
  deadline_ = since_ + limit;
}
void Session::wait_for_nothing() {
  waits_ = Waits::nothing;
  deadline_ = TimePoint{Duration::max()};
}

Duration Session::allowance(std::uint64_t bytes) const {
  const std::uint64_t rate = std::max<std::uint64_t>(server_.options_.bytes_per_second_min, 1);
  return server_.options_.stall_time_max + std::chrono::seconds(bytes / rate);
}

Task<void> Session::run() {
  for (;;) {
    const Result<std::size_t> head_size = co_await read_head();
    if (!head_size) co_return;
    if (*head_size == 0) break;
    if (!co_await serve_one(*head_size)) break;
  }
  if (!co_await flush()) co_return;
  if (answer_ != Answer::none) co_await linger();
}

Task<Result<std::size_t>> Session::read_head() {
  for (;;) {
    if (begin_ == end_) begin_ = end_ = 0;
    if (begin_ < end_) {
      const auto scanned = scanner_.scan(unread(), server_.options_.head);
      if (const auto* refusal = std::get_if<Refusal>(&scanned)) {
        refuse(*refusal);
        co_return std::size_t{0};
      }
      if (const std::size_t size = std::get<std::size_t>(scanned)) {
        scanner_.reset();
        co_return size;
      }
    }
    if (!out_.empty()) CO_TRY_STATUS(flush());
    if (server_.stopping_) co_return std::size_t{0};
    if (end_ == capacity_)
      grow(std::min(2 * capacity_, server_.options_.head.head_bytes + kScratch));
    if (begin_ == end_) {
      idle_ = true;
      answer_ = Answer::none;
      wait_for(Waits::request, server_.options_.idle_time_max);
    } else if (idle_) {
      // From the first byte of the head on, whatever trickles in after it.
      idle_ = false;
      wait_for(Waits::head, server_.options_.head_time_max);
    }
    CO_TRY(const std::size_t n,
           connection_->read(
               {reinterpret_cast<std::uint8_t*>(buffer_.get()) + end_, capacity_ - end_}));
    if (n == 0) co_return std::size_t{0};
    end_ += n;
  }
}

// Answers a request whose framing cannot be trusted.
void Session::refuse(const Refusal& refusal) {
  ++server_.counters_.refused;
  answer_ = Answer::none;
  keep_alive_ = false;
  body_done_ = true;
  request_.method = "GET";
  request_.minor_version = 1;
  std::string why("bad request: ");
  why.append(refusal.why).append("\n");
  send(refusal.status, Response::text(refusal.status, {}).headers, why);
}

Task<bool> Session::serve_one(std::size_t head_size) {
  idle_ = false;
  wait_for_nothing();
  ++server_.counters_.requests;
  answer_ = Answer::none;
  body_begin_ = head_end_ = begin_ + head_size;
  if (const auto refusal =
          parse_request_head(unread().substr(0, head_size), server_.options_.head, request_)) {
    refuse(*refusal);
    co_return false;
  }
  if (request_.framing == Framing::chunked && capacity_ - body_begin_ < kScratch) {
    grow(head_size + std::max(end_ - body_begin_, 2 * kScratch));
    body_begin_ = head_end_ = head_size;
    CHECK(!parse_request_head(unread().substr(0, head_size), server_.options_.head, request_));
  }
  request_.parameters.clear();
  keep_alive_ = request_.keep_alive && !server_.stopping_;
  body_done_ = request_.framing == Framing::none;
  body_left_ = request_.content_length;
  body_read_ = 0;
  body_since_.reset();
  body_limit_ = server_.options_.body_bytes_max;
  continue_due_ = request_.expects_continue && !body_done_;
  if (!body_done_) chunks_ = ChunkDecoder();

  co_await server_.handler_(request_, writer_);

  if (answer_ == Answer::none) {
    send(500, Response::text(500, {}).headers, "the handler gave no answer\n");
  } else if (answer_ == Answer::streaming) {
    // Cut short: the client must not take what it has for all.
    (void)co_await flush();
    answer_ = Answer::none;
    co_return false;
  }
  if (!body_done_ && keep_alive_ && !co_await drain_body()) keep_alive_ = false;
  begin_ = body_begin_;
  if (out_.size() > kGather && !co_await flush()) co_return false;
  co_return keep_alive_;
}

Task<Status> Session::flush() {
  if (out_.empty()) co_return Status{};
  const std::size_t size = out_.size();
  server_.hold_answer(size);
  wait_for(Waits::write, allowance(size));
  const Status status = co_await connection_->write(as_bytes(out_));
  server_.answers_bytes_ -= size;
  if (out_.capacity() > kKeptOutput) {
    out_ = std::string();
  } else {
    out_.clear();
  }
  wait_for_nothing();
  co_return status;
}

// Ends our side and drops what the client still sends, for a bounded while.
Task<void> Session::linger() {
  if (!connection_->close_write()) co_return;
  wait_for(Waits::request, kLingerTimeMax);
  std::size_t dropped = 0;
  while (dropped < kLingerBytesMax) {
    const auto n =
        co_await connection_->read({reinterpret_cast<std::uint8_t*>(buffer_.get()), capacity_});
    if (!n || *n == 0) co_return;
    dropped += *n;
  }
}

// ---- the request's body

Task<Result<std::size_t>> Session::receive(std::span<std::uint8_t> out) {
  if (!body_since_) body_since_ = server_.coarse_now_;
  const TimePoint end = *body_since_ + allowance(body_read_);
  wait_for(Waits::body, std::min(server_.options_.stall_time_max, end - server_.coarse_now_));
  Result<std::size_t> n = co_await connection_->read(out);
  wait_for_nothing();
  if (n && *n == 0)
    co_return fail(ErrorCode::unavailable, "the client closed in the middle of the body");
  co_return n;
}

Task<Result<std::size_t>> Session::read_body(std::span<std::uint8_t> out) {
  if (body_done_ || out.empty()) co_return std::size_t{0};
  const auto too_large = [this] {
    return fail(ErrorCode::resource_exhausted,
                "the body is larger than " + std::to_string(body_limit_) + " bytes");
  };
  if (request_.framing == Framing::length && body_read_ + body_left_ > body_limit_)
    co_return too_large();
  if (continue_due_) {
    continue_due_ = false;
    out_ += "HTTP/1.1 100 Continue\r\n\r\n";
    CO_TRY_STATUS(flush());
  }
  Result<std::size_t> n = std::size_t{0};
  if (request_.framing == Framing::chunked) {
    n = co_await read_chunked(out);
  } else {
    out = out.first(std::min<std::uint64_t>(out.size(), body_left_));
    if (const std::string_view here = unread_body(); !here.empty()) {
      n = std::min(here.size(), out.size());
      std::memcpy(out.data(), here.data(), *n);
      body_begin_ += *n;
    } else {
      n = co_await receive(out);
    }
    if (n) {
      body_left_ -= *n;
      body_done_ = body_left_ == 0;
    }
  }
  if (!n) {
    keep_alive_ = false;
    co_return n;
  }
  body_read_ += *n;
  if (body_read_ > body_limit_) {
    keep_alive_ = false;
    co_return too_large();
  }
  co_return n;
}

Task<Result<std::size_t>> Session::read_chunked(std::span<std::uint8_t> out) {
  for (;;) {
    const ChunkDecoder::Step step = chunks_.next(unread_body(), out.size());
    if (step.refusal)
      co_return fail(ErrorCode::invalid_argument,
                     "the chunked body is broken: " + std::string(step.refusal->why));
    if (!step.data.empty()) std::memcpy(out.data(), step.data.data(), step.data.size());
    body_begin_ += step.consumed;
    if (!step.data.empty()) co_return step.data.size();
    if (step.finished) {
      body_done_ = true;
      co_return std::size_t{0};
    }
    CO_TRY_STATUS(receive_scratch());
  }
}

// More bytes behind those of the body that are here already; the head stays where it is.
Task<Status> Session::receive_scratch() {
  const std::size_t left = end_ - body_begin_;
  std::memmove(buffer_.get() + head_end_, buffer_.get() + body_begin_, left);
  body_begin_ = head_end_;
  end_ = head_end_ + left;
  if (end_ == capacity_)
    co_return fail(ErrorCode::invalid_argument, "the chunked body is broken: a line too long");
  CO_TRY(const std::size_t n,
         receive({reinterpret_cast<std::uint8_t*>(buffer_.get()) + end_, capacity_ - end_}));
  end_ += n;
  co_return Status{};
}

Task<Status> Session::drain_body() {
  std::array<std::uint8_t, 4096> dropped;
  body_limit_ = body_read_ + kDrainMax;
  while (!body_done_) CO_TRY_STATUS(read_body(dropped));
  co_return Status{};
}

// ---- the answer

// The connection goes on only if the next request can be found behind the body of this one.
void Session::decide_keep_alive() {
  if (body_done_) return;
  if (continue_due_ || request_.framing == Framing::chunked || body_left_ > kDrainMax)
    keep_alive_ = false;
}

void Session::append_number(std::uint64_t n) {
  std::array<char, 24> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), n).ptr;
  out_.append(digits.data(), static_cast<std::size_t>(end - digits.data()));
}

void Session::append_head(int status) {
  decide_keep_alive();
  if (status == 200) {
    out_.append("HTTP/1.1 200 OK\r\n");
  } else {
    out_.append("HTTP/1.1 ");
    append_number(static_cast<std::uint64_t>(status));
    out_.append(" ").append(reason_of(status)).append("\r\n");
  }
  out_.append(server_.date_);
  if (!keep_alive_) {
    out_.append("connection: close\r\n");
  } else if (request_.minor_version == 0) {
    out_.append("connection: keep-alive\r\n");
  }
}

template <class Fields>
void Session::append_fields(const Fields& headers) {
  for (const auto& field : headers) {
    if (reserved(field.name) || !valid_header(field.name, field.value)) continue;
    out_.append(field.name).append(": ").append(field.value).append("\r\n");
  }
}

template <class Fields>
void Session::send(int status, const Fields& headers, std::string_view body) {
  CHECK(answer_ == Answer::none);
  if (status < 200 || status > 599) status = 500;
  append_head(status);
  append_fields(headers);
  if (has_body(status)) {
    out_.append("content-length: ");
    append_number(body.size());
    out_.append("\r\n\r\n");
    if (request_.method != "HEAD") out_.append(body);
  } else {
    out_.append("\r\n");
  }
  answer_ = Answer::complete;
}
template void Session::send(int, const Headers&, std::string_view);
template void Session::send(int, const std::span<const HeaderView>&, std::string_view);

Task<Status> Session::begin(Response head) {
  CHECK(answer_ == Answer::none);
  if (!has_body(head.status) || request_.method == "HEAD")
    co_return fail(ErrorCode::invalid_argument, "this answer has no body");
  chunked_answer_ = request_.minor_version == 1;
  if (!chunked_answer_) keep_alive_ = false;
  append_head(head.status);
  append_fields(head.headers);
  if (chunked_answer_) out_.append("transfer-encoding: chunked\r\n");
  out_.append("\r\n");
  answer_ = Answer::streaming;
  co_return co_await write(as_bytes(head.body));
}

Task<Status> Session::write(BytesView data) {
  CHECK(answer_ == Answer::streaming);
  if (!data.empty()) {
    if (chunked_answer_) {
      std::array<char, 20> size;
      const auto end = std::to_chars(size.data(), size.data() + size.size(), data.size(), 16).ptr;
      out_.append(size.data(), static_cast<std::size_t>(end - size.data())).append("\r\n");
      out_.append(as_text(data)).append("\r\n");
    } else {
      out_.append(as_text(data));
    }
  }
  co_return co_await flush();
}

Task<Status> Session::finish() {
  CHECK(answer_ == Answer::streaming);
  if (chunked_answer_) out_.append("0\r\n\r\n");
  answer_ = Answer::complete;
  co_return Status{};
}

}  // namespace tau::http
