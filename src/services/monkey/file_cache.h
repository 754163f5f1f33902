// Files that can be made again, in one folder, by name: bounded in bytes, the one that was not used
// for the longest goes first. Several processes may share a folder: a file appears whole or not at
// all, and may go at any time.
//
// Blocking; any thread, and calls may overlap.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/error.h"

namespace tau::monkey {

class FileCache {
 public:
  // An empty folder: nothing is kept. The folder is made with the first file.
  FileCache(std::filesystem::path folder, std::uint64_t bytes_max)
      : folder_(std::move(folder)), bytes_max_(bytes_max) {}

  // `name`: letters, digits, '.' and '-'. Finding is using.
  std::optional<std::filesystem::path> find(const std::string& name) const;
  std::optional<Bytes> read(const std::string& name, std::uint64_t bytes_max) const;
  // Errors: unavailable (the disk says why), resource_exhausted (larger than the whole bound).
  Result<std::filesystem::path> put(const std::string& name, BytesView data);
  void remove(const std::string& name);
  std::uint64_t bytes() const;  // of all files now

 private:
  void make_room() const;

  std::filesystem::path folder_;
  std::uint64_t bytes_max_;
};

}  // namespace tau::monkey
