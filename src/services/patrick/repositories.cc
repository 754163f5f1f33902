#include "services/patrick/repositories.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "store/folder/data_folder.h"

namespace tau::patrick {
namespace {

namespace fs = std::filesystem;

std::string read_file(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::unexpected<Error> cannot(const std::string& doing, const fs::path& path,
                              const std::string& why) {
  return fail(ErrorCode::unavailable, doing + " " + path.string() + ": " + why);
}

Status sync_file(const fs::path& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  const int why = errno;
  if (fd >= 0) ::close(fd);
  if (!synced) return cannot("syncing", file, std::strerror(why));
  return {};
}

// git removes its own temporary files when it ends in any way but by SIGKILL or with the machine.
// No branch has a name that ends in ".lock"; one may well be called "tmp_x".
Status remove_leftovers(const fs::path& repository) {
  std::error_code ec;
  std::vector<fs::path> leftovers;
  const std::string objects = (repository / "objects" / "").string();
  for (fs::recursive_directory_iterator it(repository, ec), end; !ec && it != end;
       it.increment(ec)) {
    const std::string name = it->path().filename().string();
    const bool temporary = it->path().string().starts_with(objects) &&
                           (name.starts_with("tmp_") || name.starts_with("incoming-"));
    if (!temporary && !name.ends_with(".lock")) continue;
    leftovers.push_back(it->path());
    if (it->is_directory(ec)) it.disable_recursion_pending();
  }
  if (ec) return cannot("looking into", repository, ec.message());
  for (const auto& path : leftovers) {
    fs::remove_all(path, ec);
    if (ec) return cannot("removing", path, ec.message());
  }
  return {};
}

// git that outlived its node: the parent's death ends http-backend, not what that had started. The
// environment names the folder; nobody else may use it, because this node has claimed it.
void end_survivors(const fs::path& folder) {
  const std::string mark = "GIT_PROJECT_ROOT=" + folder.string() + '\0';
  constexpr int kLooks = 100;  // each a few milliseconds: what is killed is soon gone
  for (int look = 0; look < kLooks; ++look) {
    bool any = false;
    std::error_code ec;
    for (fs::directory_iterator it("/proc", ec), end; !ec && it != end; it.increment(ec)) {
      const std::string name = it->path().filename().string();
      pid_t pid = 0;
      const auto read = std::from_chars(name.data(), name.data() + name.size(), pid);
      if (read.ec != std::errc() || read.ptr != name.data() + name.size()) continue;
      if (pid == ::getpid()) continue;
      if (('\0' + read_file(it->path() / "environ")).find('\0' + mark) == std::string::npos)
        continue;
      any = true;
      ::kill(pid, SIGKILL);
    }
    if (!any) return;
    ::usleep(2000);
  }
}

}  // namespace

// Pushes may rewrite a branch: the cloud builds what its owner says, and keeps no history of its
// own. Objects are checked, because readers of other people's repositories are attacked through
// them, and everything is on the disk before a push is answered (fsyncMethod batch is not said to
// be safe on Linux).
const std::string_view kRepositoryConfig = R"([core]
	repositoryformatversion = 0
	filemode = true
	bare = true
	hooksPath = /dev/null
	fsync = all
	fsyncMethod = fsync
[http]
	receivepack = true
	uploadpack = true
[receive]
	fsckObjects = true
	denyNonFastForwards = false
	maxInputSize = 268435456
	autogc = false
[gc]
	auto = 0
)";

Status finish_repository(const fs::path& repository) {
  TRY_STATUS(store::replace_file(repository / "config", kRepositoryConfig));
  TRY_STATUS(sync_file(repository / "HEAD"));
  return sync_names(repository, fs::file_time_type::min());
}

Status recover_repositories(const fs::path& folder) {
  std::error_code ec;
  if (!fs::exists(folder, ec)) return {};
  end_survivors(folder);
  for (const auto& project : fs::directory_iterator(folder, ec)) {
    if (!project.is_directory(ec)) continue;
    for (const auto& entry : fs::directory_iterator(project.path(), ec)) {
      const fs::path& path = entry.path();
      if (path.extension() == ".new") {  // of a repository that was never finished
        fs::remove_all(path, ec);
        if (ec) return cannot("removing", path, ec.message());
      }
      if (path.extension() != ".git") continue;
      TRY_STATUS(remove_leftovers(path));
      if (read_file(path / "config") != kRepositoryConfig)
        TRY_STATUS(store::replace_file(path / "config", kRepositoryConfig));
    }
  }
  if (ec) return cannot("looking into", folder, ec.message());
  return {};
}

Status sync_names(const fs::path& repository, fs::file_time_type since) {
  std::error_code ec;
  std::vector<fs::path> changed;
  if (fs::last_write_time(repository, ec) >= since) changed.push_back(repository);
  for (fs::recursive_directory_iterator it(repository, ec), end; !ec && it != end;
       it.increment(ec)) {
    if (!it->is_directory(ec)) continue;
    const auto written = fs::last_write_time(it->path(), ec);
    if (ec == std::errc::no_such_file_or_directory) {
      ec.clear();  // another push has put its quarantine away
      continue;
    }
    if (!ec && written >= since) changed.push_back(it->path());
  }
  if (ec && ec != std::errc::no_such_file_or_directory)
    return cannot("looking into", repository, ec.message());
  for (const auto& path : changed) {
    const Status synced = store::sync_folder(path);
    if (!synced && fs::exists(path, ec)) return synced;
  }
  return {};
}

}  // namespace tau::patrick
