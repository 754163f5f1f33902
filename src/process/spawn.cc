#include "process/spawn.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace tau::process {
namespace {

// Sources of descriptors are moved above this before the fork, so that none is overwritten while
// they move down to 0, 1, 2, ….
constexpr int kAboveTargets = 128;

// Of an expendable program. With autogroups (sched(7)) a session shares by its own value.
constexpr int kExpendableNice = 10;
constexpr char kExpendableNiceText[] = "10";

enum class Step : int { none, join, limit, descriptors, directory, identity, exec };

const char* name_of(Step step) {
  switch (step) {
    case Step::none:
      return "start";
    case Step::join:
      return "join the control group";
    case Step::limit:
      return "set a resource limit";
    case Step::descriptors:
      return "hand over descriptors";
    case Step::directory:
      return "enter the directory";
    case Step::identity:
      return "drop to an unprivileged user";
    case Step::exec:
      return "exec";
  }
  return "";
}

// Everything that the child reads, made before the fork.
struct Prepared {
  const char* program = nullptr;
  char* const* argv = nullptr;
  char* const* envp = nullptr;
  const char* directory = nullptr;
  const int* descriptors = nullptr;
  int descriptor_count = 0;
  const int* join = nullptr;
  int join_count = 0;
  const std::pair<int, rlim_t>* limits = nullptr;
  int limit_count = 0;
  bool becomes = false;
  bool expendable = false;
  uid_t uid = 0;
  volatile Step failed = Step::none;
  volatile int error = 0;
};

void write_if_it_goes(const char* path, const char* text) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  [[maybe_unused]] const auto n = ::write(fd, text, std::strlen(text));
  ::close(fd);
}

// In the child, on the parent's memory and with the parent's thread stopped. The raw system calls
// for ids matter: the C library would tell the parent's other threads to change theirs, too.
[[noreturn]] void become_program(Prepared& p) {
  const auto give_up = [&p](Step step) {
    p.error = errno;
    p.failed = step;
    ::_exit(127);
  };
  struct sigaction fallback = {};
  fallback.sa_handler = SIG_DFL;
  for (int n = 1; n < 65; ++n) ::sigaction(n, &fallback, nullptr);

  ::setsid();
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::umask(022);
  for (int i = 0; i < p.join_count; ++i) {
    if (::write(p.join[i], "0", 1) != 1) give_up(Step::join);
  }
  if (p.expendable) {
    write_if_it_goes("/proc/self/oom_score_adj", "1000");
    write_if_it_goes("/proc/self/autogroup", kExpendableNiceText);
    ::syscall(SYS_setpriority, PRIO_PROCESS, 0, kExpendableNice);
  }
  for (int i = 0; i < p.limit_count; ++i) {
    const rlimit limit = {p.limits[i].second, p.limits[i].second};
    if (::syscall(SYS_prlimit64, 0, p.limits[i].first, &limit, nullptr) != 0) {
      if (errno != EPERM) give_up(Step::limit);  // EPERM: an even lower limit holds already
    }
  }
  for (int i = 0; i < p.descriptor_count; ++i) {
    if (::dup2(p.descriptors[i], i) < 0) give_up(Step::descriptors);
  }
  if (::syscall(SYS_close_range, p.descriptor_count, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */) != 0)
    give_up(Step::descriptors);
  if (p.directory && ::chdir(p.directory) != 0) give_up(Step::directory);
  if (p.becomes) {
    if (::syscall(SYS_setgroups, 0, nullptr) != 0 ||
        ::syscall(SYS_setresgid, p.uid, p.uid, p.uid) != 0 ||
        ::syscall(SYS_setresuid, p.uid, p.uid, p.uid) != 0)
      give_up(Step::identity);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a change of ids forgets it
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(p.program, p.argv, p.envp);
  give_up(Step::exec);
  __builtin_unreachable();
}

[[gnu::noinline]] pid_t fork_and_become(Prepared& p) {
  const pid_t pid = ::vfork();
  if (pid == 0) become_program(p);
  return pid;
}

std::vector<char*> pointers_to(std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  for (auto& s : strings) out.push_back(s.data());
  out.push_back(nullptr);
  return out;
}

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

Result<Spawned> spawn(Spawn what) {
  std::vector<int> sources;
  for (auto& descriptor : what.descriptors) {
    const int high = ::fcntl(descriptor.get(), F_DUPFD_CLOEXEC, kAboveTargets);
    if (high < 0)
      return fail(ErrorCode::resource_exhausted,
                  fmt::format("duplicate a descriptor: {}", std::strerror(errno)));
    descriptor = Descriptor(high);  // the swap leaves the low one to the temporary
    sources.push_back(high);
  }
  auto argv = pointers_to(what.argv);
  auto envp = pointers_to(what.environment);
  Prepared p;
  p.program = what.program.c_str();
  p.argv = argv.data();
  p.envp = envp.data();
  p.directory = what.directory.empty() ? nullptr : what.directory.c_str();
  p.descriptors = sources.data();
  p.descriptor_count = static_cast<int>(sources.size());
  p.join = what.join.data();
  p.join_count = static_cast<int>(what.join.size());
  p.limits = what.limits.data();
  p.limit_count = static_cast<int>(what.limits.size());
  p.becomes = what.become.has_value();
  p.uid = what.become.value_or(0);
  p.expendable = what.expendable;

  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);  // no handler may run in the child
  const pid_t pid = fork_and_become(p);
  const int fork_error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0)
    return fail(ErrorCode::resource_exhausted,
                fmt::format("start a process: {}", std::strerror(fork_error)));
  if (p.failed != Step::none) {
    ::waitpid(pid, nullptr, 0);
    const bool missing = p.failed == Step::exec && p.error == ENOENT;
    return fail(missing ? ErrorCode::not_found : ErrorCode::failed_precondition,
                fmt::format("{}: {}: {}", what.program, name_of(p.failed), std::strerror(p.error)));
  }
  Descriptor pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) {
    const int error = errno;
    ::kill(-pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return fail(ErrorCode::failed_precondition,
                fmt::format("pidfd_open (Linux 5.3 or later): {}", std::strerror(error)));
  }
  return Spawned{pid, std::move(pidfd)};
}

