#include "base/log.h"

#include <cstdio>
#include <ctime>

namespace tau {

std::string_view name_of(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warning:
      return "warning";
    case LogLevel::error:
      return "error";
  }
  return "?";
}

Logger::Logger() = default;

Logger::Logger(std::string name, LogLevel least, Sink sink)
    : name_(std::move(name)), least_(least), sink_(std::make_shared<const Sink>(std::move(sink))) {}

Logger Logger::to_stderr(std::string name, LogLevel least) {
  return Logger(
      std::move(name), least, [](LogLevel level, std::string_view who, std::string_view line) {
        timespec now{};
        clock_gettime(CLOCK_REALTIME, &now);
        tm parts{};
        gmtime_r(&now.tv_sec, &parts);
        char stamp[32];
        std::strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &parts);
        std::fprintf(stderr, "%s.%03ldZ %-7s %.*s: %.*s\n", stamp, now.tv_nsec / 1'000'000,
                     std::string(name_of(level)).c_str(), static_cast<int>(who.size()), who.data(),
                     static_cast<int>(line.size()), line.data());
      });
}

Logger Logger::named(std::string name) const {
  Logger copy = *this;
  copy.name_ = std::move(name);
  return copy;
}

void Logger::log(LogLevel level, std::string_view line) const {
  if (enabled(level)) (*sink_)(level, name_, line);
}

}  // namespace tau
