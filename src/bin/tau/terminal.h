// What a person or a program sees: text and colour on a terminal, plain text elsewhere, JSON when
// it is asked for. Texts from the network are cleaned first, so that they can't steer a terminal.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "http/json.h"

namespace tau::cli {

// What `tau` ends with; `tau --help` lists them.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;       // a build failed, the cloud refused, a file is broken
inline constexpr int kExitUsage = 2;        // wrong arguments
inline constexpr int kExitUnreachable = 3;  // no cloud answers
inline constexpr int kExitNotFound = 4;     // no such project or build, no project in this folder
int exit_code_of(const Error& error);

// Without control characters but newline and tab.
std::string clean(std::string_view text);
// "2026-11-23 12:00:05", local time; empty for 0.
std::string time_text(std::int64_t unix_ms);
std::string duration_text(std::int64_t ms);  // "850 ms", "2.1 s"

class Terminal {
 public:
  enum class Colour : std::uint8_t { automatic, never };
  // `json`: say() is silent, result() prints one document.
  Terminal(bool json, Colour colour);

  bool json() const { return json_; }
  bool interactive() const { return interactive_; }  // standard input is a terminal

  void say(std::string_view line) const;       // to standard output
  void detail(std::string_view line) const;    // the same, dim
  void good(std::string_view line) const;      // green
  void bad(std::string_view line) const;       // red, to standard error
  void result(const http::Json& value) const;  // with --json only
  void item(const http::Json& value) const;    // with --json only: one line of a stream
  void error(const Error& error) const;        // {"error": …} with --json

  // Asks on a terminal. Errors: invalid_argument elsewhere, naming the flag to use.
  Result<std::string> ask(std::string_view question, std::string_view flag) const;

 private:
  std::string coloured(std::string_view code, std::string_view text, bool on) const;

  bool json_;
  bool colour_out_, colour_err_, interactive_;
};

// Columns wide enough for their longest cell.
std::string table(const std::vector<std::vector<std::string>>& rows);

}  // namespace tau::cli
