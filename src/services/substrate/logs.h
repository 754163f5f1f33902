// What the functions of this node said: a bounded ring of lines for each project. The oldest lines
// go first, the projects that were silent longest first. Memory only; control loop only.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/strong_id.h"
#include "runtime/channel.h"
#include "services/substrate/api.h"

namespace tau::substrate {

class Logs {
 public:
  struct Options {
    std::size_t lines_max = 5'000;  // of a project: a few screens of history and a burst
    std::size_t bytes_max = 1u << 20;
    std::size_t projects_max = 200;  // 200 MiB when every one is full
  };
  explicit Logs(runtime::Loop& loop) : Logs(loop, Options()) {}
  Logs(runtime::Loop& loop, Options options) : loop_(loop), options_(options), made_(loop) {}

  // Cuts `text` into lines. Bytes that are not UTF-8 become U+FFFD, lines end at 4 KiB.
  void append(const ProjectId& project, std::string_view function, std::string_view request,
              std::string_view stream, std::string_view text);
  // As the command ReadLogs. A number from before a restart of this node reads from the start.
  Task<Result<ReadLogs::Response>> read(ReadLogs::Request request);

 private:
  struct Ring {
    explicit Ring(runtime::Loop& loop) : grown(loop) {}
    std::deque<LogLine> lines;
    std::size_t bytes = 0;
    std::uint64_t last = 0;
    runtime::Signal grown;
    std::list<ProjectId>::iterator place;
  };
  std::shared_ptr<Ring> ring(const ProjectId& project);
  Task<Status> wait_for_ring(ProjectId project);
  static Task<Status> wait_for_line(std::shared_ptr<Ring> ring, std::uint64_t after);

  runtime::Loop& loop_;
  Options options_;
  std::map<ProjectId, std::shared_ptr<Ring>> rings_;
  std::list<ProjectId> order_;  // the last to speak first
  runtime::Signal made_;        // a ring
};

// UTF-8 (RFC 3629) with every byte that is none replaced by U+FFFD.
std::string clean_utf8(std::string_view text);

}  // namespace tau::substrate
