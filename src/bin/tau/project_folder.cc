#include "bin/tau/project_folder.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include "project/yaml.h"

namespace tau::cli {
namespace fs = std::filesystem;

std::vector<std::string> ProjectFolder::domains() const {
  std::vector<std::string> names;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(config() / "domains", ec))
    if (entry.path().extension() == ".yaml") names.push_back(entry.path().stem().string());
  std::ranges::sort(names);
  return names;
}

Result<ProjectFolder> find_project(fs::path from) {
  std::error_code ec;
  const fs::path start = fs::absolute(from, ec).lexically_normal();
  for (fs::path at = start;; at = at.parent_path()) {
    const fs::path file = at / "config" / "config.yaml";
    if (fs::exists(file, ec)) {
      std::ifstream in(file, std::ios::binary);
      const std::string text{std::istreambuf_iterator<char>(in), {}};
      project::Problems problems;
      const auto tree = project::parse_yaml(file.string(), as_bytes(text), problems);
      if (!tree) return fail(ErrorCode::failed_precondition, problems.to_string());
      const auto* id = tree->find("id");
      const auto* name = tree->find("name");
      if (!id || id->value.text.empty())
        return fail(ErrorCode::failed_precondition,
                    file.string() +
                        ": no id. It is the project's name for the cloud; get the file "
                        "back with: git -C " +
                        (at / "config").string() + " checkout config.yaml");
      return ProjectFolder{at, id->value.text, name ? name->value.text : ""};
    }
    if (at == at.parent_path()) break;
  }
  return fail(ErrorCode::not_found,
              "no project in " + start.string() +
                  " or above it (a project is a folder with "
                  "config/config.yaml). Go into one with cd, or make one: tau new project hello");
}

Status write_new(const fs::path& file, std::string_view text) {
  std::error_code ec;
  if (fs::exists(file, ec))
    return fail(ErrorCode::already_exists,
                file.string() + " is already there; nothing was changed");
  fs::create_directories(file.parent_path(), ec);
  std::ofstream out(file, std::ios::binary);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
  out.close();
  if (!out) return fail(ErrorCode::unavailable, "writing " + file.string());
  return {};
}

}  // namespace tau::cli
