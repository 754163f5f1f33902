#include "services/monkey/file_cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/check.h"

namespace tau::monkey {
namespace fs = std::filesystem;
namespace {

// Where a file is written before it gets its name.
constexpr const char* kUnfinished = ".unfinished-";
// What a crash left behind is not somebody else's work in progress after this time.
constexpr auto kUnfinishedTimeMax = std::chrono::hours(1);

bool plain(const std::string& name) {
  return !name.empty() && name[0] != '.' && name.size() <= 128 &&
         name.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == name.npos;
}

Status write_all(int fd, BytesView data) {
  while (!data.empty()) {
    const auto n = ::write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail(ErrorCode::unavailable, std::strerror(errno));
    data = data.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

struct File {
  fs::path path;
  fs::file_time_type used;
  std::uint64_t bytes = 0;
};

std::vector<File> files_in(const fs::path& folder) {
  std::vector<File> out;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code gone;  // by another process
    const auto bytes = it->file_size(gone);
    const auto used = it->last_write_time(gone);
    if (!gone) out.push_back({it->path(), used, bytes});
  }
  return out;
}

}  // namespace

std::optional<fs::path> FileCache::find(const std::string& name) const {
  CHECK(plain(name));
  if (folder_.empty()) return std::nullopt;
  const fs::path path = folder_ / name;
  // The time of the last use, which files on most disks would not have.
  if (::utimensat(AT_FDCWD, path.c_str(), nullptr, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
  return path;
}

std::optional<Bytes> FileCache::read(const std::string& name, std::uint64_t bytes_max) const {
  const auto path = find(name);
  if (!path) return std::nullopt;
  const int fd = ::open(path->c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return std::nullopt;
  struct stat about = {};
  std::optional<Bytes> out;
  if (::fstat(fd, &about) == 0 && static_cast<std::uint64_t>(about.st_size) <= bytes_max) {
    out.emplace(static_cast<std::size_t>(about.st_size));
    for (std::size_t have = 0; out && have < out->size();) {
      const auto n = ::read(fd, out->data() + have, out->size() - have);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {
        out.reset();
      } else {
        have += static_cast<std::size_t>(n);
      }
    }
  }
  ::close(fd);
  return out;
}

Result<fs::path> FileCache::put(const std::string& name, BytesView data) {
  CHECK(plain(name));
  if (folder_.empty()) return fail(ErrorCode::failed_precondition, "no folder for build caches");
  if (data.size() > bytes_max_)
    return fail(ErrorCode::resource_exhausted,
                fmt::format("{} bytes for a cache of {}", data.size(), bytes_max_));
  std::error_code error;
  fs::create_directories(folder_, error);
  std::string unfinished = (folder_ / (std::string(kUnfinished) + "XXXXXX")).string();
  const int fd = ::mkostemp(unfinished.data(), O_CLOEXEC);
  if (fd < 0)
    return fail(ErrorCode::unavailable,
                fmt::format("write to {}: {}", folder_.string(), std::strerror(errno)));
  Status written = write_all(fd, data);
  ::close(fd);
  if (written && ::rename(unfinished.c_str(), (folder_ / name).c_str()) != 0)
    written = fail(ErrorCode::unavailable, std::strerror(errno));
  if (!written) {
    ::unlink(unfinished.c_str());
    return fail(std::move(written).error().context("write " + (folder_ / name).string()));
  }
  make_room();
  return folder_ / name;
}

void FileCache::remove(const std::string& name) {
  CHECK(plain(name));
  std::error_code error;
  if (!folder_.empty()) fs::remove(folder_ / name, error);
}

std::uint64_t FileCache::bytes() const {
  std::uint64_t sum = 0;
  for (const auto& file : files_in(folder_)) sum += file.bytes;
  return sum;
}

void FileCache::make_room() const {
  auto files = files_in(folder_);
  const auto now = fs::file_time_type::clock::now();
  std::uint64_t sum = 0;
  std::error_code error;
  for (auto& file : files) {
    const bool unfinished = file.path.filename().string().starts_with(kUnfinished);
    if (unfinished && now - file.used > kUnfinishedTimeMax) {
      fs::remove(file.path, error);
      file.bytes = 0;
    }
    sum += file.bytes;
  }
  if (sum <= bytes_max_) return;
  std::ranges::sort(files, {}, &File::used);
  for (const auto& file : files) {
    if (sum <= bytes_max_) break;
    if (file.bytes == 0 || file.path.filename().string().starts_with(kUnfinished)) continue;
    fs::remove(file.path, error);
    sum -= file.bytes;
  }
}

}  // namespace tau::monkey
