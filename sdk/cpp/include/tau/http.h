// HTTP functions in C++.
//
//   #include <tau/http.h>
//
//   TAU_HTTP_FUNCTION(ping) {
//     event.write("pong");
//   }
//
// Every request runs in a fresh instance: nothing of one is seen by the next, globals included.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tau::abi {

using EventId = std::uint32_t;
using U32 = std::uint32_t;
using I64 = std::int64_t;
using InBytes = const void*;
using OutBytes = void*;
using OutU32 = std::uint32_t*;
using Error = std::uint32_t;

// What the node offers, from the table that the node itself is built from.
extern "C" {
#define TAU_FUNCTION(result, name, ...) \
  __attribute__((import_module("taubyte/sdk"), import_name(#name))) result name(__VA_ARGS__);
#include "abi/event.def"
#include "abi/http_event.def"
#undef TAU_FUNCTION
}

}  // namespace tau::abi

namespace tau::http {

// One request and its answer. Valid while the function runs.
class Event {
 public:
  explicit Event(std::uint32_t id) : id_(id) {}
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  // The request.
  std::string method() const { return read(abi::getHttpEventMethodSize, abi::getHttpEventMethod); }
  std::string host() const { return read(abi::getHttpEventHostSize, abi::getHttpEventHost); }
  std::string path() const { return read(abi::getHttpEventPathSize, abi::getHttpEventPath); }
  std::string user_agent() const {
    return read(abi::getHttpEventUserAgentSize, abi::getHttpEventUserAgent);
  }
  // First values, empty if absent. A header's name counts in any case.
  std::string query(std::string_view key) const {
    return read(abi::getHttpEventQueryValueByNameSize, abi::getHttpEventQueryValueByName, key);
  }
  std::string header(std::string_view name) const {
    return read(abi::getHttpEventHeadersSize, abi::getHttpEventHeaders, name);
  }
  std::vector<std::string> headers() const {
    return split(read(abi::getHttpEventRequestHeaderKeysSize, abi::getHttpEventRequestHeaderKeys));
  }
  std::vector<std::string> queries() const {
    return split(
        read(abi::getHttpEventRequestQueryKeysSize, [](std::uint32_t id, void* out, std::uint32_t) {
          return abi::getHttpEventRequestQueryKeys(id, out);
        }));
  }
  // What is left of the request's body.
  std::string body() const {
    constexpr std::uint32_t kEof = 8;
    std::string all;
    char chunk[4096];
    std::uint32_t error = 0;
    while (error == 0) {
      std::uint32_t count = 0;
      error = abi::readHttpEventBody(id_, chunk, sizeof chunk, &count);
      if (error == 0 || error == kEof) all.append(chunk, count);
      if (error == 0 && count == 0) break;
    }
    return all;
  }

  // The answer. Headers first, then a status, then bytes: the first byte commits status 200, and
  // what is committed stays. False: the node refused (too large, no such status).
  bool set_header(std::string_view name, std::string_view value) {
    return abi::eventHttpHeaderAdd(id_, name.data(), size(name), value.data(), size(value)) == 0;
  }
  bool status(std::uint32_t code) { return abi::eventHttpRetCode(id_, code) == 0; }
  bool write(std::string_view bytes) {
    std::uint32_t written = 0;
    return abi::eventHttpWrite(id_, bytes.data(), size(bytes), &written) == 0;
  }
  bool flush() { return abi::eventHttpFlush(id_) == 0; }
  bool redirect(std::string_view url, std::uint32_t code = 302) {
    return abi::eventHttpRedirect(id_, url.data(), size(url), code) == 0;
  }

 private:
  static std::uint32_t size(std::string_view text) {
    return static_cast<std::uint32_t>(text.size());
  }
  template <class Size, class Data>
  std::string read(Size size_of, Data data) const {
    std::uint32_t n = 0;
    std::string out;
    if (size_of(id_, &n) != 0 || n == 0) return out;
    out.resize(n);
    if (data(id_, out.data(), n) != 0) out.clear();
    return out;
  }
  template <class Size, class Data>
  std::string read(Size size_of, Data data, std::string_view key) const {
    std::uint32_t n = 0;
    std::string out;
    if (size_of(id_, &n, key.data(), size(key)) != 0 || n == 0) return out;
    out.resize(n);
    if (data(id_, key.data(), size(key), out.data(), n) != 0) out.clear();
    return out;
  }
  static std::vector<std::string> split(std::string_view names) {
    std::vector<std::string> out;
    for (std::size_t end; (end = names.find('\0')) != names.npos; names.remove_prefix(end + 1)) {
      out.emplace_back(names.substr(0, end));
    }
    return out;
  }

  std::uint32_t id_;
};

namespace detail {
inline bool is_http(std::uint32_t id) {
  std::uint32_t type = 0;
  abi::getEventType(id, &type);
  return type == 1;
}
}  // namespace detail

}  // namespace tau::http

// Defines the function that a route's `call` names; its body sees `tau::http::Event& event`.
#define TAU_HTTP_FUNCTION(name)                                                               \
  static void tau_http_##name(::tau::http::Event& event);                                     \
  extern "C"                                                                                  \
      __attribute__((export_name(#name))) std::uint32_t tau_export_##name(std::uint32_t id) { \
    if (!::tau::http::detail::is_http(id)) return 1;                                          \
    ::tau::http::Event event(id);                                                             \
    tau_http_##name(event);                                                                   \
    return 0;                                                                                 \
  }                                                                                           \
  static void tau_http_##name([[maybe_unused]] ::tau::http::Event& event)
