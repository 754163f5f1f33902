#include "http/client.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace tau::http {
namespace {

constexpr std::size_t kPiece = 16u << 10;

std::unexpected<Error> broken(const Refusal& refusal) {
  return fail(ErrorCode::invalid_argument,
              "the answer is not HTTP/1.1: " + std::string(refusal.why));
}

Result<std::string> head_of(const ClientRequest& request, const net::Endpoint& to) {
  for (const char c : request.method + request.target + request.host)
    if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7f)
      return fail(ErrorCode::invalid_argument, "method, target and host must not contain spaces");
  std::string head = request.method + " " + request.target + " HTTP/1.1\r\nhost: " +
                     (request.host.empty() ? to.to_string() : request.host) + "\r\n";
  for (const Header& field : request.headers) {
    if (!valid_header(field.name, field.value))
      return fail(ErrorCode::invalid_argument, "the header " + field.name + " is not well-formed");
    head += field.name + ": " + field.value + "\r\n";
  }
  if (!request.body.empty() || (request.method != "GET" && request.method != "HEAD"))
    head += "content-length: " + std::to_string(request.body.size()) + "\r\n";
  return head + "connection: close\r\n\r\n";
}

}  // namespace

Result<Url> Url::parse(std::string_view text) {
  constexpr std::string_view kScheme = "http://";
  if (!text.starts_with(kScheme))
    return fail(ErrorCode::invalid_argument,
                "\"" + std::string(text) + "\" does not start with http://");
  text.remove_prefix(kScheme.size());
  const std::size_t slash = std::min(text.find('/'), text.size());
  Url url;
  url.host = text.substr(0, slash);
  url.target = slash == text.size() ? "/" : std::string(text.substr(slash));
  std::string address = url.host;
  const std::size_t name_end = address.find(':');
  const std::string name = address.substr(0, name_end);
  // Browsers and resolvers keep localhost and what is below it on this machine (RFC 6761, 6.3).
  if (name == "localhost" || name.ends_with(".localhost"))
    address = "127.0.0.1" + (name_end == std::string::npos ? "" : address.substr(name_end));
  const bool has_port =
      address.starts_with('[') ? !address.ends_with(']') : address.find(':') != std::string::npos;
  if (!has_port) address += ":80";
  TRY(url.endpoint, net::Endpoint::parse(address));
  return url;
}

Task<Result<std::size_t>> ResponseStream::read(std::span<std::uint8_t> out) {
  const auto receive = [](ResponseStream& self,
                          std::span<std::uint8_t> into) -> Task<Result<std::size_t>> {
    co_return co_await runtime::with_deadline(self.stall_time_max_, "reading the answer",
                                              self.connection_->read(into));
  };
  const auto cut = [] {
    return fail(ErrorCode::unavailable, "the connection ended in the middle of the answer");
  };
  if (done_ || out.empty()) co_return std::size_t{0};
  if (head_.framing == Framing::chunked) {
    for (;;) {
      const ChunkDecoder::Step step = chunks_.next(unread(), out.size());
      if (step.refusal) co_return broken(*step.refusal);
      if (!step.data.empty()) std::memcpy(out.data(), step.data.data(), step.data.size());
      used_ += step.consumed;
      if (!step.data.empty()) co_return step.data.size();
      if (step.finished) {
        done_ = true;
        co_return std::size_t{0};
      }
      rest_.erase(0, std::exchange(used_, 0));
      const std::size_t before = rest_.size();
      rest_.resize(before + kPiece);
      auto* const data = reinterpret_cast<std::uint8_t*>(rest_.data());
      const auto n = co_await receive(*this, {data + before, kPiece});
      rest_.resize(before + (n ? *n : 0));
      if (!n) co_return std::unexpected(n.error());
      if (*n == 0) co_return cut();
    }
  }
  if (head_.framing == Framing::length) out = out.first(std::min<std::uint64_t>(out.size(), left_));
  std::size_t n = std::min(out.size(), unread().size());
  if (n > 0) {
    std::memcpy(out.data(), unread().data(), n);
    used_ += n;
  } else {
    CO_TRY(n, receive(*this, out));
  }
  if (head_.framing == Framing::until_close) {
    done_ = n == 0;
    co_return n;
  }
  if (n == 0) co_return cut();
  left_ -= n;
  done_ = left_ == 0;
  co_return n;
}

Task<Result<std::unique_ptr<ResponseStream>>> Client::exchange(
    std::unique_ptr<net::Connection> connection, ClientRequest request) {
  CO_TRY_SYNC(const std::string head, head_of(request, connection->remote()));
  // A server may refuse early and close; its answer counts then, not our failed write.
  Status written = co_await connection->write(as_bytes(head));
  if (written && !request.body.empty())
    written = co_await connection->write(as_bytes(request.body));
  auto stream = std::make_unique<ResponseStream>();
  stream->connection_ = std::move(connection);
  stream->stall_time_max_ = options_.stall_time_max;
  std::string text;
  std::array<std::uint8_t, 4096> piece;
  HeadLimits limits;
  limits.head_bytes = 64u << 10;
  for (HeadScanner scanner;;) {
    const auto scanned = scanner.scan(text, limits);
    if (const auto* refusal = std::get_if<Refusal>(&scanned)) co_return broken(*refusal);
    if (const std::size_t size = std::get<std::size_t>(scanned)) {
      stream->rest_ = text.substr(size);
      text.resize(size);
      stream->head_text_ = std::move(text);
      if (const auto refusal =
              parse_response_head(stream->head_text_, request.method, limits, stream->head_))
        co_return broken(*refusal);
      if (stream->head_.status >= 200) break;
      text = std::move(stream->rest_);  // 100 Continue: the answer comes after it
      scanner.reset();
      continue;
    }
    const auto n = co_await stream->connection_->read(piece);
    if (!n) co_return std::unexpected(written ? n.error() : written.error());
    if (*n == 0)
      co_return fail(ErrorCode::unavailable, "the server closed the connection without an answer");
    text += as_text(BytesView(piece).first(*n));
  }
  stream->left_ = stream->head_.content_length;
  stream->done_ = stream->head_.framing == Framing::none;
  co_return stream;
}

Task<Result<std::unique_ptr<ResponseStream>>> Client::open(net::Endpoint to,
                                                           ClientRequest request) {
  CO_TRY(auto connection,
         runtime::with_deadline(options_.connect_time_max, "connecting to " + to.to_string(),
                                network_.connect(to)));
  const std::string what = request.method + " " + request.target;
  co_return co_await runtime::with_deadline(options_.answer_time_max, what,
                                            exchange(std::move(connection), std::move(request)));
}

Task<Result<Response>> Client::send(net::Endpoint to, ClientRequest request) {
  CO_TRY(const auto stream, open(std::move(to), std::move(request)));
  Response response;
  response.status = stream->status();
  for (const HeaderView& field : stream->headers())
    response.headers.add(std::string(field.name), std::string(field.value));
  Bytes piece(kPiece);
  for (;;) {
    CO_TRY(const std::size_t n, stream->read(piece));
    if (n == 0) co_return response;
    if (response.body.size() + n > options_.body_bytes_max)
      co_return fail(
          ErrorCode::resource_exhausted,
          "the answer is larger than " + std::to_string(options_.body_bytes_max) + " bytes");
    response.body += as_text(BytesView(piece).first(n));
  }
}

}  // namespace tau::http
