#include "base/error.h"

#include <array>

namespace tau {
namespace {

struct Row {
  ErrorCode code;
  std::string_view name;
  int http_status;
};
constexpr std::array kRows = {
    Row{ErrorCode::cancelled, "cancelled", 499},
    Row{ErrorCode::unknown, "unknown", 500},
    Row{ErrorCode::invalid_argument, "invalid_argument", 400},
    Row{ErrorCode::deadline_exceeded, "deadline_exceeded", 504},
    Row{ErrorCode::not_found, "not_found", 404},
    Row{ErrorCode::already_exists, "already_exists", 409},
    Row{ErrorCode::permission_denied, "permission_denied", 403},
    Row{ErrorCode::resource_exhausted, "resource_exhausted", 429},
    Row{ErrorCode::failed_precondition, "failed_precondition", 412},
    Row{ErrorCode::aborted, "aborted", 409},
    Row{ErrorCode::unimplemented, "unimplemented", 501},
    Row{ErrorCode::internal, "internal", 500},
    Row{ErrorCode::unavailable, "unavailable", 503},
    Row{ErrorCode::data_loss, "data_loss", 500},
};
const Row& row(ErrorCode code) {
  for (const auto& r : kRows)
    if (r.code == code) return r;
  return kRows[1];
}

}  // namespace

std::string_view name_of(ErrorCode code) { return row(code).name; }
int http_status_of(ErrorCode code) { return row(code).http_status; }

std::optional<ErrorCode> error_code_from(std::uint64_t number) {
  for (const auto& r : kRows)
    if (static_cast<std::uint64_t>(r.code) == number) return r.code;
  return std::nullopt;
}

Error Error::context(std::string_view doing) && {
  message_.insert(0, ": ").insert(0, doing);
  return std::move(*this);
}

std::string Error::to_string() const { return std::string(name_of(code_)) + ": " + message_; }

}  // namespace tau