Result<std::string> find_program(const std::string& name, const std::string& path_variable) {
  if (name.find('/') != std::string::npos) {
    if (::access(name.c_str(), X_OK) == 0) return name;
    return fail(ErrorCode::not_found, "there is no program " + name);
  }
  for (std::size_t at = 0; at <= path_variable.size();) {
    const auto end = std::min(path_variable.find(':', at), path_variable.size());
    const std::string candidate = path_variable.substr(at, end - at) + "/" + name;
    if (end > at && ::access(candidate.c_str(), X_OK) == 0) return candidate;
    at = end + 1;
  }
  return fail(ErrorCode::not_found,
              fmt::format("there is no program \"{}\" in {}", name, path_variable));
}

Result<std::pair<Descriptor, Descriptor>> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    return fail(ErrorCode::resource_exhausted, fmt::format("pipe: {}", std::strerror(errno)));
  std::pair<Descriptor, Descriptor> out{Descriptor(ends[0]), Descriptor(ends[1])};
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return out;
}

Result<Descriptor> file_of(const void* data, std::size_t size) {
  const auto failed = [](const char* what) {
    return fail(ErrorCode::resource_exhausted,
                fmt::format("a file in memory: {}: {}", what, std::strerror(errno)));
  };
  Descriptor file(::memfd_create("input", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file) return failed("create");
  for (std::size_t done = 0; done < size;) {
    const auto n = ::write(file.get(), static_cast<const char*>(data) + done, size - done);
    if (n <= 0) return failed("write");
    done += static_cast<std::size_t>(n);
  }
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL))
    return failed("seal");
  ::lseek(file.get(), 0, SEEK_SET);
  return file;
}

}  // namespace tau::process
