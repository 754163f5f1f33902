// dream: a whole cloud on one machine.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>

#include "bin/manual/manual.h"
#include "client.h"
#include "daemon.h"
#include "run.h"
#include "table.h"

namespace {

using namespace tau;
namespace fs = std::filesystem;

constexpr int kExitUsage = 2;  // wrong arguments; 1 is for everything else that fails
using http::Json;

struct Arguments {
  std::string control = "127.0.0.1:1421";
  std::string log_level = "warning";
  std::string data, which, kind;
  std::string universe = "blackhole";
  bool daemon = false, keep = false, json = false;
  dream::RunOptions run;
};

void print_tables(const Json& view) {
  for (const Json& universe : view.value("universes", Json::array()))
    fmt::print("{}\n", dream::table_of(universe, ""));
  std::fflush(stdout);
}

void print_ready(const Json& view, const Arguments& arguments) {
  if (arguments.json) {
    fmt::print("{}\n", view.dump());
  } else {
    print_tables(view);
    fmt::print("control API at http://{}\n", view.value("control", ""));
  }
  std::fflush(stdout);
}

// A terminal shows the table anew at each change, a file gets one table after the other.
void print_change(const Json& view, const Arguments& arguments) {
  if (arguments.json) {
    fmt::print("{}\n", view.dump());
    std::fflush(stdout);
    return;
  }
  if (isatty(STDOUT_FILENO)) fmt::print("\033[H\033[2J");
  print_tables(view);
}

Result<LogLevel> level_named(std::string_view name) {
  for (const LogLevel level :
       {LogLevel::debug, LogLevel::info, LogLevel::warning, LogLevel::error}) {
    if (name_of(level) == name) return level;
  }
  return fail(ErrorCode::invalid_argument, "--log-level is debug, info, warning or error");
}

fs::path user_cache() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache)
    return fs::path(cache) / "tau";
  const char* home = std::getenv("HOME");
  return fs::path(home && *home ? home : "/tmp") / ".cache" / "tau";
}

// Of the background process: the data folder if there is one, else the user's cache folder.
fs::path log_folder(const dream::RunOptions& run) {
  return run.data.empty() ? user_cache() : run.data;
}

Status start(Arguments& arguments) {
  dream::RunOptions& run = arguments.run;
  TRY(run.control, net::Endpoint::parse(arguments.control));
  TRY(run.log_level, level_named(arguments.log_level));
  run.universe = arguments.universe;
  run.data = arguments.data;
  run.build_cache = user_cache() / "builds";
  run.keep = arguments.keep || !arguments.data.empty();
  const Logger log = Logger::to_stderr("dream", run.log_level);
  if (!arguments.daemon) {
    return dream::run(
        run, log,
        [&](const Json& view) {
          print_ready(view, arguments);
          if (!arguments.json) fmt::print("stop with Ctrl-C\n");
          std::fflush(stdout);
        },
        [&](const Json& view) { print_change(view, arguments); });
  }
  const fs::path log_file = log_folder(run) / "dream.log";
  std::error_code ignored;
  fs::create_directories(log_file.parent_path(), ignored);
  TRY(const Json view, dream::run_as_daemon(log_file, [&](const dream::Report& report) {
        const Status status =
            dream::run(run, log, [&](const Json& ready) { report(ready); }, [](const Json&) {});
        if (!status) report(fail(status.error()));
        return status ? 0 : 1;
      }));
  print_ready(view, arguments);
  if (!arguments.json) fmt::print("log: {}\nstop with: dream stop\n", log_file.string());
  return {};
}

Status show(const Arguments& arguments) {
  TRY(const auto control, net::Endpoint::parse(arguments.control));
  TRY(const Json view, dream::ask(control, "GET", "/v1/universes"));
  const Json universes = view.value("universes", Json::array());
  std::vector<Json> shown;
  for (const Json& universe : universes)
    if (universe.value("name", "") == arguments.which) shown.push_back(universe);
  const bool by_universe = !shown.empty();
  if (!by_universe) shown.assign(universes.begin(), universes.end());
  if (arguments.json) {
    fmt::print("{}\n", Json{{"universes", shown}}.dump(2));
    return {};
  }
  for (const Json& universe : shown)
    fmt::print("{}\n", dream::table_of(universe, by_universe ? "" : arguments.which));
  return {};
}

