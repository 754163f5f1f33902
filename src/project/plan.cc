#include "project/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <list>
#include <set>

#include "project/scalars.h"
#include "project/yaml.h"

namespace tau::project {
namespace {

constexpr std::array<std::string_view, 9> kGroups = {"databases", "domains",   "functions",
                                                     "libraries", "messaging", "services",
                                                     "smartops",  "storages",  "websites"};

struct Resource {
  std::string name;
  const YamlNode* document;
};

// The project itself, or an application of it.
struct Level {
  std::string application;  // empty: the project
  const YamlNode* document = nullptr;
  std::map<std::string, std::map<std::string, const YamlNode*>, std::less<>> groups;
};

struct Domain {
  std::string id, name;
  std::optional<std::string> fqdn;  // nothing: it is wrong, which was said
};

class PlanReader {
 public:
  PlanReader(const ConfigFiles& files, const Target& target) : files_(files), target_(target) {}

  Plan read() {
    if (files_.size() > kConfigFilesMax) {
      problems().error({"config.yaml", 0, 0},
                       fmt::format("the repository has {} files, at most {} are read",
                                   files_.size(), kConfigFilesMax));
      return std::move(plan_);
    }
    sort_files();
    read_levels();
    if (!read_project_document()) return std::move(plan_);
    for (auto& [name, level] : levels_) read_domains(level);
    for (auto& [name, level] : levels_) read_functions(level);
    for (auto& [name, level] : levels_) mention_others(level);
    check_routes();
    return std::move(plan_);
  }

 private:
  Problems& problems() { return plan_.problems; }

  // Parses every YAML file to where it belongs.
  void sort_files() {
    levels_[""];
    for (const auto& [path, bytes] : files_) {
      std::vector<std::string> parts = split(path);
      if (parts[0].starts_with('.') || parts[0] == "clouds") continue;  // not read here
      std::string application;
      if (parts.size() >= 3 && parts[0] == "applications") {
        application = parts[1];
        if (!is_resource_name(application)) {
          problems().error({path, 0, 0}, bad_name("application", application));
          continue;
        }
        parts.erase(parts.begin(), parts.begin() + 2);
      }
      if (parts.size() == 1 && parts[0] == "config.yaml") {
        Level& level = levels_[application];
        level.application = application;
        level.document = parse(path, bytes);
        continue;
      }
      if (parts.size() == 1 && !parts[0].ends_with(".yml") && !parts[0].ends_with(".yaml"))
        continue;  // a README, a license
      const bool known = parts.size() == 2 && std::ranges::find(kGroups, parts[0]) != kGroups.end();
      if (!known || !parts.back().ends_with(".yaml")) {
        problems().warning({path, 0, 0}, known
                                             ? "is ignored: only files that end in .yaml are read"
                                             : "is ignored: it is in no folder that a project has");
        continue;
      }
      const std::string name = parts[1].substr(0, parts[1].size() - 5);
      if (!is_resource_name(name)) {
        problems().error({path, 0, 0}, bad_name("file", name));
        continue;
      }
      Level& level = levels_[application];
      level.application = application;
      if (const YamlNode* node = parse(path, bytes)) level.groups[parts[0]][name] = node;
    }
  }

  // A group may also be a map in the level's config.yaml; files win.
  void read_levels() {
    for (auto& [name, level] : levels_) {
      if (!level.document) continue;
      for (const auto& group : kGroups) {
        const auto* entry = level.document->find(group);
        if (!entry || entry->value.kind != YamlNode::Kind::map) continue;
        for (const auto& resource : entry->value.entries) {
          if (!is_resource_name(resource.key)) {
            problems().error(resource.place, bad_name("resource", resource.key));
            continue;
          }
          level.groups[std::string(group)].emplace(resource.key, &resource.value);
        }
      }
      if (name.empty()) continue;
      YamlReader reader(*level.document, fmt::format("application \"{}\"", name), problems());
      read_identity(reader, name);
      for (const auto& group : kGroups) reader.ignore(group);
      reader.finish();
    }
    for (auto& [name, level] : levels_) {
      if (!name.empty() && !level.document)
        problems().error({fmt::format("applications/{}/config.yaml", name), 0, 0},
                         "is missing or broken: an application has a config.yaml with its id");
    }
  }

