#include "process/local.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "process/cgroup.h"
#include "process/sandbox.h"
#include "process/spawn.h"

namespace tau::process {
namespace asio = boost::asio;
using runtime::Scope;
namespace {

constexpr int kResultsDescriptor = 3;
constexpr int kArgumentsDescriptor = 4;
constexpr std::size_t kFilesMax = 8;           // descriptors from 5 on
constexpr std::size_t kReadBytes = 64u << 10;  // what a pipe holds
constexpr rlim_t kFileBytesMax = 4ull << 30;   // a tmpfs is smaller; this is for what is not one
constexpr rlim_t kOpenFilesMax = 4096;         // linkers of large programs open about 1000
constexpr Duration kTrialTimeMax = std::chrono::seconds(10);
// How long the kernel may take to bury the processes of a control group before we leave the empty
// folder behind.
constexpr Duration kBurialTimeMax = std::chrono::seconds(2);

bool user_exists_here(std::uint32_t uid) {
  std::ifstream map("/proc/self/uid_map");
  for (std::uint64_t inside, outside, count; map >> inside >> outside >> count;) {
    if (uid >= inside && uid - inside < count) return true;
  }
  return false;
}

std::string path_of(const Command& command) {
  const auto it = command.environment.find("PATH");
  return it != command.environment.end() ? it->second : "/usr/local/bin:/usr/bin:/bin";
}

}  // namespace

struct LocalRunner::Slot {
  LocalRunner& owner;
  std::uint32_t number;
  ~Slot() {
    owner.free_slots_.push_back(number);
    owner.slot_freed_.notify_all();
  }
};

// One program: its pipes, its end. Handlers of the loop share it, so that it lives until the last
// of them has run.
class LocalRunner::Running : public std::enable_shared_from_this<Running> {
 public:
  Running(runtime::RealLoop& loop, OutputSink sink, Limits limits)
      : loop_(loop), sink_(std::move(sink)), limits_(limits), changed_(loop) {}

  std::unique_ptr<ControlGroup> group;

  void begin(Spawned spawned, std::array<Descriptor, 3> outputs) {
    pid_ = spawned.pid;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (!outputs[i]) continue;
      pipes_[i].emplace(loop_.io(), outputs[i].release());
      await_bytes(i);
    }
    leader_.emplace(loop_.io(), spawned.pidfd.release());
    leader_->async_wait(asio::posix::stream_descriptor::wait_read,
                        [self = shared_from_this()](boost::system::error_code) { self->ended(); });
  }

  void kill() {
    if (done_) return;
    ::syscall(SYS_pidfd_send_signal, leader_->native_handle(), SIGKILL, nullptr, 0);
    ::kill(-pid_, SIGKILL);
    if (group) group->kill_all();
  }

  Task<Status> wait() {
    while (!done_) CO_TRY_STATUS(changed_.wait());
    co_return Status{};
  }
  // Not cut short by cancellation: afterwards no process of it is left.
  Task<void> bury() {
    Scope own(loop_);
    (void)co_await wait().in(own);
    if (!group) co_return;
    exit_.out_of_memory = group->out_of_memory();
    const TimePoint give_up = loop_.now() + kBurialTimeMax;
    while (!group->remove() && loop_.now() < give_up) {
      group->kill_all();
      (void)co_await runtime::sleep_for(std::chrono::milliseconds(2)).in(own);
    }
  }
  Exit& exit() { return exit_; }

