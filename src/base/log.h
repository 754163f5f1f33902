// The log of a node: one line an event, to standard error or to a sink that a test or dream gives.
// What a remote can trigger is logged at debug, so that a stranger cannot fill the disk.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace tau {

enum class LogLevel : std::uint8_t { debug, info, warning, error };

// Thread-safe; cheap to copy. The name says who speaks: "patrick", "substrate-2".
class Logger {
 public:
  using Sink = std::function<void(LogLevel, std::string_view name, std::string_view line)>;

  Logger();  // silent
  Logger(std::string name, LogLevel least, Sink sink);
  static Logger to_stderr(std::string name, LogLevel least);

  Logger named(std::string name) const;  // same sink
  const std::string& name() const { return name_; }
  bool enabled(LogLevel level) const { return sink_ && level >= least_; }

  void log(LogLevel level, std::string_view line) const;
  void debug(std::string_view line) const { log(LogLevel::debug, line); }
  void info(std::string_view line) const { log(LogLevel::info, line); }
  void warning(std::string_view line) const { log(LogLevel::warning, line); }
  void error(std::string_view line) const { log(LogLevel::error, line); }

 private:
  std::string name_;
  LogLevel least_ = LogLevel::info;
  std::shared_ptr<const Sink> sink_;
};

std::string_view name_of(LogLevel level);

}  // namespace tau
