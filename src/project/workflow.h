// How a function is built: `.taubyte/config.yaml` in its folder (`taubyte/` in older ones).
//
//   version: 1.00
//   environment:
//     image: taubyte/cpp-wasi
//     variables: {KEY: value}
//   workflow: [build]            # runs .taubyte/build.sh
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "project/problems.h"

namespace tau::project {

struct Workflow {
  std::string folder;  // ".taubyte"
  std::string image;
  std::map<std::string, std::string> variables;
  std::vector<std::string> steps;  // "build" for <folder>/build.sh, which is there
};

inline constexpr std::size_t kWorkflowStepsMax = 16;
inline constexpr std::size_t kVariablesMax = 64;
inline constexpr std::size_t kVariableBytesMax = 4096;

// `files`: the function's folder, by path in it. `prefix`: how messages name that folder,
// "functions/ping/". Nothing when it is broken: then `problems` says where.
std::optional<Workflow> read_workflow(const std::map<std::string, Bytes>& files,
                                      const std::string& prefix, Problems& problems);

}  // namespace tau::project
