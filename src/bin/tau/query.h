// The commands that only look: projects, builds, logs, status.
#pragma once

#include <string>

#include "bin/tau/cloud.h"
#include "bin/tau/project_folder.h"
#include "bin/tau/terminal.h"

namespace tau::cli {

Status query_projects(Cloud& cloud, const Terminal& terminal);
// By id, or by the name or label of one project. Errors: not_found.
Status query_project(Cloud& cloud, const Terminal& terminal, const std::string& which);
Status query_builds(Cloud& cloud, const Terminal& terminal, const std::string& project, int limit);
Status query_build(Cloud& cloud, const Terminal& terminal, const std::string& build);

// What functions said; with `follow` until the program is stopped.
Status show_logs(Cloud& cloud, const Terminal& terminal, const std::string& project, bool follow);
// `build` empty: the newest.
Status show_log_of_build(Cloud& cloud, const Terminal& terminal, const std::string& project,
                         std::string build, bool follow);

// The cloud, and the project of this folder if there is one.
Status show_status(Cloud& cloud, const Terminal& terminal, const Result<ProjectFolder>& project);

}  // namespace tau::cli
