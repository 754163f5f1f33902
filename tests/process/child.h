// Programs that a test runs, as a person would: real processes, in folders that go with the test.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tau::test {

// A folder of its own, removed at the end of the test.
class Folder {
 public:
  Folder();
  ~Folder();
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

struct Place {
  std::filesystem::path directory;
  std::map<std::string, std::string> environment;  // all of it
};

// One program in the background, with what it printed. Killed, with all it started, in the
// destructor.
class Child {
 public:
  Child(const Place& place, std::vector<std::string> argv, std::filesystem::path output);
  ~Child();
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;

  // The first whole line of its standard output; nothing when it ended, or the time was up, before.
  std::optional<std::string> first_line(std::chrono::seconds limit);
  void signal(int number) const;
  // Its exit code (128 + n for a signal); nothing when the time was up.
  std::optional<int> wait(std::chrono::seconds limit);
  std::string output() const;  // standard error, and what followed the first line
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  std::filesystem::path out_, err_;
  std::optional<int> ended_;
};

struct Said {
  int code = -1;
  std::string out, err;
};
// Runs it to its end; code -1 when it took longer than `limit`.
Said run(const Place& place, std::vector<std::string> argv,
         std::chrono::seconds limit = std::chrono::seconds(60));

std::string read_text(const std::filesystem::path& file);
void write_text(const std::filesystem::path& file, const std::string& text);

}  // namespace tau::test