  bool read_project_document() {
    const Level& level = levels_[""];
    if (!level.document) {
      if (!files_.contains("config.yaml"))
        problems().error({"config.yaml", 0, 0},
                         "is missing: the root of a config repository has it, with the project's "
                         "id and name (tau new project writes one)");
      return false;
    }
    YamlReader reader(*level.document, "project", problems());
    const Place id_place = reader.place_of("id");
    const auto id = reader.required_text("id", "the project's id, as tau new project printed it");
    if (id) check_id(*id, id_place);
    if (id && !target_.project.empty() && *id != target_.project.str())
      problems().error(id_place, fmt::format("this repository belongs to project {}, not to this "
                                             "id: put that one here",
                                             target_.project.str()));
    const Place name_place = reader.place_of("name");
    const auto name = reader.required_text("name", "what people call the project");
    if (name && !is_resource_name(*name)) problems().error(name_place, bad_name("project", *name));
    reader.text("description");
    reader.texts("tags");
    YamlReader notification = reader.section("notification");
    const Place email_place = notification.place_of("email");
    const auto email = notification.text("email");
    if (email && email->find('@') == std::string::npos)
      problems().error(email_place, "project: \"email\" is no email address");
    notification.finish();
    reader.ignore("clouds");
    for (const auto& group : kGroups) reader.ignore(group);
    reader.finish();
    plan_.deployment.project = ProjectId(id.value_or(""));
    plan_.deployment.name = name.value_or("");
    plan_.deployment.branch = target_.branch;
    return true;
  }

  void read_domains(Level& level) {
    for (const auto& [name, document] : level.groups["domains"]) {
      const std::string what = fmt::format("domain \"{}\"", name);
      YamlReader reader(*document, what, problems());
      Domain domain{read_identity(reader, name), name, {}};
      const Place place = reader.place_of("fqdn");
      const auto text =
          reader.required_text("fqdn", "a label of this network, or a full domain name");
      YamlReader certificate = reader.section("certificate");
      const Place type_place = certificate.place_of("type");
      const auto type = certificate.text("type");
      if (type && *type != "auto" && *type != "inline")
        problems().error(type_place, what + ": certificate type must be auto or inline");
      if (type && *type == "inline")
        problems().warning(type_place, what + ": inline certificates are not used yet");
      certificate.text("cert");
      certificate.text("key");
      certificate.finish();
      reader.finish();
      if (text) domain.fqdn = full_name(*text, what, place);
      const bool served = domain.fqdn.has_value();
      if (served && !fqdns_.insert(*domain.fqdn).second)
        problems().error(place, fmt::format("{}: {} is another domain's already: use that one",
                                            what, *domain.fqdn));
      if (served) plan_.deployment.domains.push_back({domain.id, name, *domain.fqdn});
      domains_[{level.application, name}] = std::move(domain);
    }
    if (plan_.deployment.domains.size() > kDomainsMax)
      problems().error({"domains", 0, 0}, fmt::format("more than {} domains", kDomainsMax));
  }

