// `tau new project`: registers a project with the cloud and lays out its two repositories.
#pragma once

#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/random.h"
#include "bin/tau/cloud.h"
#include "bin/tau/credentials.h"
#include "bin/tau/project_folder.h"
#include "services/auth/api.h"

namespace tau::cli {

struct NewProject {
  std::string name, label, description;
  std::filesystem::path location;  // the folder that will hold NAME/
};

// Errors: invalid_argument, with advice.
Status check_project_name(const std::string& name);
// The label that a project gets unless it asks for another: lower case, '-' for '_'.
std::string label_for(const std::string& name);

auth::Registration new_registration(const NewProject& what, const crypto::PublicKey& owner,
                                    Random& random, std::int64_t now_unix_ms);

// The two repositories with their first commits; `git_base` as the cloud says it. Errors:
// already_exists (the folder is not empty).
Result<ProjectFolder> scaffold_project(Machine& machine, const NewProject& what,
                                       const std::string& id, const std::string& git_base,
                                       Random& random);

// All of it. Gives what the cloud says of the project. Errors: also those of the cloud.
struct Created {
  ProjectFolder folder;
  http::Json project;
};
Result<Created> create_project(Machine& machine, Cloud& cloud, const NewProject& what,
                               const OwnerKey& owner, Random& random);

}  // namespace tau::cli
