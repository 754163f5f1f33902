// What one run of a guest prints: standard output (and `_log`) and standard error, in order, up to
// a bound.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tau::guest {

enum class LogStream : std::uint8_t { output, error };

class LogSink {
 public:
  // A function that prints in a loop must not fill the node's memory; 64 KiB hold a long stack of
  // messages.
  explicit LogSink(std::size_t bytes_max = 64u << 10) : bytes_max_(bytes_max) {}

  void append(std::string_view text, LogStream stream = LogStream::output) {
    const std::size_t room = bytes_max_ - text_.size();
    truncated_ |= text.size() > room;
    text = text.substr(0, std::min(room, text.size()));
    if (text.empty()) return;
    if (stream != last_) {
      switches_.push_back(text_.size());
      last_ = stream;
    }
    text_.append(text);
  }
  bool empty() const { return text_.empty(); }
  const std::string& text() const { return text_; }  // of both streams
  bool truncated() const { return truncated_; }

  // Calls with (LogStream, std::string_view) for each piece that went to one stream.
  template <class Take>
  void for_each(Take take) const {
    LogStream stream = LogStream::output;
    std::size_t at = 0;
    for (std::size_t i = 0; i <= switches_.size(); ++i) {
      const std::size_t end = i < switches_.size() ? switches_[i] : text_.size();
      if (end > at) take(stream, std::string_view(text_).substr(at, end - at));
      at = end;
      stream = stream == LogStream::output ? LogStream::error : LogStream::output;
    }
  }

 private:
  std::size_t bytes_max_;
  std::string text_;
  std::vector<std::size_t> switches_;  // where the other stream goes on, from output at 0
  LogStream last_ = LogStream::output;
  bool truncated_ = false;
};

}  // namespace tau::guest
