// What one run of a guest prints: standard output, standard error and `_log`, in order, up to a
// bound.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace tau::guest {

class LogSink {
 public:
  // A function that prints in a loop must not fill the node's memory; 64 KiB hold a long stack of
  // messages.
  explicit LogSink(std::size_t bytes_max = 64u << 10) : bytes_max_(bytes_max) {}

  void append(std::string_view text) {
    const std::size_t room = bytes_max_ - text_.size();
    text_.append(text.substr(0, std::min(room, text.size())));
    truncated_ |= text.size() > room;
  }
  const std::string& text() const { return text_; }
  bool truncated() const { return truncated_; }

 private:
  std::size_t bytes_max_;
  std::string text_;
  bool truncated_ = false;
};

}  // namespace tau::guest
