#include "testnet/data_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace tau::testnet {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLock = "dream.lock";
constexpr int kLockTries = 100;  // a millisecond apart
constexpr std::string_view kTemporary = "dream-";
constexpr std::string_view kUniverse = "universe-";

std::unexpected<Error> disk_error(const fs::path& file, int why) {
  return fail(ErrorCode::unavailable,
              fmt::format("cannot write {}: {}", file.string(), std::strerror(why)));
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

// An empty lock file that is held is another dream's search for left-overs, over in a moment; who
// holds one for long has written in it.
bool take(int fd, const fs::path& file) {
  for (int i = 0;; ++i) {
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
    const int why = errno;
    std::error_code ec;
    if (why != EWOULDBLOCK || i == kLockTries || fs::file_size(file, ec) > 0) {
      errno = why;
      return false;
    }
    ::poll(nullptr, 0, 1);
  }
}

std::string first_line(const fs::path& file) {
  std::ifstream in(file);
  std::string line(200, '\0');
  in.read(line.data(), static_cast<std::streamsize>(line.size()));
  line.resize(static_cast<std::size_t>(in.gcount()));
  return line.substr(0, line.find('\n'));
}

}  // namespace

Result<LockedFolder> LockedFolder::lock(fs::path folder, const std::string& who) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error)
    return fail(ErrorCode::unavailable,
                fmt::format("cannot make {}: {}", folder.string(), error.message()));
  const fs::path file = folder / kLock;
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return disk_error(file, errno);
  if (!take(fd, file)) {
    const int why = errno;
    ::close(fd);
    if (why != EWOULDBLOCK) return disk_error(file, why);
    const std::string holder = first_line(file);
    return fail(ErrorCode::failed_precondition,
                fmt::format("another dream uses {}{}. Stop it with `dream stop`, or give this one "
                            "another folder with --data",
                            folder.string(), holder.empty() ? "" : " (" + holder + ")"));
  }
  if (::ftruncate(fd, 0) != 0 || !write_all(fd, who + "\n")) {
    const int why = errno;
    ::close(fd);
    return disk_error(file, why);
  }
  return LockedFolder(fs::absolute(folder), fd);
}

Result<LockedFolder> LockedFolder::temporary(const fs::path& parent, const std::string& who) {
  std::string name = (parent / (std::string(kTemporary) + "XXXXXX")).string();
  if (!::mkdtemp(name.data())) return disk_error(parent, errno);
  return lock(name, who);
}

LockedFolder::LockedFolder(LockedFolder&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

LockedFolder::~LockedFolder() {
  if (fd_ >= 0) ::close(fd_);
}

std::vector<fs::path> remove_left_over(const fs::path& parent) {
  std::vector<fs::path> removed;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(parent, ec)) {
    const fs::path& folder = entry.path();
    struct stat about{};
    if (!folder.filename().string().starts_with(kTemporary) ||
        ::lstat(folder.c_str(), &about) != 0 || !S_ISDIR(about.st_mode) ||
        about.st_uid != ::getuid())
      continue;
    // One without a lock file is just being made, or is not dream's.
    const int fd = ::open((folder / kLock).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) continue;
    // An empty lock file: its dream is between making and locking it.
    struct stat lock{};
    const bool dead =
        ::flock(fd, LOCK_EX | LOCK_NB) == 0 && ::fstat(fd, &lock) == 0 && lock.st_size > 0;
    if (dead) {
      fs::remove_all(folder, ec);
      removed.push_back(folder);
    }
    ::close(fd);
  }
  return removed;
}

DataFolders::~DataFolders() {
  if (!temporary_) return;
  std::error_code ignored;
  fs::remove_all(temporary_->path(), ignored);
}

Result<fs::path> DataFolders::root(Keep keep) {
  auto& folder = keep == Keep::yes ? kept_ : temporary_;
  if (!folder) {
    auto made = keep == Keep::yes ? LockedFolder::lock(options_.kept, options_.who)
                                  : LockedFolder::temporary(options_.temporary, options_.who);
    if (!made) return fail(made.error());
    folder.emplace(*std::move(made));
  }
  return folder->path();
}

Result<fs::path> DataFolders::folder_of(std::string_view universe, Keep keep) {
  TRY(const fs::path root_folder, root(keep));
  return root_folder / (std::string(kUniverse) + std::string(universe));
}

Result<std::vector<std::string>> DataFolders::kept_universes() {
  std::vector<std::string> names;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(options_.kept, ec)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kUniverse) && fs::exists(entry.path() / "root.key", ec))
      names.push_back(name.substr(kUniverse.size()));
  }
  std::ranges::sort(names);
  if (!names.empty()) {
    TRY(const fs::path locked, root(Keep::yes));
    (void)locked;
  }
  return names;
}

Result<fs::path> default_kept_folder() {
  if (const char* data = std::getenv("XDG_DATA_HOME"); data && *data == '/')
    return fs::path(data) / "tau" / "dream";
  if (const char* home = std::getenv("HOME"); home && *home)
    return fs::path(home) / ".local" / "share" / "tau" / "dream";
  return fail(ErrorCode::failed_precondition,
              "neither XDG_DATA_HOME nor HOME is set: name a folder with --data");
}

Status replace_file(const fs::path& file, std::string_view text) {
  const fs::path next = file.string() + ".new";
  const int fd = ::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return disk_error(next, errno);
  const bool written = write_all(fd, text) && ::fsync(fd) == 0;
  const int why = errno;
  ::close(fd);
  if (!written) return disk_error(next, why);
  if (::rename(next.c_str(), file.c_str()) != 0) return disk_error(file, errno);
  const int folder = ::open(file.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    (void)::fsync(folder);
    ::close(folder);
  }
  return {};
}

}  // namespace tau::testnet
