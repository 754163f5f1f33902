// What both ends of HTTP/1.1 share: header lists, requests as they were read, answers as they are
// built.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace tau::http {

// ASCII only, as RFC 9110 compares field names and tokens.
bool equal_ignoring_case(std::string_view a, std::string_view b);

// A header field as it was read: views of the connection's buffer.
struct HeaderView {
  std::string_view name, value;
};
struct Header {
  std::string name, value;
};

// The fields in the order in which they came. Names compare without case.
template <class Field>
class BasicHeaders {
 public:
  const Field* find(std::string_view name) const {
    for (const Field& field : fields_)
      if (equal_ignoring_case(field.name, name)) return &field;
    return nullptr;
  }
  // The first field of that name, or nothing.
  std::string_view get(std::string_view name) const {
    const Field* field = find(name);
    return field ? std::string_view(field->value) : std::string_view{};
  }
  bool contains(std::string_view name) const { return find(name) != nullptr; }
  void add(decltype(Field::name) name, decltype(Field::value) value) {
    fields_.push_back({std::move(name), std::move(value)});
  }
  void erase(std::string_view name) {
    std::erase_if(fields_, [&](const Field& f) { return equal_ignoring_case(f.name, name); });
  }
  void clear() { fields_.clear(); }
  std::size_t size() const { return fields_.size(); }
  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }

 private:
  std::vector<Field> fields_;
};
using HeadersView = BasicHeaders<HeaderView>;
using Headers = BasicHeaders<Header>;

// How the length of a message's body is known (RFC 9112, 6.3).
enum class Framing : std::uint8_t { none, length, chunked, until_close };

// A request's head, checked. Every view points into the buffer that was parsed.
struct RequestHead {
  std::string_view method;
  std::string_view target;     // as it was sent
  std::string_view path;       // percent-encoded, starts with '/' ("*" for OPTIONS *)
  std::string_view query;      // without '?'
  std::string_view authority;  // of the target or the Host header, with its port
  int minor_version = 1;       // HTTP/1.<this>
  HeadersView headers;
  Framing framing = Framing::none;
  std::uint64_t content_length = 0;
  bool keep_alive = true;
  bool expects_continue = false;

  // The authority without its port; "[::1]" keeps its brackets.
  std::string_view host() const;
};

struct Response {
  int status = 200;
  Headers headers;  // Content-Length, Date and Connection are the server's
  std::string body;

  static Response text(int status, std::string body);
};

std::string_view reason_of(int status);  // "Not Found"

// "%2F" becomes "/". Errors: invalid_argument for a broken escape or an escaped NUL.
Result<std::string> percent_decode(std::string_view text);
// One value of a query string, decoded ('+' is a space); nothing when it is absent or broken.
std::optional<std::string> query_value(std::string_view query, std::string_view name);

}  // namespace tau::http