  // A bare label belongs to this network.
  std::optional<std::string> full_name(const std::string& text, const std::string& what,
                                       const Place& place) {
    auto fqdn = canonical_fqdn(text);
    if (!fqdn) {
      problems().error(place, what + ": " + fqdn.error().message());
      return std::nullopt;
    }
    if (fqdn->find('.') == std::string::npos) *fqdn += "." + target_.suffix;
    fqdn = canonical_fqdn(*fqdn);  // it may have become too long
    if (!fqdn) {
      problems().error(place, what + ": " + fqdn.error().message());
      return std::nullopt;
    }
    const std::string tail = "." + target_.suffix;
    if (*fqdn == target_.suffix) {
      problems().error(place, fmt::format("{}: {} is the network's own name: put a label before it",
                                          what, *fqdn));
      return std::nullopt;
    }
    if (!fqdn->ends_with(tail)) {
      problems().warning(place, fmt::format("{}: {} is not below {}: it answers to that name, but "
                                            "nobody has proven yet that it is this project's",
                                            what, *fqdn, target_.suffix));
      return fqdn.value();
    }
    const std::string label = fqdn->substr(0, fqdn->size() - tail.size());
    if (label.find('.') != std::string::npos || label.find("--") != std::string::npos) {
      problems().error(place, fmt::format("{}: {} must be one label, without \"--\", before {}",
                                          what, *fqdn, tail));
      return std::nullopt;
    }
    return *fqdn;
  }

  void read_functions(Level& level) {
    for (const auto& [name, document] : level.groups["functions"])
      read_function(level, name, *document);
    if (plan_.functions.size() > kFunctionsMax)
      problems().error({"functions", 0, 0}, fmt::format("more than {} functions", kFunctionsMax));
  }

  void read_function(const Level& level, const std::string& name, const YamlNode& document) {
    const std::string what = fmt::format("function \"{}\"", name);
    YamlReader reader(document, what, problems());
    PlannedFunction planned;
    DeployedFunction& f = planned.function;
    planned.place = document.place;
    planned.key = level.application.empty() ? name : level.application + "/" + name;
    f.name = name;
    if (!level.application.empty()) f.application = level.application;
    f.id = read_identity(reader, name);

    YamlReader trigger = reader.section("trigger");
    const Place type_place = trigger.place_of("type");
    const auto type = trigger.required_text("type", "http, https, pubsub or p2p");
    const bool http = type && (*type == "http" || *type == "https");
    if (http) {
      read_http(level, what, reader, trigger, f);
    } else if (type && *type != "pubsub" && *type != "p2p") {
      problems().error(type_place, fmt::format("{}: trigger type \"{}\" is unknown: use http, "
                                               "https, pubsub or p2p",
                                               what, type->substr(0, 40)));
    } else if (type) {
      problems().warning(type_place,
                         fmt::format("{}: {} functions are not deployed yet", what, *type));
    }
    for (const auto* key : {"local", "method", "methods", "paths", "domains", "channel", "protocol",
                            "service", "command"})
      trigger.ignore(key);
    reader.ignore("domains");
    trigger.finish();

    const Place source_place = reader.place_of("source");
    const auto source = reader.required_text("source", "\".\" for code in functions/" + name);
    const bool library = source && source->starts_with("libraries/");
    if (source && *source != "." && !library)
      problems().error(source_place, what +
                                         ": source must be \".\" (code in the code repository) or "
                                         "libraries/<name>");
    if (library)
      problems().warning(source_place, what + ": functions out of libraries are not deployed yet");
    read_execution(what, reader.section("execution"), f);
    reader.finish();
    if (http && !library) plan_.functions.push_back(std::move(planned));
  }

