// substrate on the wire: what its functions said, and how a request went.
#pragma once

#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "command/command.h"

namespace tau::substrate {

inline constexpr std::string_view kRole = "substrate";
inline constexpr std::string_view kProtocol = "/tau/substrate/1";

struct LogLine {
  std::uint64_t number = 0;  // counts up on this node, for this project
  std::int64_t at_unix_ms = 0;
  std::string function;
  std::string request;  // id of the request, as in a 500 answer
  std::string stream;   // "stdout", "stderr", "failure"
  std::string text;
  static constexpr auto fields() {
    return std::tuple{
        codec::field("number", &LogLine::number),     codec::field("at", &LogLine::at_unix_ms),
        codec::field("function", &LogLine::function), codec::field("request", &LogLine::request),
        codec::field("stream", &LogLine::stream),     codec::field("text", &LogLine::text)};
  }
};

// Lines of a project's functions on this node, after `after`; waits up to wait_ms for one.
struct ReadLogs {
  static constexpr std::string_view kName = "read_logs";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(35);
  struct Request {
    ProjectId project;
    std::uint64_t after = 0;
    std::uint32_t limit = 200;  // at most 1,000
    std::uint32_t wait_ms = 0;  // at most 30,000
    static constexpr auto fields() {
      return std::tuple{
          codec::field("project", &Request::project), codec::field("after", &Request::after),
          codec::field("limit", &Request::limit), codec::field("wait", &Request::wait_ms)};
    }
  };
  struct Response {
    std::vector<LogLine> lines;
    static constexpr auto fields() { return std::tuple{codec::field("lines", &Response::lines)}; }
  };
};

// One step of a request's path: "tns", "deployment", "fetch", "compile", "body", "instantiate",
// "run".
struct Step {
  std::string name;
  std::uint64_t microseconds = 0;
  std::string note;  // "cached", "from 12D3… and 12D3…"
  static constexpr auto fields() {
    return std::tuple{codec::field("name", &Step::name),
                      codec::field("microseconds", &Step::microseconds),
                      codec::field("note", &Step::note)};
  }
};

// The path of one request through this node.
struct Trace {
  std::int64_t at_unix_ms = 0;
  std::uint32_t status = 0;
  std::uint64_t microseconds = 0;  // in all, from the head's last byte to the answer
  std::vector<Step> steps;
  static constexpr auto fields() {
    return std::tuple{
        codec::field("at", &Trace::at_unix_ms), codec::field("status", &Trace::status),
        codec::field("microseconds", &Trace::microseconds), codec::field("steps", &Trace::steps)};
  }
};

// The first and the last request of a route on this node, since it was deployed here. Errors:
// not_found (no request yet).
struct ReadTrace {
  static constexpr std::string_view kName = "read_trace";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(2);
  struct Request {
    std::string host;    // lower case, without port
    std::string path;    // "/ping"
    std::string method;  // empty: GET
    static constexpr auto fields() {
      return std::tuple{codec::field("host", &Request::host), codec::field("path", &Request::path),
                        codec::field("method", &Request::method)};
    }
  };
  struct Response {
    std::uint64_t requests = 0;
    Trace first, last;
    static constexpr auto fields() {
      return std::tuple{codec::field("requests", &Response::requests),
                        codec::field("first", &Response::first),
                        codec::field("last", &Response::last)};
    }
  };
};

// Counters since start.
struct Statistics {
  static constexpr std::string_view kName = "statistics";
  static constexpr command::Callers kCallers = command::kEveryMember;
  static constexpr Duration kDeadline = std::chrono::seconds(2);
  using Request = command::Empty;
  struct Response {
    std::uint64_t requests = 0, failures = 0, modules_fetched = 0, blocks_from_peers = 0,
                  bytes_from_peers = 0;
    static constexpr auto fields() {
      return std::tuple{codec::field("requests", &Response::requests),
                        codec::field("failures", &Response::failures),
                        codec::field("modules_fetched", &Response::modules_fetched),
                        codec::field("blocks_from_peers", &Response::blocks_from_peers),
                        codec::field("bytes_from_peers", &Response::bytes_from_peers)};
    }
  };
};

using Commands = command::List<ReadLogs, ReadTrace, Statistics>;

}  // namespace tau::substrate
