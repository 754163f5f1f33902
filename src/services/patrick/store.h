// What patrick keeps beside the log of its group, which is below "raft/":
//   "build/<job>/<fence>/<index, 4 digits>"  -> kLogChunkBytes of what the monkey that held the job
//                                               by that fence wrote; the last one may be shorter
// and what a patrick that decided alone kept, before there was a group:
//   "branch/<project>/<branch>"              -> BranchRecord
//   "job/<job>"                              -> JobRecord
//   "log/<job>/<index, 4 digits>"            -> of the whole log; read as that of fence 0
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "services/patrick/jobs.h"
#include "store/kv.h"

namespace tau::patrick {

inline constexpr std::size_t kLogBytesMax = 4u << 20;         // as api.h promises
inline constexpr std::size_t kLogAppendBytesMax = 64u << 10;  // a call
inline constexpr std::size_t kLogReadBytesMax = 64u << 10;
// An append writes the last chunk again, so it is small; 257 chunks at most.
inline constexpr std::size_t kLogChunkBytes = 16u << 10;

// Loop thread only. Writes of one section must not overlap: logs.h sees to it.
class Store {
 public:
  explicit Store(store::Kv& kv) : kv_(kv) {}

  // What was written under one lease of a job.
  struct Section {
    JobId job;
    std::uint64_t fence = 0;
    friend auto operator<=>(const Section&, const Section&) = default;
  };

  // At `offset`, or at the end; gives the size after it. What is there already is left as it is; a
  // text that begins beyond the end changes nothing. What goes beyond kLogBytesMax is dropped,
  // after one line that says so, and counts as written. Buffered: the next synced write of the node
  // makes it last.
  Task<Result<std::uint64_t>> append(Section section, std::optional<std::uint64_t> offset,
                                     std::string text);
  // The same with what another patrick has kept: its line at the end, too, is in the text.
  Task<Result<std::uint64_t>> copy(Section section, std::uint64_t offset, std::string text);
  Task<Result<std::uint64_t>> size(Section section);
  // From `offset` on, at most `limit` bytes.
  Task<Result<std::string>> read(Section section, std::uint64_t offset, std::size_t limit);
  // No more will be appended.
  void forget_tails(const JobId& job);
  Task<Status> erase_logs(JobId job);

  struct Loaded {
    std::vector<BranchRecord> branches;
    std::vector<JobRecord> jobs;
  };
  Task<Result<Loaded>> load_older();
  Task<Status> erase_older(const Loaded& loaded);  // but for the logs

 private:
  struct Tail {
    std::uint64_t size = 0;
    std::string chunk;  // the last one; shorter than kLogChunkBytes
    std::uint64_t dropped = 0;
  };
  Task<Result<Tail>> tail(Section section);
  Task<Result<std::uint64_t>> put(Section section, Tail known, std::string text);

  store::Kv& kv_;
  std::map<Section, Tail> tails_;  // of jobs that go on: one for each monkey, mostly
};

// Without a character that begins before the text or ends after it.
std::string whole_characters(std::string_view text);

}  // namespace tau::patrick
