#include "daemon.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace tau::dream {
namespace {

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;  // the starter went away: nobody is left to tell
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

std::string read_all(int fd) {
  std::string text;
  char buffer[4096];
  while (true) {
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return text;
    text.append(buffer, static_cast<std::size_t>(n));
  }
}

std::string encode(const Result<http::Json>& report) {
  if (report) return http::Json{{"ready", *report}}.dump();
  return http::Json{{"code", static_cast<int>(report.error().code())},
                    {"message", report.error().message()}}
      .dump();
}

}  // namespace

Result<http::Json> run_as_daemon(const std::filesystem::path& log_file,
                                 const std::function<int(const Report&)>& body) {
  int ends[2];
  const int log = ::open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log < 0 || ::pipe2(ends, O_CLOEXEC) != 0)
    return fail(ErrorCode::unavailable,
                "cannot write " + log_file.string() + ": " + std::strerror(errno));
  const pid_t child = ::fork();
  if (child < 0)
    return fail(ErrorCode::unavailable, std::string("cannot fork: ") + std::strerror(errno));
  if (child == 0) {
    ::close(ends[0]);
    ::setsid();
    const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::dup2(nothing, STDIN_FILENO);
    ::dup2(log, STDOUT_FILENO);
    ::dup2(log, STDERR_FILENO);
    ::close(nothing);
    ::close(log);
    int to_starter = ends[1];
    const int code = body([&to_starter](const Result<http::Json>& report) {
      if (to_starter < 0) return;
      write_all(to_starter, encode(report));
      ::close(std::exchange(to_starter, -1));
    });
    ::_exit(code);
  }
  ::close(ends[1]);
  ::close(log);
  const std::string said = read_all(ends[0]);
  ::close(ends[0]);
  const auto report = http::parse_json(said);
  if (!report)
    return fail(ErrorCode::internal, "dream ended before it was ready; see " + log_file.string());
  if (report->contains("ready")) return (*report)["ready"];
  ::waitpid(child, nullptr, 0);
  const auto code = error_code_from(report->value("code", 0u));
  return fail(code.value_or(ErrorCode::unknown), report->value("message", ""));
}

}  // namespace tau::dream
