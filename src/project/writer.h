// The texts of new config files: what `tau new` writes and a person then edits.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"

namespace tau::project {

// An id for a new resource: a CID over its project, its name and chance.
std::string new_resource_id(std::string_view project, std::string_view name, Random& random);

struct NewProject {
  std::string id, name, description;
};
std::string project_yaml(const NewProject& project);  // config.yaml

struct NewApplication {
  std::string id, description;
};
std::string application_yaml(const NewApplication& application);  // applications/<app>/config.yaml

struct NewDomain {
  std::string id, description;
  std::string fqdn;  // "hello": a label of whichever network it is deployed to
};
std::string domain_yaml(const NewDomain& domain);  // domains/<name>.yaml

struct NewFunction {
  std::string id, description;
  std::string method = "GET";
  std::vector<std::string> paths;
  std::vector<std::string> domains;  // names of domains
  std::string timeout = "10s";
  std::string memory = "32MB";
  std::string call;
};
std::string function_yaml(const NewFunction& function);  // functions/<name>.yaml

std::string workflow_yaml(std::string_view image,
                          const std::vector<std::string>& steps);  // .taubyte/config.yaml

// A YAML scalar that means exactly `text`; quoted only when it must be.
std::string yaml_scalar(std::string_view text);

}  // namespace tau::project