 private:
  void await_bytes(std::size_t i) {
    pipes_[i]->async_wait(asio::posix::stream_descriptor::wait_read,
                          [self = shared_from_this(), i](boost::system::error_code error) {
                            if (!error && self->read(i)) self->await_bytes(i);
                          });
  }
  // One read; false when there is nothing more to come.
  bool read(std::size_t i) {
    if (!pipes_[i]) return false;
    std::array<std::uint8_t, kReadBytes> buffer;
    const auto n = ::read(pipes_[i]->native_handle(), buffer.data(), buffer.size());
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0) {
      pipes_[i].reset();
      return false;
    }
    take(i, {buffer.data(), static_cast<std::size_t>(n)});
    return true;
  }
  void take(std::size_t i, BytesView bytes) {
    if (exit_.too_much_output) return;
    std::uint64_t& left = i == kResultsPipe ? limits_.results_bytes_max : limits_.output_bytes_max;
    if (bytes.size() > left) {
      exit_.too_much_output = true;
      bytes = bytes.first(i == kResultsPipe ? 0 : left);
      kill();
    }
    left -= bytes.size();
    if (i == kResultsPipe) {
      exit_.results.insert(exit_.results.end(), bytes.begin(), bytes.end());
    } else if (sink_ && !bytes.empty()) {
      sink_(i == 0 ? Output::standard_output : Output::standard_error, bytes);
    }
  }
  void ended() {
    siginfo_t info = {};
    // The number of the group is ours until the leader is reaped, so what it left behind can be
    // killed by it.
    if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) != 0) return;
    ::kill(-pid_, SIGKILL);
    for (std::size_t i = 0; i < pipes_.size(); ++i) {
      // What is in the pipe now; somebody else may hold the other end for long.
      while (pipes_[i] && drain(i)) {
      }
      pipes_[i].reset();
    }
    ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED);
    exit_.code = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
    leader_.reset();
    done_ = true;
    changed_.notify_all();
  }
  bool drain(std::size_t i) {
    if (exit_.too_much_output) return false;
    errno = 0;
    return read(i) && errno != EAGAIN;
  }

  static constexpr std::size_t kResultsPipe = 2;
  runtime::RealLoop& loop_;
  OutputSink sink_;
  Limits limits_;  // what is left of them
  runtime::Signal changed_;
  pid_t pid_ = -1;
  std::array<std::optional<asio::posix::stream_descriptor>, 3> pipes_;  // out, error, results
  std::optional<asio::posix::stream_descriptor> leader_;
  bool done_ = false;
  Exit exit_;
};

LocalRunner::LocalRunner(runtime::RealLoop& loop, LocalOptions options, Logger log)
    : loop_(loop),
      options_(std::move(options)),
      log_(std::move(log)),
      drops_(::geteuid() == 0 && user_exists_here(options_.first_uid + options_.slots)),
      slot_freed_(loop) {
  for (std::uint32_t i = options_.slots; i > 0; --i) free_slots_.push_back(i - 1);
}
LocalRunner::~LocalRunner() = default;

Task<Result<std::uint32_t>> LocalRunner::take_slot() {
  while (free_slots_.empty()) CO_TRY_STATUS(slot_freed_.wait());
  const std::uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  co_return slot;
}

Task<Result<Exit>> LocalRunner::run(Command command, OutputSink sink) {
  if (command.argv.empty()) co_return fail(ErrorCode::invalid_argument, "no program to run");
  if (!command.sandbox) co_return co_await run_in(std::move(command), std::move(sink), nullptr);
  CO_TRY_STATUS(sandbox_available());
  co_return co_await run_sandboxed(std::move(command), std::move(sink));
}

Task<Result<Exit>> LocalRunner::run_sandboxed(Command command, OutputSink sink) {
  CO_TRY(const std::uint32_t number, take_slot());
  Slot slot{*this, number};
  co_return co_await run_in(std::move(command), std::move(sink), &slot);
}

Task<Result<Exit>> LocalRunner::run_in(Command command, OutputSink sink, Slot* slot) {
  const std::string name = command.argv[0];
  if (command.files.size() > kFilesMax || (!slot && !command.files.empty()))
    co_return fail(ErrorCode::invalid_argument, "files are for sandboxed programs, and few");
  const Duration limit = command.limits.wall_time_max;
  CO_TRY_SYNC(const auto running, start(command, std::move(sink), slot));
  const Status ended = co_await runtime::with_deadline(limit, name, running->wait());
  if (!ended) running->kill();
  co_await running->bury();
  if (!ended) co_return fail(ended.error());
  co_return std::move(running->exit());
}

