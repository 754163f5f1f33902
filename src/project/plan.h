// From the files of a config repository, in Taubyte's layout, to what is to be built and served:
//
//   config.yaml                                the project
//   functions/<name>.yaml, domains/<name>.yaml, …   its resources; the file's name is the name
//   applications/<app>/config.yaml, applications/<app>/functions/<name>.yaml, …
//
// Everything is checked before anything is built; every mistake is reported with its place.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "project/deployment.h"
#include "project/problems.h"

namespace tau::project {

using ConfigFiles = std::map<std::string, Bytes>;  // by path relative to the repository
inline constexpr std::size_t kConfigFilesMax = 1000;

// Where the deployment is going.
struct Target {
  ProjectId project;  // empty: whatever the files say
  std::string branch;
  std::string suffix;  // of the network, "blackhole.localhost": a bare label is put before it
};

struct PlannedFunction {
  DeployedFunction function;  // without its module
  std::string key;            // "ping", "app/ping"
  Place place;                // of its file
};

struct Plan {
  Deployment deployment;  // without functions
  std::vector<PlannedFunction> functions;
  Problems problems;

  bool ok() const { return problems.ok(); }
};

Plan read_project(const ConfigFiles& files, const Target& target);

// The deployment, once each function has its module (by key). Errors: internal (one is missing),
// and those of validate().
Result<Deployment> with_modules(const Plan& plan, const std::map<std::string, codec::Cid>& modules);

}  // namespace tau::project
