#include "process/cgroup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>

namespace tau::process {
namespace fs = std::filesystem;
namespace {

constexpr const char* kRoot = "/sys/fs/cgroup";

std::string read_all(const fs::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// One write(2): control files take a value as a whole, and say what is wrong with it in errno.
Status write_value(const fs::path& path, std::string_view value) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0)
    return fail(ErrorCode::failed_precondition,
                fmt::format("open {}: {}", path.string(), std::strerror(errno)));
  const auto n = ::write(fd, value.data(), value.size());
  const int error = errno;
  ::close(fd);
  if (n < 0)
    return fail(ErrorCode::failed_precondition,
                fmt::format("write {} to {}: {}", value, path.string(), std::strerror(error)));
  return {};
}

// The path of this process below a controller ("" for version 2), from /proc/self/cgroup.
std::string own_path(std::string_view controller) {
  std::istringstream lines(read_all("/proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string names = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool wanted = controller.empty()
                            ? names == ",,"
                            : names.find("," + std::string(controller) + ",") != std::string::npos;
    if (wanted) return line.substr(second + 1);
  }
  return "/";
}

Result<fs::path> make_folder(const fs::path& folder) {
  std::error_code error;
  if (fs::create_directory(folder, error)) return folder;
  return fail(ErrorCode::failed_precondition,
              fmt::format("make {}: {}", folder.string(),
                          error ? error.message() : "a group of this name is there already"));
}

bool offers(const fs::path& folder, const char* list) {
  const std::string names = " " + read_all(folder / list) + " ";
  const auto has = [&](std::string_view name) {
    for (auto at = names.find(name); at != std::string::npos; at = names.find(name, at + 1)) {
      const char after = names[at + name.size()];
      if (names[at - 1] == ' ' && (after == ' ' || after == '\n')) return true;
    }
    return false;
  };
  return has("memory") && has("pids");
}

// Where version 2 groups can be made: below this process if its group hands the controllers down
// (or is the root, which may), else below a group of ours at the root.
Result<fs::path> version_2_parent() {
  const fs::path root = kRoot;
  if (!offers(root, "cgroup.controllers"))
    return fail(ErrorCode::failed_precondition,
                "control groups of version 2 have no memory and pids controllers here");
  const fs::path own = root / fs::path(own_path("")).relative_path();
  if (offers(own, "cgroup.subtree_control") && ::access(own.c_str(), W_OK) == 0) return own;
  const fs::path ours = root / "tau";
  if (!offers(root, "cgroup.subtree_control"))
    TRY_STATUS(write_value(root / "cgroup.subtree_control", "+memory +pids"));
  std::error_code error;
  fs::create_directory(ours, error);
  if (!offers(ours, "cgroup.subtree_control"))
    TRY_STATUS(write_value(ours / "cgroup.subtree_control", "+memory +pids"));
  return ours;
}

std::vector<int> processes_in(const fs::path& folder) {
  std::vector<int> out;
  std::istringstream in(read_all(folder / "cgroup.procs"));
  for (int pid = 0; in >> pid;) out.push_back(pid);
  return out;
}

}  // namespace

Result<std::unique_ptr<ControlGroup>> ControlGroup::make(const std::string& name, Bounds bounds) {
  std::unique_ptr<ControlGroup> group(new ControlGroup);
  const std::string memory = std::to_string(bounds.memory_bytes_max);
  const std::string processes = std::to_string(bounds.processes_max);
  if (const auto parent = version_2_parent()) {
    TRY(const fs::path folder, make_folder(*parent / name));
    group->version_2_ = true;
    group->folders_.push_back(folder);
    group->memory_events_ = folder / "memory.events";
    TRY_STATUS(write_value(folder / "memory.max", memory));
    TRY_STATUS(write_value(folder / "pids.max", processes));
    (void)write_value(folder / "memory.swap.max", "0");   // absent where the kernel has no swap
    (void)write_value(folder / "memory.oom.group", "1");  // since Linux 4.19
  } else {
    std::string tried = parent.error().message();
    const fs::path root = kRoot;
    std::optional<fs::path> made[2];
    const char* controllers[2] = {"memory", "pids"};
    for (int i = 0; i < 2; ++i) {
      const fs::path base = root / controllers[i];
      const fs::path own = base / fs::path(own_path(controllers[i])).relative_path();
      for (const auto& place : {own, base}) {
        if (!fs::exists(place / "cgroup.procs")) continue;
        auto folder = make_folder(place / name);
        if (folder) {
          made[i] = *folder;
          group->folders_.push_back(*folder);
          break;
        }
        tried += "; " + folder.error().message();
      }
      if (!made[i])
        return fail(ErrorCode::failed_precondition,
                    fmt::format("no control group for {}: {}", controllers[i], tried));
    }
    TRY_STATUS(write_value(*made[0] / "memory.limit_in_bytes", memory));
    (void)write_value(*made[0] / "memory.memsw.limit_in_bytes", memory);  // absent without swap
    TRY_STATUS(write_value(*made[1] / "pids.max", processes));
    group->memory_events_ = *made[0] / "memory.oom_control";
  }
  for (const auto& folder : group->folders_) {
    const int fd = ::open((folder / "cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0)
      return fail(ErrorCode::failed_precondition,
                  fmt::format("open {}/cgroup.procs: {}", folder.string(), std::strerror(errno)));
    group->join_.push_back(fd);
  }
  return group;
}

ControlGroup::~ControlGroup() {
  for (const int fd : join_) ::close(fd);
  kill_all();
  (void)remove();
}

bool ControlGroup::out_of_memory() const {
  std::istringstream in(read_all(memory_events_));
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("oom_kill ")) return line != "oom_kill 0";
  }
  return false;
}

void ControlGroup::kill_all() const {
  if (version_2_ && write_value(folders_[0] / "cgroup.kill", "1")) return;  // since Linux 5.14
  for (const auto& folder : folders_) {
    for (const int pid : processes_in(folder)) ::kill(pid, SIGKILL);
  }
}

bool ControlGroup::remove() {
  bool all = true;
  for (const auto& folder : folders_) {
    if (::rmdir(folder.c_str()) != 0 && errno != ENOENT) all = false;
  }
  return all;
}

}  // namespace tau::process