// dream kill substrate-1 | kill substrate (when it is the only one) | kill node ID | kill universe
// NAME
Status end(const Arguments& arguments) {
  TRY(const auto control, net::Endpoint::parse(arguments.control));
  std::string target = "/v1/universes/" + arguments.universe + "/nodes/" + arguments.kind;
  std::string what = arguments.kind;
  if (arguments.kind == "universe" || arguments.kind == "node") {
    if (arguments.which.empty())
      return fail(ErrorCode::invalid_argument,
                  fmt::format("which {}? dream kill {} NAME", arguments.kind, arguments.kind));
    what = arguments.which;
    target = arguments.kind == "universe"
                 ? "/v1/universes/" + what
                 : "/v1/universes/" + arguments.universe + "/nodes/" + what;
  }
  TRY(const Json done, dream::ask(control, "DELETE", target));
  fmt::print("{} is gone\n", what);
  return {};
}

Status stop(const Arguments& arguments) {
  TRY(const auto control, net::Endpoint::parse(arguments.control));
  TRY(const Json done, dream::ask(control, "POST", "/v1/stop"));
  TRY_STATUS(dream::wait_until_gone(control));
  fmt::print("stopped\n");
  return {};
}

manual::About about() {
  return {{{"EXAMPLE",
            "  dream new multiverse --daemon\n"
            "  dream status\n"
            "  dream kill substrate-1\n"
            "  dream stop"}},
          "tau(1), odo(1)"};
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("dream runs a whole cloud on this machine", "dream");
  app.require_subcommand(1);
  Arguments arguments;
  Status status;
  const auto control_option = [&](CLI::App* command) {
    command->add_option("--control", arguments.control, "Address of dream's control API")
        ->capture_default_str();
  };
  const auto universe_option = [&](CLI::App* command) {
    command->add_option("--universe", arguments.universe)->capture_default_str();
  };

  auto* fresh = app.add_subcommand("new", "Start something");
  fresh->require_subcommand(1);
  auto* multiverse = fresh->add_subcommand("multiverse", "Start the local cloud");
  multiverse->add_flag("--daemon", arguments.daemon, "Return when it is ready; it runs on");
  multiverse->add_option("--data", arguments.data,
                         "Keep everything in this folder, and start from what is there");
  multiverse->add_flag("--keep", arguments.keep, "Keep the temporary data folder");
  multiverse->add_option("--http-port", arguments.run.http_port, "Of functions; 0: a free one")
      ->capture_default_str();
  multiverse
      ->add_option("--api-port", arguments.run.api_port,
                   "Of the repositories; 0, or if it is taken: a free one")
      ->capture_default_str();
  multiverse->add_option("--dns-port", arguments.run.dns_port, "Of seer's DNS; 0: a free one")
      ->capture_default_str();
  multiverse->add_option("--log-level", arguments.log_level)->capture_default_str();
  multiverse->add_flag("--json", arguments.json, "One line of JSON when it is ready");
  universe_option(multiverse);
  control_option(multiverse);
  multiverse->callback([&] { status = start(arguments); });

  auto* shown = app.add_subcommand("status", "Nodes of a universe, or those that run a service");
  shown->add_option("which", arguments.which, "A universe, a service or a node");
  shown->add_flag("--json", arguments.json);
  control_option(shown);
  shown->callback([&] { status = show(arguments); });

  auto* kill = app.add_subcommand("kill", "End a node as a power cut does, or a universe");
  kill->add_option("what", arguments.kind,
                   "A node, a service that one node runs, or: node, universe")
      ->required();
  kill->add_option("which", arguments.which, "After `node` or `universe`: which");
  universe_option(kill);
  control_option(kill);
  kill->callback([&] { status = end(arguments); });

  auto* stopped = app.add_subcommand("stop", "Stop the local cloud");
  control_option(stopped);
  stopped->callback([&] { status = stop(arguments); });

  manual::declare(app, about(), status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : kExitUsage;
  }
  if (status) return 0;
  std::cerr << "dream: " << status.error().message() << "\n";
  return 1;
}
