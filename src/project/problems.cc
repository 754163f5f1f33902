#include "project/problems.h"

#include <fmt/format.h>

#include "base/check.h"

namespace tau::project {

std::string Place::to_string() const {
  if (line == 0) return file;
  return fmt::format("{}:{}:{}", file, line, column);
}

std::string Problem::to_string() const {
  return fmt::format("{}: {}: {}", place.to_string(),
                     severity == Severity::error ? "error" : "warning", message);
}

void Problems::error(Place place, std::string message) {
  if (++errors_ <= kErrorsMax)
    list_.push_back({Problem::Severity::error, std::move(place), std::move(message)});
}

void Problems::warning(Place place, std::string message) {
  if (++warnings_ <= kWarningsMax)
    list_.push_back({Problem::Severity::warning, std::move(place), std::move(message)});
}

void Problems::add(const Problems& others) {
  const std::size_t errors = errors_ + others.errors_;
  const std::size_t warnings = warnings_ + others.warnings_;
  for (const auto& p : others.list_) {
    if (p.severity == Problem::Severity::error) {
      error(p.place, p.message);
    } else {
      warning(p.place, p.message);
    }
  }
  errors_ = errors;
  warnings_ = warnings;
}

std::string Problems::to_string() const {
  std::string out;
  for (const auto& p : list_) out += p.to_string() + "\n";
  const std::size_t left_out = (errors_ > kErrorsMax ? errors_ - kErrorsMax : 0) +
                               (warnings_ > kWarningsMax ? warnings_ - kWarningsMax : 0);
  if (left_out > 0) out += fmt::format("and {} more\n", left_out);
  return out;
}

Error Problems::as_error() const {
  CHECK(!ok());
  std::string text;
  for (const auto& p : list_) {
    if (p.severity != Problem::Severity::error) continue;
    if (!text.empty()) text += '\n';
    text += p.place.to_string() + ": " + p.message;
  }
  if (errors_ > kErrorsMax) text += fmt::format("\nand {} more errors", errors_ - kErrorsMax);
  return Error(ErrorCode::invalid_argument, std::move(text));
}

}  // namespace tau::project
