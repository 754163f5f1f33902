// Where the universes of one dream keep what they have: a folder that outlives it, and a temporary
// one that does not. Each is locked while dream lives (flock on FOLDER/dream.lock, which ends with
// the process, however it ends), so that two dreams never write the same databases, and so that
// what a killed one left in the temporary place is known to be left over.
//
// Owned by main(); the temporary folder is removed in the destructor. Loop thread only.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"

namespace tau::testnet {

enum class Keep : std::uint8_t { no, yes };

class LockedFolder {
 public:
  // Makes the folder if it is missing. `who`: what a second dream is told of this one, one line.
  // Errors: failed_precondition (another dream has it: says which), unavailable (the disk).
  static Result<LockedFolder> lock(std::filesystem::path folder, const std::string& who);
  // A fresh one: PARENT/dream-XXXXXX.
  static Result<LockedFolder> temporary(const std::filesystem::path& parent,
                                        const std::string& who);
  LockedFolder(LockedFolder&& other) noexcept;
  LockedFolder& operator=(LockedFolder&&) = delete;
  ~LockedFolder();
  const std::filesystem::path& path() const { return path_; }

 private:
  LockedFolder(std::filesystem::path path, int fd) : path_(std::move(path)), fd_(fd) {}
  std::filesystem::path path_;
  int fd_;
};

// Removes what killed dreams of this user left in PARENT. Gives what it removed.
std::vector<std::filesystem::path> remove_left_over(const std::filesystem::path& parent);

class DataFolders {
 public:
  struct Options {
    std::filesystem::path kept;       // of universes that are kept
    std::filesystem::path temporary;  // where the temporary folder is made
    std::string who;                  // as for LockedFolder::lock
  };
  explicit DataFolders(Options options) : options_(std::move(options)) {}
  ~DataFolders();
  DataFolders(const DataFolders&) = delete;
  DataFolders& operator=(const DataFolders&) = delete;

  // The folder of a universe; locked from now on. Errors: as LockedFolder::lock.
  Result<std::filesystem::path> folder_of(std::string_view universe, Keep keep);
  // The universes that the kept folder has, sorted; locks it if there are any. Errors: as above.
  Result<std::vector<std::string>> kept_universes();
  const std::filesystem::path& kept() const { return options_.kept; }

 private:
  Result<std::filesystem::path> root(Keep keep);

  const Options options_;
  std::optional<LockedFolder> kept_, temporary_;
};

// $XDG_DATA_HOME/tau/dream, else ~/.local/share/tau/dream. Errors: failed_precondition (neither is
// set).
Result<std::filesystem::path> default_kept_folder();

// Replaces a file as a whole: after a crash it has the old text or the new one. Errors:
// unavailable.
Status replace_file(const std::filesystem::path& file, std::string_view text);

}  // namespace tau::testnet
