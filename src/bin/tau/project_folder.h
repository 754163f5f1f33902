// A project on the user's disk: a folder with two git repositories, as Taubyte lays them out.
//
//   hello/config/   config.yaml, domains/, functions/ …
//   hello/code/     functions/<name>/ with sources and .taubyte/
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "bin/tau/work_tree.h"

namespace tau::cli {

struct ProjectFolder {
  std::filesystem::path root;
  std::string id, name;  // as config/config.yaml says
  std::filesystem::path config() const { return root / "config"; }
  std::filesystem::path code() const { return root / "code"; }
  std::vector<std::string> domains() const;  // names of config/domains/*.yaml, sorted
};

// Looks in `from` and the folders above it. Errors: not_found with advice, invalid_argument (a
// config.yaml that can't be read, with its place).
Result<ProjectFolder> find_project(std::filesystem::path from);

// Writes a new file and the folders above it. Errors: already_exists, unavailable.
Status write_new(const std::filesystem::path& file, std::string_view text);

}  // namespace tau::cli
