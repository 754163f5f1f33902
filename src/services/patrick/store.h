// Every key of patrick:
//   "branch/<project>/<branch>"     -> BranchRecord
//   "job/<job>"                     -> JobRecord
//   "log/<job>/<index, 4 digits>"   -> kLogChunkBytes of the build log; the last one may be shorter
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "services/patrick/jobs.h"
#include "store/kv.h"

namespace tau::patrick {

inline constexpr std::size_t kLogBytesMax = 4u << 20;         // as api.h promises
inline constexpr std::size_t kLogAppendBytesMax = 64u << 10;  // a call
inline constexpr std::size_t kLogReadBytesMax = 64u << 10;
// An append writes the last chunk again, so it is small; 257 chunks at most.
inline constexpr std::size_t kLogChunkBytes = 16u << 10;

// Loop thread only. Writes of one job's log must not overlap: the service sees to it.
class Store {
 public:
  explicit Store(store::Kv& kv) : kv_(kv) {}

  struct Loaded {
    std::vector<BranchRecord> branches;
    std::vector<JobRecord> jobs;
  };
  Task<Result<Loaded>> load();
  Task<Status> write(Change change);  // fsynced

  // Buffered: the next synced write (the job's end at the latest) makes it last. What goes beyond
  // kLogBytesMax is dropped, after one line that says so.
  Task<Status> append_log(JobId job, std::string text);
  // From `offset` on, at most kLogReadBytesMax, never cut inside a character.
  Task<Result<std::string>> read_log(JobId job, std::uint64_t offset);
  // No more will be appended.
  void forget_tail(const JobId& job) { tails_.erase(job); }

 private:
  struct Tail {
    std::uint64_t size = 0;
    std::string chunk;  // the last one; shorter than kLogChunkBytes
    bool full = false;
  };
  Task<Result<Tail>> load_tail(JobId job);

  store::Kv& kv_;
  std::map<JobId, Tail> tails_;  // of jobs that go on: one for each monkey, mostly
};

}  // namespace tau::patrick
