#include "project/workflow.h"

#include <fmt/format.h>

#include <algorithm>

#include "project/deployment.h"
#include "project/yaml.h"

namespace tau::project {
namespace {

// A step is a file name: nothing that leads elsewhere, hides or needs quoting.
bool is_step_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && name[0] != '.' && name[0] != '-' &&
         std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '-' || c == '.';
         });
}

void read_variables(const YamlNode& node, Workflow& workflow, Problems& problems) {
  // A map; Taubyte's documentation shows a list of maps, which means the same.
  if (node.kind == YamlNode::Kind::list) {
    for (const auto& item : node.items) read_variables(item, workflow, problems);
    return;
  }
  if (node.kind != YamlNode::Kind::map) {
    problems.error(node.place, fmt::format("variables must be a map (NAME: value), this is {}",
                                           node.kind_name()));
    return;
  }
  for (const auto& entry : node.entries) {
    const bool plain =
        entry.value.kind == YamlNode::Kind::scalar || entry.value.kind == YamlNode::Kind::null;
    if (!is_variable_name(entry.key)) {
      problems.error(entry.place, fmt::format("\"{}\" can't be the name of a variable",
                                              entry.key.substr(0, 64)));
    } else if (!plain) {
      problems.error(entry.value.place,
                     fmt::format("the variable {} must be a single value, this is {}", entry.key,
                                 entry.value.kind_name()));
    } else if (entry.value.text.size() > kVariableBytesMax ||
               entry.value.text.find('\0') != std::string::npos) {
      problems.error(entry.value.place, fmt::format("the variable {} is longer than {} bytes or "
                                                    "holds a zero byte",
                                                    entry.key, kVariableBytesMax));
    } else if (entry.key == "SRC" || entry.key == "OUT") {
      problems.warning(entry.place,
                       fmt::format("{} is set by the build: this value is ignored", entry.key));
    } else {
      workflow.variables[entry.key] = entry.value.text;
    }
  }
  if (workflow.variables.size() > kVariablesMax)
    problems.error(node.place, fmt::format("more than {} variables", kVariablesMax));
}

}  // namespace

std::optional<Workflow> read_workflow(const std::map<std::string, Bytes>& files,
                                      const std::string& prefix, Problems& problems) {
  const std::size_t before = problems.errors();
  Workflow workflow;
  workflow.folder = files.contains(".taubyte/config.yaml") ? ".taubyte" : "taubyte";
  const auto config = files.find(workflow.folder + "/config.yaml");
  if (config == files.end()) {
    problems.error({prefix + ".taubyte/config.yaml", 0, 0},
                   "is missing: it names the image and the steps that build the function");
    return std::nullopt;
  }
  const std::string file = prefix + config->first;
  const auto document = parse_yaml(file, config->second, problems);
  if (!document) return std::nullopt;
  YamlReader reader(*document, "workflow", problems);
  reader.ignore("version");
  // An old misspelling that many repositories have.
  YamlReader environment = reader.section(reader.has("environment") ? "environment" : "enviroment");
  reader.ignore("environment");
  reader.ignore("enviroment");
  const Place image_place = environment.place_of("image");
  const auto image =
      environment.required_text("image", "what builds the function, like taubyte/cpp-wasi");
  if (image && image->size() > 200) problems.error(image_place, "the image's name is too long");
  workflow.image = image.value_or("");
  if (const YamlNode* variables = environment.take("variables"))
    read_variables(*variables, workflow, problems);
  environment.finish();

  const Place steps_place = reader.place_of("workflow");
  const std::size_t before_steps = problems.errors();
  for (const auto& step : reader.texts("workflow")) {
    if (!is_step_name(step.text)) {
      problems.error(step.place, fmt::format("\"{}\" can't be a step: a step is the name of a "
                                             "script in {} without .sh",
                                             step.text.substr(0, 64), workflow.folder));
    } else if (!files.contains(workflow.folder + "/" + step.text + ".sh")) {
      problems.error(step.place, fmt::format("there is no {}/{}.sh to run for this step",
                                             prefix + workflow.folder, step.text));
    } else {
      workflow.steps.push_back(step.text);
    }
  }
  if (workflow.steps.empty() && problems.errors() == before_steps)
    problems.error(steps_place, "\"workflow\" is missing: a list of steps, like [build]");
  if (workflow.steps.size() > kWorkflowStepsMax)
    problems.error(steps_place, fmt::format("more than {} steps", kWorkflowStepsMax));
  reader.finish();
  if (problems.errors() != before) return std::nullopt;
  return workflow;
}

}  // namespace tau::project
