// The one error type. A code says what a caller may do about it, the message says what happened,
// where and why.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace tau {

// gRPC-like, so that one table maps a code to the wire and to an HTTP status. The numbers are wire
// format.
enum class ErrorCode : std::uint8_t {
  cancelled = 1,
  unknown = 2,
  invalid_argument = 3,
  deadline_exceeded = 4,
  not_found = 5,
  already_exists = 6,
  permission_denied = 7,
  resource_exhausted = 8,
  failed_precondition = 9,
  aborted = 10,
  unimplemented = 12,
  internal = 13,
  unavailable = 14,
  data_loss = 15,
};

std::string_view name_of(ErrorCode code);
std::optional<ErrorCode> error_code_from(std::uint64_t number);
int http_status_of(ErrorCode code);

class [[nodiscard]] Error {
 public:
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}

  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }

  // Puts what was being done in front: "read config: no such file".
  Error context(std::string_view doing) &&;
  std::string to_string() const;  // "not_found: ..."

  friend bool operator==(const Error&, const Error&) = default;

 private:
  ErrorCode code_;
  std::string message_;
};

template <class T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

inline std::unexpected<Error> fail(ErrorCode code, std::string message) {
  return std::unexpected<Error>(std::in_place, code, std::move(message));
}
inline std::unexpected<Error> fail(Error e) { return std::unexpected<Error>(std::move(e)); }

}  // namespace tau

#define TAU_CONCAT_(a, b) a##b
#define TAU_CONCAT(a, b) TAU_CONCAT_(a, b)
#define TAU_TRY_(tmp, ret, decl, ...)                    \
  auto tmp = (__VA_ARGS__);                              \
  if (!tmp) ret std::unexpected(std::move(tmp).error()); \
  decl = std::move(*tmp)
#define TAU_CHECKED_(tmp, ret, ...)                        \
  do {                                                     \
    auto tmp = (__VA_ARGS__);                              \
    if (!tmp) ret std::unexpected(std::move(tmp).error()); \
  } while (false)

// TRY(auto x, f());         x is the value of a Result, or the error is returned.
// CO_TRY(auto x, g());      the same for a Task<Result<T>>, awaited, inside a coroutine.
// TRY_STATUS(f()); CO_TRY_STATUS(g());   where there is no value.
// CO_TRY_SYNC(auto x, f()); a plain Result inside a coroutine.   CO_TRY_SYNC_STATUS(f());
#define TRY(decl, ...) TAU_TRY_(TAU_CONCAT(try_, __COUNTER__), return, decl, __VA_ARGS__)
#define CO_TRY(decl, ...) \
  TAU_TRY_(TAU_CONCAT(try_, __COUNTER__), co_return, decl, co_await __VA_ARGS__)
#define CO_TRY_SYNC(decl, ...) TAU_TRY_(TAU_CONCAT(try_, __COUNTER__), co_return, decl, __VA_ARGS__)
#define TRY_STATUS(...) TAU_CHECKED_(TAU_CONCAT(try_, __COUNTER__), return, __VA_ARGS__)
#define CO_TRY_STATUS(...) \
  TAU_CHECKED_(TAU_CONCAT(try_, __COUNTER__), co_return, co_await __VA_ARGS__)
#define CO_TRY_SYNC_STATUS(...) TAU_CHECKED_(TAU_CONCAT(try_, __COUNTER__), co_return, __VA_ARGS__)