Result<std::shared_ptr<LocalRunner::Running>> LocalRunner::start(Command& command, OutputSink sink,
                                                                 Slot* slot) {
  auto running = std::make_shared<Running>(loop_, std::move(sink), command.limits);
  Spawn what;
  TRY(auto input, file_of(command.input.data(), command.input.size()));
  TRY(auto out, make_pipe());
  TRY(auto err, make_pipe());
  std::pair<Descriptor, Descriptor> results;
  if (command.limits.results_bytes_max > 0) {
    TRY(results, make_pipe());
  } else {
    results.second = Descriptor(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  }
  what.descriptors.push_back(std::move(input));
  what.descriptors.push_back(std::move(out.second));
  what.descriptors.push_back(std::move(err.second));
  what.descriptors.push_back(std::move(results.second));
  static_assert(kResultsDescriptor == 3);
  what.limits = {{RLIMIT_CORE, 0}};

  if (slot) {
    const auto& limits = command.limits;
    const auto seconds = limits.wall_time_max / std::chrono::seconds(1) + 1;
    what.limits.insert(what.limits.end(), {{RLIMIT_CPU, static_cast<rlim_t>(seconds)},
                                           {RLIMIT_FSIZE, kFileBytesMax},
                                           {RLIMIT_NOFILE, kOpenFilesMax}});
    what.expendable = true;
    std::vector<std::string> program = command.argv;
    Status grouped = fail(ErrorCode::failed_precondition, "turned off");
    if (options_.control_groups) {
      auto group =
          ControlGroup::make(fmt::format("tau-{}-{}-{}", ::getpid(), slot->number, ++started_),
                             {limits.memory_bytes_max, limits.processes_max});
      grouped = group ? Status{} : fail(group.error());
      if (group) running->group = std::move(*group);
    }
    if (grouped) {
      what.join = running->group->join();
    } else {
      if (!std::exchange(said_no_groups_, true))
        log_.warning("builds are limited one process at a time, not together: " +
                     grouped.error().message());
      what.limits.emplace_back(RLIMIT_AS, limits.memory_bytes_max);
      // Set inside, it counts the processes of this sandbox alone (Linux 5.14 and later).
      program.insert(program.begin(),
                     {"/usr/bin/prlimit", fmt::format("--nproc={}", limits.processes_max), "--"});
    }
    TRY(const auto options,
        bubblewrap_options(*command.sandbox, command.environment, command.directory));
    std::string joined;  // by descriptor, because other users can read a program's arguments
    for (const auto& option : options) joined.append(option).push_back('\0');
    TRY(auto arguments, file_of(joined.data(), joined.size()));
    static_assert(kArgumentsDescriptor == 4);
    what.descriptors.push_back(std::move(arguments));
    for (const auto& path : command.files) {
      Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
      if (!file)
        return fail(ErrorCode::not_found,
                    fmt::format("open {}: {}", path.string(), std::strerror(errno)));
      what.descriptors.push_back(std::move(file));
    }
    TRY(what.program, find_program(options_.bubblewrap, "/usr/local/bin:/usr/bin:/bin"));
    what.argv = {what.program, "--args", std::to_string(kArgumentsDescriptor), "--"};
    what.argv.insert(what.argv.end(), program.begin(), program.end());
    what.directory = "/";
    if (drops_) what.become = options_.first_uid + slot->number;
  } else {
    TRY(what.program, find_program(command.argv[0], path_of(command)));
    what.argv = command.argv;
    for (const auto& [name, value] : command.environment)
      what.environment.push_back(name + "=" + value);
    what.directory = command.directory.string();
  }
  TRY(auto spawned, spawn(std::move(what)));
  running->begin(std::move(spawned),
                 {std::move(out.first), std::move(err.first), std::move(results.first)});
  return running;
}

Task<Status> LocalRunner::sandbox_available() {
  if (available_) co_return Status{};
  Command trial;
  trial.argv = {"/usr/bin/true"};
  trial.sandbox.emplace().read_only = system_binds();
  trial.limits.wall_time_max = kTrialTimeMax;
  trial.limits.output_bytes_max = 4096;
  std::string said;
  auto exit = co_await run_sandboxed(
      std::move(trial), [&said](Output, BytesView bytes) { said.append(as_text(bytes)); });
  if (!exit && exit.error().code() == ErrorCode::cancelled) co_return fail(exit.error());
  if (!exit && exit.error().code() == ErrorCode::not_found)
    co_return fail(ErrorCode::failed_precondition,
                   exit.error().message() + "; install bubblewrap (apt-get install bubblewrap)");
  if (!exit) said = exit.error().message();
  if (!exit || exit->code != 0)
    co_return fail(ErrorCode::failed_precondition,
                   sandbox_advice(said.empty() ? exit->why() : said));
  available_ = true;
  co_return Status{};
}

}  // namespace tau::process
