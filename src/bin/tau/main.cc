// tau: a developer's way to a cloud. See `tau --help`; what it does is in the other files.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>

#include "bin/manual/manual.h"
#include "bin/tau/new_function.h"
#include "bin/tau/new_project.h"
#include "bin/tau/order.h"
#include "bin/tau/push.h"
#include "bin/tau/query.h"
#include "bin/tau/rollback.h"
#include "bin/tau/trace.h"

namespace {

using namespace tau;
using namespace tau::cli;
namespace fs = std::filesystem;

constexpr std::string_view kFooter =
    "The cloud is --cloud URL, else TAU_CLOUD, else `cloud:` in ~/.config/tau/config.yaml, else "
    "the "
    "dream on this machine.\n"
    "Exit codes: 0 good; 1 failed (a build, or the cloud refused); 2 wrong arguments; 3 no cloud "
    "answers; 4 not found.";

struct Arguments {
  std::string cloud, directory = ".", templates, location = ".";
  bool json = false, no_colour = false, follow = false, no_follow = false;
  bool clean = false;
  std::string which, project, url, job, job_by_flag, to, branch = "main";
  std::vector<std::string> build;
  int limit = 20;
  NewProject new_project;
  NewFunction new_function;
  PushOptions push;
};

struct Program {
  Arguments& arguments;
  const Terminal& terminal;
  Machine machine;
  SystemRandom random;

