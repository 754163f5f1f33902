// The log of one job on its way to patrick: lines from any number of builds, gathered and sent in
// pieces. All of it is kept until the job ends, so that a patrick that lacks something, because it
// took over from one that died, gets it again. What builds say is hostile: control characters,
// broken UTF-8 and endless lines are made harmless here. Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "process/runner.h"
#include "runtime/channel.h"
#include "runtime/loop.h"

namespace tau::monkey {

class BuildLog {
 public:
  // At most this much a call, as patrick's AppendLog says.
  static constexpr std::size_t kPieceBytesMax = 64u << 10;
  // What may wait while patrick is slow; more is left out, and the log says how much.
  static constexpr std::size_t kWaitingBytesMax = 1u << 20;
  static constexpr std::size_t kLineBytesMax = 4096;
  // Patrick keeps 4 MiB, and says then that the log ends: more is not even sent.
  static constexpr std::size_t kTextBytesMax = (4u << 20) + kPieceBytesMax;
  // Soon enough to watch, rare enough that a chatty compiler does not cost a message a line.
  static constexpr Duration kGatherTime = std::chrono::milliseconds(100);
  static constexpr Duration kRetryTime = std::chrono::milliseconds(500);
  // After so long without success patrick is gone, and does not just restart.
  static constexpr Duration kPatience = std::chrono::seconds(30);

  // Where to go on: how much of the log the other side has.
  using Send = std::function<Task<Result<std::uint64_t>>(std::string text, std::uint64_t offset)>;

  BuildLog(runtime::Loop& loop, Send send) : loop_(loop), send_(std::move(send)), changed_(loop) {}

  void line(std::string_view text);                        // as it is, made harmless
  void line(std::string_view who, std::string_view text);  // "[who] text"

  // Sends until finish() was called and all is sent, or sending fails for good.
  Task<void> run();
  void finish();
  std::uint64_t sent() const { return sent_; }  // bytes that the other side has

 private:
  Task<Status> gather();  // more, for a moment
  bool all_sent() const { return sent_ >= text_.size() && left_out_ == 0; }

  runtime::Loop& loop_;
  Send send_;
  runtime::Signal changed_;
  std::string text_;
  std::uint64_t sent_ = 0;
  std::size_t left_out_ = 0;
  bool finished_ = false;
};

// Bytes of a program's output as lines of a log.
class LineCutter {
 public:
  using Line = std::function<void(std::string_view line)>;
  explicit LineCutter(Line line) : line_(std::move(line)) {}
  void take(BytesView bytes);
  void end();

 private:
  Line line_;
  std::string partial_;
};

// Printable UTF-8 in one line: the rest is replaced by '?'; tabs stay.
std::string harmless(std::string_view text);

}  // namespace tau::monkey
