#include "child.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <iterator>
#include <thread>
#include <utility>

#include "base/check.h"

namespace tau::test {
namespace {

namespace fs = std::filesystem;
using Time = std::chrono::steady_clock;
constexpr auto kLookAgain = std::chrono::milliseconds(5);

int open_new(const fs::path& file) {
  return ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

}  // namespace

Folder::Folder() {
  std::string name = (fs::temp_directory_path() / "tau-test-XXXXXX").string();
  CHECK(::mkdtemp(name.data()));
  path_ = name;
}
Folder::~Folder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

Child::Child(const Place& place, std::vector<std::string> argv, fs::path output)
    : out_(output.string() + ".out"), err_(output.string() + ".err") {
  std::vector<std::string> environment;
  for (const auto& [name, value] : place.environment) environment.push_back(name + "=" + value);
  std::vector<char*> arguments, variables;
  for (auto& item : argv) arguments.push_back(item.data());
  for (auto& item : environment) variables.push_back(item.data());
  arguments.push_back(nullptr);
  variables.push_back(nullptr);
  const int out = open_new(out_), err = open_new(err_), in = ::open("/dev/null", O_RDONLY);
  CHECK(out >= 0 && err >= 0 && in >= 0);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  CHECK(pid_ >= 0);
  if (pid_ == 0) {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that is killed leaves nothing behind
    if (::getppid() != parent) ::_exit(127);
    ::dup2(in, STDIN_FILENO);
    ::dup2(out, STDOUT_FILENO);
    ::dup2(err, STDERR_FILENO);
    if (::chdir(place.directory.c_str()) != 0) ::_exit(127);
    ::execvpe(arguments[0], arguments.data(), variables.data());
    ::_exit(127);
  }
  ::setpgid(pid_, pid_);
  ::close(out);
  ::close(err);
  ::close(in);
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      out_(std::move(other.out_)),
      err_(std::move(other.err_)),
      ended_(other.ended_) {}

Child::~Child() {
  if (pid_ < 0) return;
  ::kill(-pid_, SIGKILL);
  if (!ended_) ::waitpid(pid_, nullptr, 0);
}

std::optional<std::string> Child::first_line(std::chrono::seconds limit) {
  const auto until = Time::now() + limit;
  while (true) {
    const bool over = wait(std::chrono::seconds(0)).has_value() || Time::now() >= until;
    const std::string text = read_text(out_);
    if (const auto end = text.find('\n'); end != std::string::npos) return text.substr(0, end);
    if (over) return std::nullopt;
    std::this_thread::sleep_for(kLookAgain);
  }
}

void Child::signal(int number) const { ::kill(pid_, number); }

std::optional<int> Child::wait(std::chrono::seconds limit) {
  const auto until = Time::now() + limit;
  while (!ended_) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      ended_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
      break;
    }
    if (Time::now() >= until) return std::nullopt;
    std::this_thread::sleep_for(kLookAgain);
  }
  return ended_;
}

std::string Child::output() const { return read_text(out_) + read_text(err_); }

Said run(const Place& place, std::vector<std::string> argv, std::chrono::seconds limit) {
  static std::atomic<int> number{0};
  const Folder scratch;
  Child child(place, std::move(argv), scratch / std::to_string(++number));
  const auto code = child.wait(limit);
  return {code.value_or(-1), read_text(scratch / (std::to_string(number) + ".out")),
          read_text(scratch / (std::to_string(number) + ".err"))};
}

std::string read_text(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_text(const fs::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}

}  // namespace tau::test
