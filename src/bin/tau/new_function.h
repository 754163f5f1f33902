// `tau new function`: a function's config and its code, from a template.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "bin/tau/project_folder.h"

namespace tau::cli {

struct NewFunction {
  std::string name;
  std::string language = "cpp";
  std::string templ = "ping";  // the template's folder
  std::string path;            // "/ping"
  std::string method = "GET";
  std::vector<std::string> domains;  // empty: every domain of the project
  std::string timeout = "10s";
  std::string memory = "32MB";
  std::string call;            // the export that is called; empty: the function's name
  std::filesystem::path file;  // a compiled module, for language "wasm" alone
};

// The folder with LANGUAGE/TEMPLATE/ below: `given`, else share/tau/templates or sdk/templates
// beside the program or above it (installed; in a build tree). Errors: not_found.
Result<std::filesystem::path> find_templates(const std::filesystem::path& given);

// The template's name, wherever it stands as a word in the template's files, becomes the
// function's. Gives the files that were made. Errors: invalid_argument, not_found (language or
// template: says which there are), already_exists. Nothing is left of a function that failed.
Result<std::vector<std::filesystem::path>> create_function(const ProjectFolder& project,
                                                           const NewFunction& what,
                                                           const std::filesystem::path& templates,
                                                           Random& random);

}  // namespace tau::cli
