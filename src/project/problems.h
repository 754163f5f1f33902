// What is wrong with a project's files, and where. All of it is collected, so that one push shows
// every mistake.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace tau::project {

struct Place {
  std::string file;               // relative to the repository
  std::uint32_t line = 0;         // from 1; 0: the file as a whole
  std::uint32_t column = 0;       // from 1
  std::string to_string() const;  // "functions/ping.yaml:7:3"
};

struct Problem {
  enum class Severity : std::uint8_t { error, warning };
  Severity severity = Severity::error;
  Place place;
  std::string message;            // what, why, what to do
  std::string to_string() const;  // "functions/ping.yaml:7:3: error: …"
};

class Problems {
 public:
  // More are only counted: the log is for people.
  static constexpr std::size_t kErrorsMax = 50;
  static constexpr std::size_t kWarningsMax = 50;

  void error(Place place, std::string message);
  void warning(Place place, std::string message);
  void add(const Problems& others);

  bool ok() const { return errors_ == 0; }
  std::size_t errors() const { return errors_; }
  const std::vector<Problem>& list() const { return list_; }
  // One line each, errors and warnings as they were found; says how many were left out.
  std::string to_string() const;
  // invalid_argument with every error, one a line; only when !ok().
  Error as_error() const;

 private:
  std::vector<Problem> list_;
  std::size_t errors_ = 0;
  std::size_t warnings_ = 0;
};

}  // namespace tau::project
