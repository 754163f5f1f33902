// A file for one body under way, gone with its owner. Disk I/O runs on the thread pool.
#pragma once

#include <filesystem>

#include "base/bytes.h"
#include "base/error.h"
#include "runtime/thread_pool.h"

namespace tau::patrick {

class Spool {
 public:
  Spool(std::filesystem::path path, runtime::ThreadPool& files)
      : path_(std::move(path)), files_(files) {}
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size() const { return size_; }

  // Errors: unavailable (the disk).
  Task<Status> create();
  Task<Status> append(BytesView data);  // valid until the task ends
  Task<Status> open_written();          // what another program wrote there
  // At most `most` bytes from `offset`; empty at the end.
  Task<Result<Bytes>> read(std::uint64_t offset, std::size_t most);

 private:
  std::filesystem::path path_;
  runtime::ThreadPool& files_;
  int fd_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace tau::patrick
