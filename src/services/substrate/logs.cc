#include "services/substrate/logs.h"

#include <algorithm>

namespace tau::substrate {
namespace {

constexpr std::size_t kLineMax = 4096;
constexpr std::uint32_t kLimitMax = 1000;
constexpr std::uint32_t kWaitMsMax = 30'000;
// Of an answer: a frame holds 4 MiB.
constexpr std::size_t kAnswerBytesMax = 2u << 20;
constexpr std::size_t kLineOverhead = 100;  // its other fields, about

// The length of the UTF-8 character at the front; 0 if it is none.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const auto follows = [&](std::size_t i) { return (byte(i) & 0xc0u) == 0x80u; };
  const unsigned b = byte(0);
  if (b < 0x80) return 1;
  if (b >= 0xc2 && b <= 0xdf) return follows(1) ? 2 : 0;
  if (b >= 0xe0 && b <= 0xef) {
    if (!follows(1) || !follows(2)) return 0;
    if (b == 0xe0 && byte(1) < 0xa0) return 0;  // overlong
    if (b == 0xed && byte(1) > 0x9f) return 0;  // surrogates
    return 3;
  }
  if (b >= 0xf0 && b <= 0xf4) {
    if (!follows(1) || !follows(2) || !follows(3)) return 0;
    if (b == 0xf0 && byte(1) < 0x90) return 0;
    if (b == 0xf4 && byte(1) > 0x8f) return 0;
    return 4;
  }
  return 0;
}

std::size_t size_of(const LogLine& line) {
  return line.text.size() + line.function.size() + line.request.size() + kLineOverhead;
}

}  // namespace

std::string clean_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t n = utf8_length(text);
    if (n == 0) {
      out += "\xef\xbf\xbd";
      text.remove_prefix(1);
    } else {
      out += text.substr(0, n);
      text.remove_prefix(n);
    }
  }
  return out;
}

std::shared_ptr<Logs::Ring> Logs::ring(const ProjectId& project) {
  auto& ring = rings_[project];
  if (ring) {
    order_.splice(order_.begin(), order_, ring->place);
    return ring;
  }
  ring = std::make_shared<Ring>(loop_);
  order_.push_front(project);
  ring->place = order_.begin();
  made_.notify_all();
  const auto made = ring;
  if (order_.size() > options_.projects_max) {
    // Whoever reads it keeps its ring, and sees no more of it.
    rings_.erase(order_.back());
    order_.pop_back();
  }
  return made;
}

void Logs::append(const ProjectId& project, std::string_view function, std::string_view request,
                  std::string_view stream, std::string_view text) {
  const auto into = ring(project);
  const std::int64_t now = loop_.wall_unix_ms();
  while (!text.empty()) {
    const std::size_t newline = text.find('\n');
    std::string_view line = text.substr(0, std::min(newline, kLineMax));
    const bool whole = line.size() == newline;
    if (!whole && line.size() == kLineMax) {
      // Not in the middle of a character.
      for (int i = 0; i < 3 && (static_cast<unsigned char>(text[line.size()]) & 0xc0u) == 0x80u;
           ++i)
        line.remove_suffix(1);
    }
    text.remove_prefix(std::min(text.size(), line.size() + (whole ? 1 : 0)));
    into->lines.push_back({++into->last, now, std::string(function), std::string(request),
                           std::string(stream), clean_utf8(line)});
    into->bytes += size_of(into->lines.back());
  }
  while (into->lines.size() > options_.lines_max || into->bytes > options_.bytes_max) {
    into->bytes -= size_of(into->lines.front());
    into->lines.pop_front();
  }
  into->grown.notify_all();
}

Task<Status> Logs::wait_for_ring(ProjectId project) {
  while (!rings_.contains(project)) CO_TRY_STATUS(made_.wait());
  co_return Status{};
}

Task<Status> Logs::wait_for_line(std::shared_ptr<Ring> ring, std::uint64_t after) {
  while (ring->last <= after) CO_TRY_STATUS(ring->grown.wait());
  co_return Status{};
}

Task<Result<ReadLogs::Response>> Logs::read(ReadLogs::Request request) {
  const TimePoint until =
      loop_.now() + std::chrono::milliseconds(std::min(request.wait_ms, kWaitMsMax));
  const auto timed_out = [](const Status& s) {
    return !s && s.error().code() == ErrorCode::deadline_exceeded;
  };
  ReadLogs::Response response;
  // Waiting makes no ring: any member may name any project.
  if (!rings_.contains(request.project)) {
    if (request.wait_ms == 0) co_return response;
    const Status made = co_await runtime::with_deadline(until - loop_.now(), "logs",
                                                        wait_for_ring(request.project));
    if (timed_out(made)) co_return response;
    CO_TRY_SYNC_STATUS(made);
  }
  const auto found = rings_.find(request.project);
  if (found == rings_.end()) co_return response;
  const std::shared_ptr<Ring> from = found->second;
  if (request.after > from->last) request.after = 0;
  if (from->last <= request.after && loop_.now() < until) {
    const Status grown = co_await runtime::with_deadline(until - loop_.now(), "logs",
                                                         wait_for_line(from, request.after));
    if (!grown && !timed_out(grown)) co_return std::unexpected(grown.error());
  }
  const std::size_t limit = std::min(request.limit, kLimitMax);
  std::size_t bytes = 0;
  const auto first = std::ranges::upper_bound(from->lines, request.after, {}, &LogLine::number);
  for (auto line = first; line != from->lines.end(); ++line) {
    if (response.lines.size() >= limit || bytes > kAnswerBytesMax) break;
    bytes += size_of(*line);
    response.lines.push_back(*line);
  }
  co_return response;
}

}  // namespace tau::substrate
