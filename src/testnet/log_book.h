// LogBook: what the nodes of a universe said, each node's newest lines in memory and, for a kept
// universe, in files: FOLDER/NODE/node.log, and node.log.1 with what came before.
//
// add() is for any thread, everything else for the loop's. Copies of its logger may outlive it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "runtime/channel.h"
#include "runtime/loop.h"

namespace tau::testnet {

struct LogLine {
  std::uint64_t number = 0;  // counts all lines of the universe, from 1
  std::int64_t at_unix_ms = 0;
  LogLevel level = LogLevel::info;
  std::string node;  // "substrate-1"; "universe": dream itself
  std::string part;  // of the node: "router", "patrick"; empty: the node as a whole
  std::string text;
};

class LogBook {
 public:
  struct Options {
    // Half an hour of a busy node; a universe of ten then holds a few MB.
    std::size_t lines_max = 2000;
    std::size_t text_bytes_max = 4096;  // of one line; the rest is cut off
    std::size_t nodes_max = 128;        // names that speak; more are counted as the last one
    std::filesystem::path folder = {};  // empty: no files
    std::uint64_t file_bytes_max = 4u << 20;
  };
  LogBook(runtime::Loop& loop, Options options);
  ~LogBook();

  // A logger into this book for lines of at least `least`, and for what `also` takes, under the
  // name PREFIX/NODE/PART.
  Logger logger(LogLevel least, const Logger& also, const std::string& prefix) const;
  void add(LogLevel level, std::string_view who, std::string_view text);

  struct Query {
    std::string node = {};  // empty: all
    LogLevel least = LogLevel::debug;
    std::uint64_t after = 0;  // 0: the newest `limit` lines; else the first ones after this number
    std::size_t limit = 200;
  };
  std::vector<LogLine> read(const Query& query) const;
  std::uint64_t newest() const;  // the number of the newest line; 0: none

  // Until a line came after `number`, or close() was called. Errors: cancelled.
  Task<Status> wait_for_more(std::uint64_t number);
  void close();  // nobody waits any more
  bool closed() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

Result<LogLevel> log_level_named(std::string_view name);

}  // namespace tau::testnet
