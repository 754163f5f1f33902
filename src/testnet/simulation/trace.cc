#include "testnet/simulation/trace.h"

#include <fmt/format.h>

namespace tau::testnet::simulation {

void Trace::say(std::string_view line) {
  const auto add = [&](std::uint8_t byte) { digest_ = (digest_ ^ byte) * 0x100000001b3; };
  for (const char c : line) add(static_cast<std::uint8_t>(c));
  for (auto t = loop_.now().since_start.count(); t > 0; t >>= 8) add(static_cast<std::uint8_t>(t));
  if (keep_ != Keep::nothing) keep(line);
}

void Trace::keep(std::string_view line) {
  const auto us = loop_.now().since_start / std::chrono::microseconds(1);
  lines_.push_back(fmt::format("{:5}.{:06} {}", us / 1'000'000, us % 1'000'000, line));
  if (lines_.size() > kLinesMax) lines_.pop_front();
}

Logger Trace::logger() {
  if (keep_ != Keep::logs) return Logger();
  return Logger("", LogLevel::debug,
                [this](LogLevel level, std::string_view name, std::string_view line) {
                  keep(fmt::format("  {} {}: {}", name, name_of(level), line));
                });
}

}  // namespace tau::testnet::simulation
