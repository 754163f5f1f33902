#include "testnet/log_book.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <fstream>
#include <map>
#include <mutex>

namespace tau::testnet {
namespace {

namespace fs = std::filesystem;

std::string line_of(const LogLine& line) {
  const std::time_t seconds = line.at_unix_ms / 1000;
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z {:<7} {}{}\n", fmt::gmtime(seconds),
                     line.at_unix_ms % 1000, name_of(line.level),
                     line.part.empty() ? "" : line.part + ": ", line.text);
}

// A file that begins anew when it is full. A disk that is full loses lines, nothing else.
class LogFile {
 public:
  LogFile(fs::path file, std::uint64_t bytes_max) : file_(std::move(file)), bytes_max_(bytes_max) {
    std::error_code ec;
    fs::create_directories(file_.parent_path(), ec);
    const auto size = fs::file_size(file_, ec);
    bytes_ = ec ? 0 : size;
    out_.open(file_, std::ios::app | std::ios::binary);
  }
  void write(std::string_view text) {
    if (bytes_ + text.size() > bytes_max_) {
      out_.close();
      std::error_code ec;
      fs::rename(file_, file_.string() + ".1", ec);
      out_.open(file_, std::ios::trunc | std::ios::binary);
      bytes_ = 0;
    }
    out_ << text;
    out_.flush();  // a kill of the process loses no line
    bytes_ += text.size();
  }

 private:
  fs::path file_;
  std::uint64_t bytes_max_;
  std::uint64_t bytes_ = 0;
  std::ofstream out_;
};

}  // namespace

struct LogBook::State {
  State(runtime::Loop& on, Options with) : loop(on), options(std::move(with)), more(on) {}

  struct Speaker {
    std::deque<LogLine> lines;
    std::unique_ptr<LogFile> file;
  };
  // Of any thread, under `mutex`.
  std::mutex mutex;
  std::map<std::string, Speaker, std::less<>> speakers;
  std::uint64_t newest = 0;
  bool told = false;  // a wake-up is on its way to the loop

  runtime::Loop& loop;
  const Options options;
  // Of the loop's thread.
  runtime::Signal more;
  bool closed = false;

  void add(const std::shared_ptr<State>& self, LogLevel level, std::string_view who,
           std::string_view text) {
    const auto slash = who.find('/');
    LogLine line{0,
                 loop.wall_unix_ms(),
                 level,
                 std::string(who.substr(0, slash)),
                 slash == who.npos ? "" : std::string(who.substr(slash + 1)),
                 std::string(text.substr(0, options.text_bytes_max))};
    const std::lock_guard lock(mutex);
    line.number = ++newest;
    auto speaker = speakers.find(line.node);
    if (speaker == speakers.end() && speakers.size() >= options.nodes_max)
      speaker = std::prev(speakers.end());
    if (speaker == speakers.end()) speaker = speakers.try_emplace(line.node).first;
    Speaker& its = speaker->second;
    if (!options.folder.empty()) {
      if (!its.file)
        its.file = std::make_unique<LogFile>(options.folder / speaker->first / "node.log",
                                             options.file_bytes_max);
      its.file->write(line_of(line));
    }
    its.lines.push_back(std::move(line));
    if (its.lines.size() > options.lines_max) its.lines.pop_front();
    if (std::exchange(told, true)) return;
    loop.post([weak = std::weak_ptr(self)] {
      const auto state = weak.lock();
      if (!state) return;
      {
        const std::lock_guard again(state->mutex);
        state->told = false;
      }
      state->more.notify_all();
    });
  }
};

LogBook::LogBook(runtime::Loop& loop, Options options)
    : state_(std::make_shared<State>(loop, std::move(options))) {}

LogBook::~LogBook() { close(); }

Logger LogBook::logger(LogLevel least, const Logger& also, const std::string& prefix) const {
  return Logger(
      "universe", least,
      [state = state_, also, prefix](LogLevel level, std::string_view who, std::string_view text) {
        state->add(state, level, who, text);
        if (also.enabled(level)) also.named(fmt::format("{}/{}", prefix, who)).log(level, text);
      });
}

void LogBook::add(LogLevel level, std::string_view who, std::string_view text) {
  state_->add(state_, level, who, text);
}

std::vector<LogLine> LogBook::read(const Query& query) const {
  std::vector<LogLine> out;
  const std::lock_guard lock(state_->mutex);
  for (const auto& [name, speaker] : state_->speakers) {
    if (!query.node.empty() && name != query.node) continue;
    for (const LogLine& line : speaker.lines)
      if (line.number > query.after && line.level >= query.least) out.push_back(line);
  }
  std::ranges::sort(out, {}, &LogLine::number);
  if (out.size() > query.limit) {
    if (query.after == 0)
      out.erase(out.begin(), out.end() - static_cast<std::ptrdiff_t>(query.limit));
    else
      out.resize(query.limit);
  }
  return out;
}

std::uint64_t LogBook::newest() const {
  const std::lock_guard lock(state_->mutex);
  return state_->newest;
}

Task<Status> LogBook::wait_for_more(std::uint64_t number) {
  const auto state = state_;  // outlives the book for as long as somebody waits
  while (!state->closed) {
    {
      const std::lock_guard lock(state->mutex);
      if (state->newest > number) break;
    }
    CO_TRY_STATUS(state->more.wait());
  }
  co_return Status{};
}

void LogBook::close() {
  state_->closed = true;
  state_->more.notify_all();
}

bool LogBook::closed() const { return state_->closed; }

Result<LogLevel> log_level_named(std::string_view name) {
  for (const LogLevel level :
       {LogLevel::debug, LogLevel::info, LogLevel::warning, LogLevel::error}) {
    if (name_of(level) == name) return level;
  }
  return fail(
      ErrorCode::invalid_argument,
      fmt::format("\"{}\" is no log level: debug, info, warning or error", name.substr(0, 40)));
}

}  // namespace tau::testnet