  void read_http(const Level& level, const std::string& what, YamlReader& reader,
                 YamlReader& trigger, DeployedFunction& f) {
    const Place method_place = trigger.place_of("method");
    if (const auto text = trigger.required_text("method", "GET, POST, …")) {
      if (auto method = canonical_method(*text)) {
        f.method = *std::move(method);
      } else {
        problems().error(method_place, what + ": " + method.error().message());
      }
    }
    if (trigger.has("methods"))
      problems().warning(trigger.place_of("methods"),
                         what + ": \"methods\" is not used: a function has one \"method\"");
    const Place paths_place = trigger.place_of("paths");
    std::size_t before = problems().errors();
    for (const auto& path : trigger.texts("paths")) {
      if (const auto status = check_path(path.text); !status) {
        problems().error(path.place, what + ": " + status.error().message());
      } else if (std::ranges::find(f.paths, path.text) != f.paths.end()) {
        problems().error(path.place, fmt::format("{}: path {} is there twice", what, path.text));
      } else {
        f.paths.push_back(path.text);
      }
    }
    if (f.paths.empty() && problems().errors() == before)
      problems().error(paths_place, what + ": \"paths\" is missing: a list like [/ping]");
    if (f.paths.size() > kPathsMax)
      problems().error(paths_place, fmt::format("{}: more than {} paths", what, kPathsMax));

    // The list stands in the trigger, or beside it, as older tools write it.
    YamlReader& where = trigger.has("domains") ? trigger : reader;
    const Place domains_place = where.place_of("domains");
    before = problems().errors();
    bool named = false;
    for (const auto& item : where.texts("domains")) {
      named = true;
      const Domain* domain = find_domain(level, item.text);
      if (!domain) {
        problems().error(
            item.place,
            fmt::format("{}: there is no domain \"{}\": add domains/{}.yaml, or use "
                        "one of: {}",
                        what, item.text.substr(0, 64), item.text.substr(0, 64), domain_names()));
      } else if (domain->fqdn && std::ranges::find(f.domains, *domain->fqdn) == f.domains.end()) {
        f.domains.push_back(*domain->fqdn);
      }
    }
    if (!named && problems().errors() == before)
      problems().error(domains_place, what +
                                          ": \"domains\" is missing: a list of names of "
                                          "domains, like [main]");
    if (f.domains.size() > kFunctionDomainsMax)
      problems().error(domains_place,
                       fmt::format("{}: more than {} domains", what, kFunctionDomainsMax));
  }

  void read_execution(const std::string& what, YamlReader execution, DeployedFunction& f) {
    const Place timeout_place = execution.place_of("timeout");
    if (const auto text = execution.required_text("timeout", "how long one call may take: 20s")) {
      const auto ns = parse_duration(*text);
      if (!ns) {
        problems().error(timeout_place, what + ": timeout: " + ns.error().message());
      } else if (*ns < kTimeoutMinNs || *ns > kTimeoutMaxNs) {
        problems().error(timeout_place, what + ": the timeout must be between 1ms and 10m");
      } else {
        f.timeout_ns = *ns;
      }
    }
    const Place memory_place = execution.place_of("memory");
    if (const auto text = execution.required_text("memory", "what one call may use: 32MB")) {
      const auto bytes = parse_size(*text);
      if (!bytes) {
        problems().error(memory_place, what + ": memory: " + bytes.error().message());
      } else if (*bytes < kMemoryMinBytes || *bytes > kMemoryMaxBytes) {
        problems().error(memory_place, what + ": memory must be between 64KiB and 4GiB");
      } else {
        f.memory_bytes = *bytes;
      }
    }
    const Place call_place = execution.place_of("call");
    if (const auto text = execution.required_text("call", "the name of the exported function")) {
      f.call = *text;
      if (!is_variable_name(f.call))
        problems().error(call_place,
                         fmt::format("{}: call \"{}\" can't be the name of an export: letters, "
                                     "digits and '_', not a digit first",
                                     what, f.call.substr(0, 64)));
    }
    execution.finish();
  }

  // Kinds that this cloud knows and does not serve yet: their identity counts, the rest is kept
  // in the repository.
  void mention_others(Level& level) {
    for (auto& [group, resources] : level.groups) {
      if (group == "functions" || group == "domains") continue;
      for (const auto& [name, document] : resources) {
        YamlReader reader(*document, fmt::format("{} \"{}\"", group, name), problems());
        read_identity(reader, name);
        problems().warning(
            document->place,
            fmt::format("{} are not deployed yet: \"{}\" has no effect", group, name));
      }
    }
  }

  // id, name, description, tags. Gives the id.
  std::string read_identity(YamlReader& reader, const std::string& name) {
    const Place id_place = reader.place_of("id");
    const auto id = reader.required_text("id", "a CID that is this resource's alone");
    if (id) check_id(*id, id_place);
    const Place name_place = reader.place_of("name");
    if (const auto given = reader.text("name"); given && *given != name)
      problems().warning(name_place, fmt::format("the file's name counts: this is \"{}\"", name));
    reader.text("description");
    reader.texts("tags");
    return id.value_or("");
  }

