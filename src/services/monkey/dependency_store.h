// Other people's modules that builds here have used, by what they are: bytes by their digest, names
// ("go", "golang.org/x/text/@v/v0.3.0.zip") that lead to them, and sets, which are what the sources
// of one function need. A name's bytes come from a registry or a proxy, checked by the ecosystem's
// own tool, never from a project; so one store serves all projects. What is in it needs no network.
//
// Blocking; any thread, and calls may overlap. Several processes may share its folder.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "process/archive.h"
#include "services/monkey/file_cache.h"

namespace tau::monkey {

class DependencyStore {
 public:
  // Modules are larger than what is made of them: this is some hundred projects.
  static constexpr std::uint64_t kBytesMax = 2ull << 30;
  // Of one function: what a build's memory has room for.
  static constexpr std::uint64_t kSetBytesMax = 256u << 20;
  static constexpr std::size_t kSetFilesMax = 6000;

  explicit DependencyStore(const std::filesystem::path& folder,
                           std::uint64_t bytes_max = kBytesMax);

  // The files of a set, "store/<name>" and "project/<path>", when all are there.
  std::optional<process::ArchivedFiles> find_set(const std::string& ecosystem,
                                                 const std::string& key);
  // Those of these names that are there, by name.
  process::ArchivedFiles find_names(const std::string& ecosystem,
                                    const std::vector<std::string>& names);
  // Errors: as FileCache::put, invalid_argument (a path that is neither store/ nor project/).
  Status put_set(const std::string& ecosystem, const std::string& key,
                 const process::ArchivedFiles& files);

 private:
  std::optional<Bytes> blob(const std::string& digest);

  FileCache blobs_, names_, sets_;
};

}  // namespace tau::monkey
