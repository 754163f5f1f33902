// A node's data folder: whose it is now, and which format it has.
//
//   lock     held (flock) by the process that uses the folder; its text is that process's id
//   format   "tau data 1\nwritten by tau 0.1.0\n"
//
// Everything else in the folder belongs to those who keep it there (db/, git/). A folder that a
// later program has written is refused; an older one is brought up to date by the steps, one after
// the other, before anybody opens what is in it. docs/formats.md says what is promised.
//
// Blocking: for a thread that may wait for the disk. The lock ends with the object, and with the
// process, however that ends.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace tau::store {

class DataFolder {
 public:
  // From `from` to `from` + 1. May be cut short anywhere and is then run again from its beginning,
  // so doing it twice must come to the same. `from` 0 is a folder without a format record.
  struct Step {
    std::uint32_t from;
    std::string_view what;
    Status (*run)(const std::filesystem::path& folder);
  };

  static constexpr std::uint32_t kFormat = 1;
  static std::span<const Step> steps();

  // Makes the folder if need be. `program`: "tau 0.1.0". Errors: failed_precondition (another
  // process uses it, a later program wrote it), data_loss (the record does not read), unavailable
  // (no such place, no permission, no room).
  static Result<std::unique_ptr<DataFolder>> open(const std::filesystem::path& folder,
                                                  std::string_view program);
  // The same with other steps, which end at `format`.
  static Result<std::unique_ptr<DataFolder>> open(const std::filesystem::path& folder,
                                                  std::string_view program, std::uint32_t format,
                                                  std::span<const Step> steps);
  ~DataFolder();
  DataFolder(const DataFolder&) = delete;
  DataFolder& operator=(const DataFolder&) = delete;

 private:
  explicit DataFolder(int lock) : lock_(lock) {}
  int lock_;
};

// Writes a file whole or not at all: after a power cut it has the old text or the new one, and the
// new one once this has returned. Errors: unavailable.
Status replace_file(const std::filesystem::path& file, std::string_view text);

// Makes the names in `folder` last. Errors: unavailable.
Status sync_folder(const std::filesystem::path& folder);

}  // namespace tau::store
