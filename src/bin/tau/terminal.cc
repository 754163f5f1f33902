#include "bin/tau/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iostream>

namespace tau::cli {

int exit_code_of(const Error& error) {
  switch (error.code()) {
    case ErrorCode::unavailable:
    case ErrorCode::deadline_exceeded:
      return kExitUnreachable;
    case ErrorCode::not_found:
      return kExitNotFound;
    case ErrorCode::invalid_argument:
      return kExitUsage;
    default:
      return kExitFailed;
  }
}

std::string clean(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n' || c == '\t' || (byte >= 0x20 && byte != 0x7f)) out += c;
  }
  return out;
}

std::string time_text(std::int64_t unix_ms) {
  if (unix_ms <= 0) return {};
  const std::time_t seconds = static_cast<std::time_t>(unix_ms / 1000);
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  char out[32];
  return {out, std::strftime(out, sizeof out, "%F %T", &parts)};
}

std::string duration_text(std::int64_t ms) {
  if (ms < 1000) return fmt::format("{} ms", std::max<std::int64_t>(ms, 0));
  return fmt::format("{:.1f} s", static_cast<double>(ms) / 1000);
}

Terminal::Terminal(bool json, Colour colour) : json_(json) {
  const char* no_colour = std::getenv("NO_COLOR");  // no-color.org: set and not empty
  const char* kind = std::getenv("TERM");
  const bool wanted = colour == Colour::automatic && (!no_colour || !*no_colour) &&
                      !(kind && std::string_view(kind) == "dumb");
  colour_out_ = wanted && ::isatty(STDOUT_FILENO);
  colour_err_ = wanted && ::isatty(STDERR_FILENO);
  interactive_ = ::isatty(STDIN_FILENO) && !json;
}

std::string Terminal::coloured(std::string_view code, std::string_view text, bool on) const {
  return on ? fmt::format("\033[{}m{}\033[0m", code, text) : std::string(text);
}

void Terminal::say(std::string_view line) const {
  if (json_) return;
  fmt::print("{}\n", clean(line));
  std::fflush(stdout);
}

void Terminal::detail(std::string_view line) const {
  if (json_) return;
  fmt::print("{}\n", coloured("2", clean(line), colour_out_));
  std::fflush(stdout);
}

void Terminal::good(std::string_view line) const {
  if (json_) return;
  fmt::print("{}\n", coloured("32", clean(line), colour_out_));
  std::fflush(stdout);
}

void Terminal::bad(std::string_view line) const {
  if (json_) return;
  fmt::print(stderr, "{}\n", coloured("31", clean(line), colour_err_));
}

void Terminal::result(const http::Json& value) const {
  if (!json_) return;
  fmt::print("{}\n", value.dump(2, ' ', false, http::Json::error_handler_t::replace));
  std::fflush(stdout);
}

void Terminal::item(const http::Json& value) const {
  if (!json_) return;
  fmt::print("{}\n", value.dump(-1, ' ', false, http::Json::error_handler_t::replace));
  std::fflush(stdout);
}

void Terminal::error(const Error& error) const {
  if (json_) {
    result({{"error", {{"code", name_of(error.code())}, {"message", error.message()}}}});
  } else {
    bad("tau: " + error.message());
  }
}

Result<std::string> Terminal::ask(std::string_view question, std::string_view flag) const {
  if (!interactive_)
    return fail(ErrorCode::invalid_argument,
                fmt::format("{} is missing: give it as {}", question, flag));
  fmt::print("{}: ", question);
  std::fflush(stdout);
  std::string line;
  if (!std::getline(std::cin, line) || line.empty())
    return fail(ErrorCode::invalid_argument, fmt::format("no {} was given", question));
  return line;
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (widths.size() <= i) widths.push_back(0);
      widths[i] = std::max(widths[i], row[i].size());
    }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += fmt::format("{:<{}}", row[i], i + 1 < row.size() ? widths[i] + 2 : 0);
    out += (out.empty() ? "" : "\n") + line;
  }
  return out;
}

}  // namespace tau::cli
