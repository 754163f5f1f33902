// `tau push`: commits what changed in both repositories, pushes them, and follows the build.
#pragma once

#include <string>

#include "bin/tau/cloud.h"
#include "bin/tau/project_folder.h"
#include "bin/tau/terminal.h"

namespace tau::cli {

struct PushOptions {
  std::string message;  // empty: "Change by tau push"
  bool follow = true;
};

// Gives the exit code: kExitFailed when the build failed.
Result<int> push_project(Machine& machine, Cloud& cloud, const Terminal& terminal,
                         const ProjectFolder& project, const PushOptions& options);

}  // namespace tau::cli
