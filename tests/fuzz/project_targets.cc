// Files that people push: a project's configuration, a function's build, a node's configuration.
#include <algorithm>

#include "base/check.h"
#include "node/config.h"
#include "project/deployment.h"
#include "project/plan.h"
#include "project/scalars.h"
#include "project/workflow.h"
#include "project/writer.h"
#include "targets.h"

namespace tau::fuzz {
namespace {

constexpr std::string_view kMark = "@@ ";  // "@@ functions/ping.yaml" begins a file

// "@@ path" lines begin the files of a repository; what stands before the first is config.yaml.
std::map<std::string, Bytes> files_of(BytesView input) {
  std::map<std::string, Bytes> files;
  std::string path = "config.yaml";
  for (std::string_view rest = as_text(input); !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n') + 1);
    const std::string_view whole = line.empty() ? rest : line;
    rest.remove_prefix(whole.size());
    if (whole.starts_with(kMark) && whole.ends_with('\n')) {
      path = std::string(whole.substr(kMark.size(), whole.size() - kMark.size() - 1));
      continue;
    }
    auto& file = files[path];
    file.insert(file.end(), whole.begin(), whole.end());
  }
  return files;
}

void project_yaml(BytesView input) {
  const auto files = files_of(input);
  const project::Target target{ProjectId(""), "main", "blackhole.localhost"};
  const auto plan = project::read_project(files, target);
  (void)plan.problems.to_string();
  CHECK(plan.problems.list().size() <=
        project::Problems::kErrorsMax + project::Problems::kWarningsMax);
  if (!plan.ok()) {
    (void)plan.problems.as_error();
    return;
  }
  std::map<std::string, codec::Cid> modules;
  for (const auto& function : plan.functions)
    modules[function.key] = codec::Cid::of(codec::ContentType::raw, as_bytes(function.key));
  const auto deployment = project::with_modules(plan, modules);
  if (!deployment) return;
  const auto encoded = project::encode_deployment(*deployment);
  CHECK(encoded);
  CHECK(*project::decode_deployment(encoded->block) == *deployment);
}

std::string id_of(std::string_view what) {
  return codec::Cid::of(codec::ContentType::raw, as_bytes(what)).to_string();
}

std::vector<Seed> project_yaml_seeds() {
  project::NewFunction ping;
  ping.id = id_of("ping");
  ping.paths = {"/ping"};
  ping.domains = {"main"};
  ping.call = "ping";
  const std::string project = project::project_yaml({id_of("project"), "hello", "says: hello"});
  const std::string domain = project::domain_yaml({id_of("main"), "", "hello"});
  const std::string function = project::function_yaml(ping);
  return {{"project", to_bytes(project + "@@ domains/main.yaml\n" + domain +
                               "@@ functions/ping.yaml\n" + function)},
          {"application", to_bytes(project + "@@ applications/shop/config.yaml\n" +
                                   project::application_yaml({id_of("shop"), ""}) +
                                   "@@ applications/shop/domains/main.yaml\n" + domain +
                                   "@@ applications/shop/functions/ping.yaml\n" + function)}};
}

void workflow_yaml(BytesView input) {
  project::Problems problems;
  const auto workflow = project::read_workflow(
      {{".taubyte/config.yaml", to_bytes(input)}, {".taubyte/build.sh", {}}}, "f/", problems);
  if (!workflow) {
    CHECK(!problems.ok());
    return;
  }
  CHECK(workflow->steps.size() <= project::kWorkflowStepsMax);
  CHECK(workflow->variables.size() <= project::kVariablesMax);
}

std::vector<Seed> workflow_yaml_seeds() {
  return {{"workflow", to_bytes(project::workflow_yaml("taubyte/cpp-wasi", {"build"}))},
          {"variables", to_bytes("version: 1.00\nenvironment:\n  image: x\n  variables: {A: 1}\n"
                                 "workflow: [build]\n")}};
}

void deployment(BytesView input) {
  const auto decoded = project::decode_deployment(input);
  if (!decoded) return;
  const auto again = project::encode_deployment(*decoded);
  CHECK(again);
  CHECK(std::ranges::equal(again->block, input));
  const project::Routes routes(*decoded);
  CHECK(routes.size() <= project::kRoutesMax);
  for (const auto& function : decoded->functions)
    for (const auto& domain : function.domains)
      for (const auto& path : function.paths)
        CHECK(routes.find(domain, function.method, path).found == project::Routes::Found::function);
  CHECK(project::links_of(*decoded).size() <= decoded->functions.size() + 1);
  (void)project::hosts_of(*decoded);
}

std::vector<Seed> deployment_seeds() {
  project::Deployment value;
  value.project = ProjectId(id_of("project"));
  value.branch = "main";
  value.name = "hello";
  value.functions = {{id_of("ping"),
                      "ping",
                      std::nullopt,
                      codec::Cid::of(codec::ContentType::raw, as_bytes("wasm")),
                      "ping",
                      "GET",
                      {"/ping"},
                      {"hello.blackhole.localhost"},
                      10'000'000'000,
                      32'000'000}};
  value.domains = {{id_of("main"), "main", "hello.blackhole.localhost"}};
  return {{"deployment", project::encode_deployment(value)->block}};
}

void node_config(BytesView input) {
  const auto options = node::parse_config(as_text(input), "config.yaml", "/node");
  if (!options) return;
  const std::string shown = node::show_config(*options);
  CHECK(node::parse_config(shown, "shown.yaml", "/node"));
}

std::vector<Seed> node_config_seeds() {
  node::Options options;
  options.services = {"seer", "tns"};
  options.dns_issuers = {"ca.example"};
  options.api_listen = net::Endpoint{"::1", 80};
  return {{"config", to_bytes(node::show_config(options))},
          {"small", to_bytes("services: [tns]\nmonkey: {memory: 1GiB}\ndns: {listen: none}\n")}};
}

void scalars(BytesView input) {
  const std::string_view text = as_text(input);
  if (const auto duration = project::parse_duration(text))
    CHECK(*project::parse_duration(project::format_duration(*duration)) == *duration);
  if (const auto size = project::parse_size(text))
    CHECK(*project::parse_size(project::format_size(*size)) == *size);
  if (const auto fqdn = project::canonical_fqdn(text))
    CHECK(*project::canonical_fqdn(*fqdn) == *fqdn);
  (void)project::canonical_method(text);
  (void)project::check_path(text);
  const auto endpoint = net::Endpoint::parse(text);
  if (endpoint) CHECK(*net::Endpoint::parse(endpoint->to_string()) == *endpoint);
}

std::vector<Seed> scalars_seeds() {
  return {{"duration", to_bytes("1h2m3.5s")},
          {"size", to_bytes("16MiB")},
          {"fqdn", to_bytes("Hello.Example.ORG.")},
          {"path", to_bytes("/a/b%20c")},
          {"endpoint", to_bytes("[::1]:80")}};
}

}  // namespace

std::vector<Target> project_targets() {
  return {{"project_yaml", project_yaml, project_yaml_seeds},
          {"workflow_yaml", workflow_yaml, workflow_yaml_seeds},
          {"deployment", deployment, deployment_seeds},
          {"node_config", node_config, node_config_seeds},
          {"scalars", scalars, scalars_seeds}};
}

}  // namespace tau::fuzz