  void check_id(const std::string& id, const Place& place) {
    if (id.size() > kNameBytesMax || !codec::Cid::parse(id)) {
      problems().error(place,
                       fmt::format("id \"{}\" is no CID (tau new … makes one)", id.substr(0, 64)));
      return;
    }
    const auto [it, is_new] = ids_.emplace(id, place);
    if (!is_new)
      problems().error(place, fmt::format("this id is taken already, at {}: give each resource "
                                          "one of its own",
                                          it->second.to_string()));
  }

  void check_routes() {
    struct Taken {
      std::string by;
      Place place;
    };
    std::map<std::tuple<std::string, std::string, std::string>, Taken> taken;
    for (const auto& planned : plan_.functions) {
      const auto& f = planned.function;
      if (taken.size() > kRoutesMax) {
        problems().error(planned.place, fmt::format("more than {} routes", kRoutesMax));
        return;
      }
      for (const auto& fqdn : f.domains) {
        for (const auto& path : f.paths) {
          const auto [it, is_new] =
              taken.emplace(std::tuple{fqdn, path, f.method}, Taken{planned.key, planned.place});
          if (!is_new)
            problems().error(planned.place,
                             fmt::format("function \"{}\" answers {} {}{}, which function \"{}\" "
                                         "({}) answers already: change a path or a method",
                                         planned.key, f.method, fqdn, path, it->second.by,
                                         it->second.place.file));
        }
      }
    }
  }

  // The application's own first, then the project's.
  const Domain* find_domain(const Level& level, const std::string& name) const {
    auto it = domains_.find({level.application, name});
    if (it == domains_.end()) it = domains_.find({std::string(), name});
    return it == domains_.end() ? nullptr : &it->second;
  }
  std::string domain_names() const {
    std::string out;
    for (const auto& [key, domain] : domains_) {
      if (out.size() > 200) return out + ", …";
      out += (out.empty() ? "" : ", ") + domain.name;
    }
    return out.empty() ? "(there are none)" : out;
  }

  const YamlNode* parse(const std::string& path, const Bytes& bytes) {
    auto node = parse_yaml(path, bytes, problems());
    if (!node) return nullptr;
    documents_.push_back(*std::move(node));
    return &documents_.back();
  }
  static std::string bad_name(std::string_view what, std::string_view name) {
    return fmt::format(
        "\"{}\" can't be the name of {} {}: letters, digits, '_' and '-', a letter "
        "or '_' first",
        name.substr(0, 64), what == "application" ? "an" : "a", what);
  }
  static std::vector<std::string> split(const std::string& path) {
    std::vector<std::string> parts;
    for (std::size_t at = 0; at <= path.size();) {
      const auto end = std::min(path.find('/', at), path.size());
      parts.push_back(path.substr(at, end - at));
      at = end + 1;
    }
    return parts;
  }

  const ConfigFiles& files_;
  const Target& target_;
  Plan plan_;
  std::list<YamlNode> documents_;
  std::map<std::string, Level> levels_;  // "" first
  std::map<std::pair<std::string, std::string>, Domain> domains_;
  std::set<std::string> fqdns_;
  std::map<std::string, Place> ids_;
};

}  // namespace

Plan read_project(const ConfigFiles& files, const Target& target) {
  return PlanReader(files, target).read();
}

Result<Deployment> with_modules(const Plan& plan,
                                const std::map<std::string, codec::Cid>& modules) {
  Deployment deployment = plan.deployment;
  for (const auto& planned : plan.functions) {
    const auto it = modules.find(planned.key);
    if (it == modules.end())
      return fail(ErrorCode::internal, "function \"" + planned.key + "\" was not built");
    deployment.functions.push_back(planned.function);
    deployment.functions.back().module = it->second;
  }
  TRY_STATUS(validate(deployment));
  return deployment;
}

}  // namespace tau::project
