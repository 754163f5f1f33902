#include "services/patrick/spool.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace tau::patrick {
namespace {

std::unexpected<Error> disk_error(const std::filesystem::path& path) {
  return fail(ErrorCode::unavailable, path.string() + ": " + std::strerror(errno));
}

Status write_all(int fd, BytesView data, const std::filesystem::path& path) {
  while (!data.empty()) {
    const ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return disk_error(path);
    data = data.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

}  // namespace

Spool::~Spool() {
  if (fd_ >= 0) ::close(fd_);
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);
}

Task<Status> Spool::create() {
  fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd_ < 0) co_return disk_error(path_);
  co_return Status{};
}

Task<Status> Spool::append(BytesView data) {
  size_ += data.size();
  co_return co_await files_.run([this, data] { return write_all(fd_, data, path_); });
}

Task<Status> Spool::open_written() {
  fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat about{};
  if (fd_ < 0 || ::fstat(fd_, &about) != 0) co_return disk_error(path_);
  size_ = static_cast<std::uint64_t>(about.st_size);
  co_return Status{};
}

Task<Result<Bytes>> Spool::read(std::uint64_t offset, std::size_t most) {
  co_return co_await files_.run([this, offset, most]() -> Result<Bytes> {
    Bytes data(most);
    const ssize_t n = ::pread(fd_, data.data(), data.size(), static_cast<off_t>(offset));
    if (n < 0) return disk_error(path_);
    data.resize(static_cast<std::size_t>(n));
    return data;
  });
}

}  // namespace tau::patrick