  Result<Cloud> cloud() {
    TRY(std::string url, cloud_url(arguments.cloud));
    return Cloud::at(machine.loop, std::move(url));
  }
  Result<ProjectFolder> here() { return find_project(arguments.directory); }
  // --project, else that of this folder.
  Result<std::string> project_id() {
    if (!arguments.project.empty()) return arguments.project;
    TRY(const ProjectFolder folder, here());
    return folder.id;
  }
};

Result<int> run_new_project(Program& p) {
  NewProject what = p.arguments.new_project;
  if (what.name.empty()) {
    TRY(what.name, p.terminal.ask("name of the project", "`tau new project NAME`"));
  }
  if (what.label.empty()) what.label = label_for(what.name);
  what.location = fs::path(p.arguments.directory) / p.arguments.location;
  TRY_STATUS(check_project_name(what.name));
  TRY(Cloud cloud, p.cloud());
  TRY(const fs::path settings, config_folder());
  TRY(const OwnerKey owner, owner_key(settings, p.random));
  if (owner.is_new)
    p.terminal.say("made your owner key: " + owner.file.string() +
                   "\n  Who has it owns your projects. Keep a copy in a safe place.");
  TRY(const Created created, create_project(p.machine, cloud, what, owner, p.random));
  p.terminal.result({{"project", created.project}, {"folder", created.folder.root.string()}});
  p.terminal.good("project " + what.name + " will be at " + created.project.value("url", ""));
  p.terminal.say("  " + created.folder.root.string() +
                 "/config and /code are git repositories.\n"
                 "Next:\n  cd " +
                 fs::path(p.arguments.location).append(what.name).lexically_normal().string() +
                 "\n  tau new function ping --language cpp --path /ping\n  tau push");
  return kExitOk;
}

Result<int> run_new_function(Program& p) {
  NewFunction what = p.arguments.new_function;
  if (what.name.empty()) {
    TRY(what.name, p.terminal.ask("name of the function", "`tau new function NAME`"));
  }
  TRY(const ProjectFolder project, p.here());
  TRY(const fs::path templates, find_templates(p.arguments.templates));
  TRY(const auto files, create_function(project, what, templates, p.random));
  http::Json made = http::Json::array();
  for (const auto& file : files) {
    const std::string shown = file.lexically_relative(project.root).string();
    made.push_back(shown);
    p.terminal.say("  " + shown);
  }
  p.terminal.result({{"function", what.name}, {"files", made}});
  p.terminal.say("Next:\n  tau push");
  return kExitOk;
}

Result<int> run_push(Program& p) {
  p.arguments.push.follow = !p.arguments.no_follow;
  TRY(const ProjectFolder project, p.here());
  TRY(Cloud cloud, p.cloud());
  return push_project(p.machine, cloud, p.terminal, project, p.arguments.push);
}

Result<int> run_query_projects(Program& p) {
  TRY(Cloud cloud, p.cloud());
  TRY_STATUS(query_projects(cloud, p.terminal));
  return kExitOk;
}

Result<int> run_query_project(Program& p) {
  TRY(Cloud cloud, p.cloud());
  std::string which = p.arguments.which;
  if (which.empty()) {
    TRY(which, p.project_id());
  }
  TRY_STATUS(query_project(cloud, p.terminal, which));
  return kExitOk;
}

Result<int> run_query_builds(Program& p) {
  TRY(const std::string project, p.project_id());
  TRY(Cloud cloud, p.cloud());
  TRY_STATUS(query_builds(cloud, p.terminal, project, p.arguments.limit));
  return kExitOk;
}

// As an argument, or as Taubyte's tools spell it, --jid; empty: none was named.
Result<std::string> named_build(const Arguments& a) {
  if (!a.job.empty() && !a.job_by_flag.empty() && a.job != a.job_by_flag)
    return fail(ErrorCode::invalid_argument, "two builds are named; name one");
  return a.job.empty() ? a.job_by_flag : a.job;
}

Result<int> run_query_build(Program& p) {
  TRY(Cloud cloud, p.cloud());
  TRY(std::string build, named_build(p.arguments));
  if (build.empty()) {
    TRY(const std::string project, p.project_id());
    TRY(build, newest_build(cloud, project));
  }
  TRY_STATUS(query_build(cloud, p.terminal, build));
  return kExitOk;
}

Result<OwnerKey> owner_of(Program& p) {
  TRY(const fs::path settings, config_folder());
  return owner_key(settings, p.random);
}

Result<int> run_cancel_build(Program& p) {
  TRY(Cloud cloud, p.cloud());
  TRY(std::string build, named_build(p.arguments));
  if (build.empty()) {
    TRY(const std::string project, p.project_id());
    TRY(build, build_under_way(cloud, project));
  }
  TRY(const OwnerKey owner, owner_of(p));
  TRY_STATUS(cancel_build(cloud, p.terminal, owner.key, build, p.machine.loop.wall_unix_ms()));
  return kExitOk;
}

Result<int> run_retry_build(Program& p) {
  TRY(Cloud cloud, p.cloud());
  TRY(std::string build, named_build(p.arguments));
  if (build.empty()) {
    TRY(const std::string project, p.project_id());
    TRY(build, newest_build(cloud, project));
  }
  TRY(const OwnerKey owner, owner_of(p));
  const Retry how{p.arguments.clean, !p.arguments.no_follow};
  return retry_build(cloud, p.terminal, owner.key, build, how, p.machine.loop.wall_unix_ms());
}

Result<int> run_history(Program& p) {
  TRY(const std::string project, p.project_id());
  TRY(Cloud cloud, p.cloud());
  TRY_STATUS(show_history(cloud, p.terminal, project, p.arguments.branch));
  return kExitOk;
}

Result<int> run_rollback(Program& p) {
  TRY(const std::string project, p.project_id());
  TRY(Cloud cloud, p.cloud());
  TRY(const OwnerKey owner, owner_of(p));
  TRY_STATUS(roll_back(cloud, p.terminal, owner.key, project, p.arguments.branch, p.arguments.to,
                       p.machine.loop.wall_unix_ms()));
  return kExitOk;
}

Result<int> run_logs(Program& p, bool of_build) {
  TRY(const std::string project, p.project_id());
  TRY(Cloud cloud, p.cloud());
  if (of_build) {
    TRY_STATUS(show_log_of_build(cloud, p.terminal, project,
                                 p.arguments.build.empty() ? "" : p.arguments.build.front(),
                                 p.arguments.follow));
  } else {
    TRY_STATUS(show_logs(cloud, p.terminal, project, p.arguments.follow));
  }
  return kExitOk;
}

Result<int> run_trace(Program& p) {
  TRY(Cloud cloud, p.cloud());
  TRY_STATUS(trace_request(p.machine.loop, cloud, p.terminal, p.arguments.url));
  return kExitOk;
}

Result<int> run_status(Program& p) {
  TRY(Cloud cloud, p.cloud());
  TRY_STATUS(show_status(cloud, p.terminal, p.here()));
  return kExitOk;
}

Result<int> run_version(Program& p) {
  p.terminal.result({{"version", manual::version()}});
  p.terminal.say("tau " + std::string(manual::version()));
  return kExitOk;
}

using Command = std::function<Result<int>(Program&)>;

CLI::App* add(CLI::App& parent, const std::string& name, const std::string& about, Command command,
              Command& chosen) {
  CLI::App* sub = parent.add_subcommand(name, about);
  sub->callback([&chosen, command = std::move(command)] { chosen = command; });
  return sub;
}

void declare_new(CLI::App& app, Arguments& a, Command& chosen) {
  CLI::App* make = app.add_subcommand("new", "Make a project or a function")->require_subcommand(1);
  CLI::App* project = add(*make, "project", "Register a project and lay out its two repositories",
                          run_new_project, chosen);
  project->add_option("NAME", a.new_project.name, "Letters, digits and '_'");
  project->add_option("--location", a.location, "The folder that will hold NAME/")
      ->capture_default_str();
  project->add_option("--label", a.new_project.label,
                      "First name of its address: LABEL.SUFFIX (default: from NAME)");
  project->add_option("--description", a.new_project.description, "For people");

  CLI::App* function = add(*make, "function", "Add a function to the project of this folder",
                           run_new_function, chosen);
  function->add_option("NAME", a.new_function.name, "Letters, digits and '_'");
  function->add_option("--language", a.new_function.language, "What it is written in")
      ->capture_default_str();
  function->add_option("--template", a.new_function.templ, "What it starts from")
      ->capture_default_str();
  function->add_option("--path", a.new_function.path, "What it answers (default: /NAME)");
  function->add_option("--method", a.new_function.method, "HTTP method")->capture_default_str();
  function->add_option("--domain", a.new_function.domains,
                       "Names of files in config/domains (default: all)");
  function->add_option("--timeout", a.new_function.timeout, "Of one call")->capture_default_str();
  function->add_option("--memory", a.new_function.memory, "Of one call")->capture_default_str();
  function->add_option("--file", a.new_function.file,
                       "With --language wasm: the module, compiled already");
  function->add_option("--call", a.new_function.call,
                       "The exported function that is called (default: NAME)");
  function->add_option("--templates", a.templates, "Folder of templates, LANGUAGE/TEMPLATE");
}

void declare_rest(CLI::App& app, Arguments& a, Command& chosen) {
  CLI::App* push =
      add(app, "push", "Commit what changed, push it, follow the build", run_push, chosen);
  push->add_option("-m,--message", a.push.message, "Of the commits");
  push->add_flag("--no-follow", a.no_follow, "Return once the push is accepted");

  CLI::App* query =
      app.add_subcommand("query", "Look at projects and builds")->require_subcommand(1);
  add(*query, "projects", "All projects of the cloud", run_query_projects, chosen);
  add(*query, "project", "One project", run_query_project, chosen)
      ->add_option("NAME", a.which, "Name, label or id (default: that of this folder)");
  CLI::App* builds = add(*query, "builds", "Builds, newest first", run_query_builds, chosen);
  builds->add_option("--limit", a.limit, "How many")
      ->capture_default_str()
      ->check(CLI::Range(1, 100));
  builds->add_option("--project", a.project, "Id (default: that of this folder)");
  const auto names_build = [&a](CLI::App* command, const std::string& otherwise) {
    command->add_option("JOB", a.job, "The build's job id (default: " + otherwise + ")");
    command->add_option("--jid", a.job_by_flag, "The same");
    command->add_option("--project", a.project, "Id (default: that of this folder)");
    return command;
  };
  names_build(add(*query, "build", "One build", run_query_build, chosen), "the newest");

  CLI::App* cancel =
      app.add_subcommand("cancel", "End what is under way (the owner's)")->require_subcommand(1);
  names_build(
      add(*cancel, "build", "End a build that waits or is under way", run_cancel_build, chosen),
      "the newest that has not ended");
  CLI::App* retry =
      app.add_subcommand("retry", "Do once more (the owner's)")->require_subcommand(1);
  CLI::App* retry_one = names_build(
      add(*retry, "build", "Build the same commits once more, and follow", run_retry_build, chosen),
      "the newest");
  retry_one->add_flag("--clean", a.clean, "Build everything, whatever the caches hold");
  retry_one->add_flag("--no-follow", a.no_follow, "Return once it is accepted");

  CLI::App* history =
      add(app, "history", "What a branch served, newest first: what it can go back to", run_history,
          chosen);
  CLI::App* back =
      add(app, "rollback", "Serve an earlier deployment again (the owner's)", run_rollback, chosen);
  back->add_option("--to", a.to,
                   "A version of `tau history`, or a deployment's CID (default: the one before)");
  for (CLI::App* command : {history, back}) {
    command->add_option("--branch", a.branch, "Of the project")->capture_default_str();
    command->add_option("--project", a.project, "Id (default: that of this folder)");
  }

  CLI::App* logs = app.add_subcommand("logs", "What functions said, or the log of a build");
  logs->add_flag("-f,--follow", a.follow, "Go on as more comes");
  CLI::Option* build =
      logs->add_option("--build", a.build, "The log of this build (default: the newest)")
          ->expected(0, 1);
  logs->add_option("--project", a.project, "Id (default: that of this folder)");
  logs->callback([&chosen, build] {
    const bool of_build = build->count() > 0;
    chosen = [of_build](Program& p) { return run_logs(p, of_build); };
  });

  add(app, "trace", "Send one request and show where its time went", run_trace, chosen)
      ->add_option("URL", a.url, "Such as http://hello.blackhole.localhost:1480/ping")
      ->required();
  add(app, "status", "The cloud, and the project of this folder", run_status, chosen);
  add(app, "version", "The version of this program", run_version, chosen);
}

manual::About about() {
  return {{{"FILES",
            "~/.config/tau/config.yaml: settings; `cloud:` is the URL of a cloud.\n\n"
            "~/.config/tau/owner.key: your owner key. Who has it owns your projects."},
           {"EXAMPLE",
            "A first function, on a cloud that `dream new multiverse --daemon` runs:\n\n"
            "  tau new project hello && cd hello\n"
            "  tau new function ping --language cpp --path /ping\n"
            "  tau push\n"
            "  curl http://hello.blackhole.localhost:1480/ping"}},
          "dream(1), odo(1), git(1)"};
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  Arguments arguments;
  Command chosen;
  CLI::App app("tau: build and run functions on a decentralized cloud", "tau");
  app.footer(std::string(kFooter));
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--cloud", arguments.cloud, "URL of a cloud's API");
  app.add_option("-C,--directory", arguments.directory, "Work in this folder")
      ->check(CLI::ExistingDirectory);
  app.add_flag("--json", arguments.json, "Print one JSON document and ask nothing");
  app.add_flag("--no-color,--no-colour", arguments.no_colour, "No colours (also: NO_COLOR)");
  declare_new(app, arguments, chosen);
  declare_rest(app, arguments, chosen);
  Status printed;
  manual::declare(app, about(), printed);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? kExitOk : kExitUsage;
  }
  const Terminal terminal(
      arguments.json, arguments.no_colour ? Terminal::Colour::never : Terminal::Colour::automatic);
  if (!chosen) {
    if (!printed) terminal.error(printed.error());
    return printed ? kExitOk : kExitUsage;
  }
  Program program{arguments, terminal, {}, {}};
  const Result<int> result = chosen(program);
  if (result) return *result;
  terminal.error(result.error());
  return exit_code_of(result.error());
}
