#include "services/monkey/build_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace tau::monkey {
namespace {

// The length of the UTF-8 sequence (RFC 3629) at the front, 0 when there is none.
std::size_t sequence_length(std::string_view s) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  std::size_t length = 0;
  unsigned char low = 0x80, high = 0xbf;
  if (first >= 0xc2 && first <= 0xdf) {
    length = 2;
  } else if (first >= 0xe0 && first <= 0xef) {
    length = 3;
    if (first == 0xe0) low = 0xa0;
    if (first == 0xed) high = 0x9f;
  } else if (first >= 0xf0 && first <= 0xf4) {
    length = 4;
    if (first == 0xf0) low = 0x90;
    if (first == 0xf4) high = 0x8f;
  }
  if (length == 0 || s.size() < length || at(1) < low || at(1) > high) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if (at(i) < 0x80 || at(i) > 0xbf) return 0;
  }
  return length;
}

}  // namespace

std::string harmless(std::string_view text) {
  std::string out;
  bool cut = false;
  if (text.size() > BuildLog::kLineBytesMax) {
    text = text.substr(0, BuildLog::kLineBytesMax);
    cut = true;
  }
  while (!text.empty()) {
    const unsigned char first = static_cast<unsigned char>(text[0]);
    if (first == 0x1b && text.size() > 1 && text[1] == '[') {  // colours: to the final letter
      std::size_t i = 2;
      while (i < text.size() && (text[i] < '@' || text[i] > '~')) ++i;
      text.remove_prefix(std::min(i + 1, text.size()));
      continue;
    }
    const std::size_t length = sequence_length(text);
    const bool control = first < 0x20 ? first != '\t' : first == 0x7f;
    // C1 controls, and what turns the direction of text (U+202A to U+202E).
    const auto byte = [&](std::size_t n) { return static_cast<unsigned char>(text[n]); };
    const bool tricky =
        (length == 2 && first == 0xc2 && byte(1) < 0xa0) ||
        (length == 3 && first == 0xe2 && byte(1) == 0x80 && byte(2) >= 0xaa && byte(2) <= 0xae);
    if (length == 0 || control || tricky) {
      if (first != '\r') out += '?';
      text.remove_prefix(std::max<std::size_t>(length, 1));
      continue;
    }
    out += text.substr(0, length);
    text.remove_prefix(length);
  }
  if (cut) out += " …";
  return out;
}

void LineCutter::take(BytesView bytes) {
  for (std::string_view text = as_text(bytes); !text.empty();) {
    const auto end = text.find('\n');
    partial_ += text.substr(0, end);
    if (end == std::string_view::npos) {
      // An endless line is given out in pieces.
      if (partial_.size() > BuildLog::kLineBytesMax) this->end();
      return;
    }
    line_(partial_);
    partial_.clear();
    text.remove_prefix(end + 1);
  }
}

void LineCutter::end() {
  if (partial_.empty()) return;
  line_(partial_);
  partial_.clear();
}

void BuildLog::line(std::string_view text) {
  const std::string safe = harmless(text);
  if (finished_ || text_.size() >= kTextBytesMax) return;
  if (text_.size() - sent_ + safe.size() + 1 > kWaitingBytesMax) {
    left_out_ += safe.size() + 1;
    return;
  }
  text_ += safe;
  text_ += '\n';
  changed_.notify_all();
}

void BuildLog::line(std::string_view who, std::string_view text) {
  line(fmt::format("[{}] {}", who, text));
}

void BuildLog::finish() {
  finished_ = true;
  changed_.notify_all();
}

Task<Status> BuildLog::gather() {
  const TimePoint until = loop_.now() + kGatherTime;
  while (!finished_ && text_.size() - sent_ < kPieceBytesMax && loop_.now() < until) {
    const auto woken = co_await runtime::with_deadline(until - loop_.now(), "log", changed_.wait());
    if (!woken && woken.error().code() == ErrorCode::cancelled) co_return woken;
  }
  co_return Status{};
}

Task<void> BuildLog::run() {
  std::optional<TimePoint> failing_since;
  for (;;) {
    while (all_sent() && !finished_) {
      if (!co_await changed_.wait()) co_return;
    }
    if (all_sent()) co_return;
    if (!co_await gather()) co_return;
    if (sent_ >= text_.size())
      text_ += fmt::format("({} bytes of log left out here)\n", std::exchange(left_out_, 0));
    std::string piece = text_.substr(sent_, kPieceBytesMax);
    // Whole lines, so that no character is torn.
    if (sent_ + piece.size() < text_.size()) piece.resize(piece.rfind('\n') + 1);
    const auto has = co_await send_(std::move(piece), sent_);
    // One that has less than was sent before is sent that again; one that stays where it is, not
    // for ever.
    const bool went_on = has && *has != sent_;
    if (has) sent_ = std::min<std::uint64_t>(*has, text_.size());
    if (went_on) {
      failing_since.reset();
      continue;
    }
    const auto code = has ? ErrorCode::unavailable : has.error().code();
    const bool passing = code == ErrorCode::unavailable || code == ErrorCode::deadline_exceeded;
    if (!failing_since) failing_since = loop_.now();
    if (!passing || loop_.now() - *failing_since >= kPatience) co_return;
    if (!co_await runtime::sleep_for(kRetryTime)) co_return;
  }
}

}  // namespace tau::monkey
