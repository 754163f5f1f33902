// HttpExchange: one HTTP request, and the answer that a guest makes of it, in memory. The substrate
// fills in the request and reads the answer; host functions call the rest. The writer follows Go's
// net/http, whose behaviour guests expect: the first write commits status and headers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "guest/errors.h"

namespace tau::guest {

struct HttpHeaderView {
  std::string_view name, value;
};

struct HttpHeader {
  std::string name, value;
};

// Borrowed from whoever read the request, for as long as the exchange lives.
struct HttpRequest {
  std::string_view method = "GET";
  std::string_view host = {};   // with the port if the client sent one
  std::string_view path = "/";  // percent-decoded
  std::string_view query = {};  // as sent, without '?'
  // In the order of the request; Host is skipped.
  std::span<const HttpHeaderView> headers = {};
  BytesView body = {};
};

struct HttpLimits {
  // An answer is collected in memory, once for each request in flight.
  std::size_t body_bytes_max = 16u << 20;
  // As much as common clients accept: many, ours among them, read 100 fields, and the server adds
  // its own.
  std::size_t header_bytes_max = 64u << 10;
  std::size_t headers_max = 90;
};

class HttpExchange {
 public:
  explicit HttpExchange(HttpRequest request, HttpLimits limits = {})
      : request_(request), limits_(limits) {}

  const HttpRequest& request() const { return request_; }

  // The answer. Status 200 if the guest set none. The framing headers (Content-Length,
  // Transfer-Encoding, Connection …) are the server's; the guest's are dropped. An answer to HEAD
  // keeps its body here, for the length.
  int status() const { return status_ ? status_ : 200; }
  bool committed() const { return status_ != 0; }
  const std::vector<HttpHeader>& headers() const { return headers_; }
  const std::string& body() const { return body_; }
  std::string take_body() { return std::move(body_); }

  // What the guest asks. Absent is empty.
  std::string_view header(std::string_view name) const;
  std::string_view query_value(std::string_view key);
  const std::string& header_names();  // each followed by a zero byte
  const std::string& query_names();

  // Copies up to out.size() bytes of the request's body. eof with the last of them.
  std::pair<Error, std::size_t> read_body(std::span<std::uint8_t> out);
  void close_body() { body_closed_ = true; }

  // What the guest answers.
  Error add_header(std::string_view name, std::string_view value);
  Error set_status(std::uint32_t code);
  std::pair<Error, std::size_t> write(std::string_view bytes);
  Error flush();
  Error redirect(std::string_view url, std::uint32_t code);

 private:
  struct Query {
    std::vector<std::pair<std::string, std::string>> values;
    std::string names;
  };
  const Query& query();
  bool has_header(std::string_view name) const;
  bool body_allowed() const;

  HttpRequest request_;
  HttpLimits limits_;
  std::size_t body_read_ = 0;
  bool body_closed_ = false;
  std::optional<Query> query_;
  std::optional<std::string> header_names_;

  int status_ = 0;  // 0: nothing is committed
  std::vector<HttpHeader> headers_;
  std::size_t header_bytes_ = 0;
  std::string body_;
};

}  // namespace tau::guest
