// dream: a whole cloud on one machine.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <iostream>

#include "bin/manual/manual.h"
#include "bin/tau/cloud.h"
#include "chaos.h"
#include "client.h"
#include "daemon.h"
#include "node/config.h"
#include "push_fixtures.h"
#include "run.h"
#include "table.h"
#include "testnet/data_folder.h"
#include "testnet/fixtures.h"
#include "testnet/log_book.h"
#include "testnet/plan.h"

namespace {

using namespace tau;
namespace fs = std::filesystem;

constexpr int kExitUsage = 2;  // wrong arguments; 1 is for everything else that fails
using http::Json;

struct Arguments {
  std::string control = "127.0.0.1:1421";
  std::string log_level = "warning";
  std::string data, which, kind, name;
  std::string universe;  // empty: the only one
  bool daemon = false, json = false, follow = false, erase = false, no_follow = false;
  std::size_t lines = 200;
  std::vector<std::string> services, enable, disable, bind, copies, fixtures;
  dream::RunOptions run;
  dream::FixtureOptions fixture;
};

// Where dream answers, for a universe in which tau does not look without being told.
std::string cloud_note(const Json& universe, const std::string& control) {
  const bool usual = universe.value("name", "") == "blackhole" && control == Arguments().control;
  return usual ? "" : control;
}

void print_tables(const Json& view) {
  for (const Json& universe : view.value("universes", Json::array()))
    fmt::print("{}\n", dream::table_of(universe, cloud_note(universe, view.value("control", ""))));
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

fs::path user_cache() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache)
    return fs::path(cache) / "tau";
  const char* home = std::getenv("HOME");
  return fs::path(home && *home ? home : "/tmp") / ".cache" / "tau";
}

// Of the background process: the data folder if there is one, else the user's cache folder.
fs::path log_folder(const dream::RunOptions& run) { return run.keep ? run.data : user_cache(); }

Status start(Arguments& arguments) {
  dream::RunOptions& run = arguments.run;
  TRY(run.control, net::Endpoint::parse(arguments.control));
  TRY(run.log_level, testnet::log_level_named(arguments.log_level));
  run.keep = run.keep || !arguments.data.empty();
  run.data = arguments.data;
  run.build_cache = user_cache() / "builds";
  if (run.data.empty()) {
    auto usual = testnet::default_kept_folder();
    if (!usual && run.keep) return fail(usual.error());
    if (usual) run.data = *usual;
  }
  run.data = fs::absolute(run.data);  // the background process may go elsewhere
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
  if (arguments.json) return {};
  const std::string at = arguments.control == Arguments().control
                             ? ""
                             : " --control " + view.value("control", arguments.control);
  fmt::print("log: {}\nstop with: dream stop{}\n", log_file.string(), at);
  return {};
}

std::string node_path(const std::string& universe, const std::string& node) {
  return fmt::format("/v1/universes/{}/nodes/{}", cli::url_encode(universe), cli::url_encode(node));
}

Status show_one(const Json& universe, const std::string& only, const Arguments& arguments) {
  const Json shown = dream::only_of(universe, only);
  if (arguments.json)
    fmt::print("{}\n", Json{{"universes", {shown}}}.dump(2));
  else
    fmt::print("{}\n", dream::table_of(shown, cloud_note(shown, arguments.control)));
  return {};
}

// dream status | status universe [NAME] | status SERVICE | status NODE
Status show(const Arguments& arguments) {
  TRY(const auto control, net::Endpoint::parse(arguments.control));
  TRY(const Json view, dream::ask(control, "GET", "/v1/universes"));
  const bool of_universe = arguments.kind == "universe" || arguments.kind == "u";
  const std::string only = of_universe ? "" : arguments.kind;
  std::vector<std::string> names;
  std::vector<Json> shown;
  for (const Json& universe : view.value("universes", Json::array())) {
    const std::string name = universe.value("name", "");
    names.push_back(name);
    if (only == name) return show_one(universe, "", arguments);
    const std::string& wanted = of_universe ? arguments.which : arguments.universe;
    if (!wanted.empty() && wanted != name) continue;
    Json part = dream::only_of(universe, only);
    if (only.empty() || !part["nodes"].empty()) shown.push_back(std::move(part));
  }
  if (shown.empty() && !(names.empty() && only.empty()))
    return fail(ErrorCode::not_found,
                fmt::format("nothing here is called {}: name a service, a node, or one of the "
                            "universes {}",
                            only.empty() ? arguments.which + arguments.universe : only,
                            fmt::join(names, ", ")));
  if (arguments.json) {
    fmt::print("{}\n", Json{{"universes", shown}}.dump(2));
    return {};
  }
  for (const Json& universe : shown)
    fmt::print("{}\n", dream::table_of(universe, cloud_note(universe, arguments.control)));
  if (shown.empty()) fmt::print("no universe runs: dream new universe NAME\n");
  return {};
}

// dream kill substrate-1 | kill substrate (when it is the only one) | kill node ID | kill universe
// NAME
Status end(const Arguments& arguments) {
  TRY(const auto control, net::Endpoint::parse(arguments.control));
  const bool prefixed = arguments.kind == "universe" || arguments.kind == "node";
  if (prefixed && arguments.which.empty())
    return fail(ErrorCode::invalid_argument,
                fmt::format("which {}? dream kill {} NAME", arguments.kind, arguments.kind));
  const std::string what = prefixed ? arguments.which : arguments.kind;
  if (arguments.kind == "universe") {
    TRY(const Json done, dream::ask(control, "DELETE",
                                    "/v1/universes/" + cli::url_encode(what) +
                                        (arguments.erase ? "?erase=true" : "")));
  } else {
    TRY(const std::string universe, dream::universe_meant(control, arguments.universe));
    TRY(const Json done, dream::ask(control, "DELETE", node_path(universe, what)));
  }
  fmt::print("{} is gone\n", what);
  return {};
}

Result<int> inject_fixture(const Arguments& arguments, const std::string& universe,
                           const std::string& fixture) {
  TRY(const auto control, net::Endpoint::parse(arguments.control));
  dream::FixtureOptions options = arguments.fixture;
  options.follow = !arguments.no_follow;
  return dream::run_fixture(control, universe, fixture, options,
                            cli::Terminal(arguments.json, cli::Terminal::Colour::automatic));
}

Status new_universe(const Arguments& arguments) {
  TRY(const auto control, net::Endpoint::parse(arguments.control));
  Json body = {{"name", arguments.name},     {"empty", arguments.run.empty},
               {"enable", arguments.enable}, {"disable", arguments.disable},
               {"bind", arguments.bind},     {"keep", arguments.run.keep}};
  for (const std::string& text : arguments.copies) {
    const auto equals = text.find('=');
    std::size_t number = 0;
    const char* end = text.data() + text.size();
    if (equals == text.npos || std::from_chars(text.data() + equals + 1, end, number).ptr != end ||
        equals + 1 == text.size())
      return fail(ErrorCode::invalid_argument, "--copies SERVICE=NUMBER, not " + text);
    body["copies"][text.substr(0, equals)] = number;
  }
  TRY(const Json universe, dream::ask(control, "POST", "/v1/universes", body));
  TRY_STATUS(show_one(universe, "", arguments));
  for (const std::string& fixture : arguments.fixtures) {
    TRY(const int code, inject_fixture(arguments, arguments.name, fixture));
    if (code != 0) return fail(ErrorCode::failed_precondition, "fixture " + fixture + " failed");
  }
  return {};
}

// One node for each service; none: a client.
Status inject_nodes(const Arguments& arguments) {
  TRY(const auto control, net::Endpoint::parse(arguments.control));
  TRY(const std::string universe, dream::universe_meant(control, arguments.universe));
  std::vector<Json> wanted;
  for (const std::string& service : arguments.services) wanted.push_back({{"services", {service}}});
  if (arguments.services.empty()) wanted.push_back({{"services", Json::array()}});
  std::vector<Json> made;
  for (Json& body : wanted) {
    if (!arguments.name.empty()) body["name"] = arguments.name;
    TRY(Json node,
        dream::ask(control, "POST", "/v1/universes/" + cli::url_encode(universe) + "/nodes", body));
    if (!arguments.json) fmt::print("{}\n", dream::line_of(node));
    made.push_back(std::move(node));
  }
  if (arguments.json) fmt::print("{}\n", Json{{"nodes", made}}.dump(2));
  return {};
}

Status list(const Arguments& arguments, const std::string& what) {
  TRY(const auto control, net::Endpoint::parse(arguments.control));
  Json answer;
  if (what == "universes") {
    TRY(answer, dream::ask(control, "GET", "/v1/universes"));
  } else {
    // What this program knows; no dream needs to run for it.
    answer = what == "fixtures" ? testnet::fixtures_json() : testnet::services_json();
  }
  if (arguments.json)
    fmt::print("{}\n", answer.dump(2));
  else
    fmt::print("{}", dream::list_of(answer[what], what));
  return {};
}

Status logs(const Arguments& arguments) {
  TRY(const auto control, net::Endpoint::parse(arguments.control));
  TRY(const std::string universe, dream::universe_meant(control, arguments.universe));
  const std::string target = fmt::format(
      "/v1/universes/{}/logs?node={}&level={}&lines={}&follow={}", cli::url_encode(universe),
      cli::url_encode(arguments.which), cli::url_encode(arguments.log_level), arguments.lines,
      arguments.follow ? "true" : "false");
  return dream::read_lines(control, target, [&](const Json& line) -> Status {
    fmt::print("{}\n", arguments.json ? line.dump() : dream::log_text_of(line));
    std::fflush(stdout);
    return {};
  });
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
  int exit_code = 0;
  const auto control_option = [&](CLI::App* command) {
    command->add_option("--control", arguments.control, "Address of dream's control API")
        ->capture_default_str();
  };
  const auto json_flag = [&](CLI::App* command) {
    command->add_flag("--json", arguments.json, "JSON instead of text");
  };
  const auto universe_option = [&](CLI::App* command) {
    command->add_option("--universe", arguments.universe, "Which; not needed when there is one");
  };
  const auto fixture_options = [&](CLI::App* command) {
    command->add_option("--path", arguments.fixture.path, "Folder of the project")
        ->capture_default_str();
    command->add_option("--branch", arguments.fixture.branch)->capture_default_str();
    command->add_option("--label", arguments.fixture.label,
                        "First host name of a project that is new to the universe");
    command->add_flag("--no-follow", arguments.no_follow, "Do not wait for the build");
  };

  auto* fresh = app.add_subcommand("new", "Start something");
  fresh->require_subcommand(1);
  auto* multiverse = fresh->add_subcommand("multiverse", "Start the local cloud");
  multiverse->add_flag("--daemon", arguments.daemon, "Return when it is ready; it runs on");
  multiverse->add_flag("--keep", arguments.run.keep,
                       "Keep everything, and start from what was kept (~/.local/share/tau/dream)");
  multiverse->add_option("--data", arguments.data, "Keep it in this folder instead");
  multiverse->add_option("--universe", arguments.run.universes,
                         "Its universes; else those that were kept, or blackhole");
  multiverse->add_flag("--empty", arguments.run.empty, "Universes without services");
  multiverse
      ->add_option("--http-port", arguments.run.http_port,
                   "Of the first universe's functions; 0: a free one")
      ->capture_default_str();
  multiverse
      ->add_option("--api-port", arguments.run.api_port,
                   "Of its repositories; 0, or if it is taken: a free one")
      ->capture_default_str();
  multiverse->add_option("--dns-port", arguments.run.dns_port, "Of its DNS; 0: a free one")
      ->capture_default_str();
  multiverse->add_option("--log-level", arguments.log_level)->capture_default_str();
  multiverse->add_flag("--json", arguments.json, "One line of JSON when it is ready");
  control_option(multiverse);
  multiverse->callback([&] { status = start(arguments); });

  auto* universe = fresh->add_subcommand("universe", "Start one more universe");
  universe->add_option("name", arguments.name, "A part of host names: LABEL.NAME.localhost")
      ->required();
  universe->add_flag("--empty", arguments.run.empty, "No services but those that are named");
  universe->add_option("--enable", arguments.enable, "Services")->delimiter(',');
  universe->add_option("--disable", arguments.disable, "Services")->delimiter(',');
  universe
      ->add_option("--bind", arguments.bind,
                   "SERVICE@PORT/KIND, KIND one of http, api, dns, p2p; SERVICE@N/copies")
      ->delimiter(',');
  universe->add_option("--copies", arguments.copies, "SERVICE=NUMBER of nodes")->delimiter(',');
  universe->add_flag("--keep", arguments.run.keep, "It outlives dream; a kept one goes on");
  universe->add_option("--fixtures", arguments.fixtures, "To inject when it is ready")
      ->delimiter(',');
  fixture_options(universe);
  json_flag(universe);
  control_option(universe);
  universe->callback([&] { status = new_universe(arguments); });

  auto* inject = app.add_subcommand("inject", "Add a node to a universe, or run a fixture on it");
  inject->require_subcommand(1);
  const auto inject_node = [&](CLI::App* command) {
    universe_option(command);
    json_flag(command);
    control_option(command);
  };
  auto* service = inject->add_subcommand("service", "One more node with this service");
  service->add_option("service", arguments.services)->required()->expected(1);
  service->add_option("--name", arguments.name, "Of the node; a killed one starts again");
  inject_node(service);
  service->callback([&] { status = inject_nodes(arguments); });
  auto* several = inject->add_subcommand("services", "One more node for each of these services");
  several->add_option("services", arguments.services)->required();
  inject_node(several);
  several->callback([&] { status = inject_nodes(arguments); });
  auto* simple = inject->add_subcommand("simple", "One more node without services");
  simple->add_option("name", arguments.name, "Of the node");
  inject_node(simple);
  simple->callback([&] { status = inject_nodes(arguments); });
  for (const std::string& name : node::service_names()) {
    auto* one = inject->add_subcommand(name, "One more node with " + name);
    one->add_option("--name", arguments.name, "Of the node; a killed one starts again");
    inject_node(one);
    one->callback([&, name] {
      arguments.services = {name};
      status = inject_nodes(arguments);
    });
  }
  for (const testnet::Fixture& fixture : testnet::fixtures()) {
    auto* one = inject->add_subcommand(std::string(fixture.name), std::string(fixture.summary));
    if (fixture.instead.empty()) {
      fixture_options(one);
      if (fixture.name == "push-specific")
        one->add_option("--repository", arguments.fixture.repository, "config or code")->required();
      if (fixture.name == "attach-domain")
        one->add_option("--fqdn", arguments.fixture.fqdn, "A label, or a full name")->required();
      if (fixture.name == "fake-project")
        one->add_option("--name", arguments.fixture.name)->capture_default_str();
    } else {
      one->allow_extras();
    }
    inject_node(one);
    one->callback([&, name = std::string(fixture.name), here = fixture.instead.empty()] {
      const auto run = [&]() -> Result<int> {
        TRY(const auto at, net::Endpoint::parse(arguments.control));
        std::string meant;
        if (here) {
          TRY(meant, dream::universe_meant(at, arguments.universe));
        }
        return inject_fixture(arguments, meant, name);
      };
      const auto code = run();
      if (!code) status = fail(code.error());
      if (code) exit_code = *code;
    });
  }

  auto* listed = app.add_subcommand("list", "What there is");
  listed->require_subcommand(1);
  for (const auto* what : {"universes", "services", "fixtures"}) {
    auto* one = listed->add_subcommand(what);
    json_flag(one);
    control_option(one);
    one->callback([&, what = std::string(what)] { status = list(arguments, what); });
  }

  auto* shown = app.add_subcommand("status", "Nodes of universes, or those that run a service");
  shown->add_option("what", arguments.kind, "A universe, a service, a node, or: universe");
  shown->add_option("which", arguments.which, "After `universe`: which");
  universe_option(shown);
  json_flag(shown);
  control_option(shown);
  shown->callback([&] { status = show(arguments); });

  auto* said = app.add_subcommand("logs", "What nodes said");
  said->add_option("node", arguments.which,
                   "A node, or a service that one node runs; none: all of them");
  said->add_flag("-f,--follow", arguments.follow, "Go on until Ctrl-C");
  said->add_option("--level", arguments.log_level, "At least debug, info, warning, error")
      ->default_str("info");
  said->add_option("--lines", arguments.lines, "The newest ones to begin with")
      ->capture_default_str();
  universe_option(said);
  json_flag(said);
  control_option(said);
  said->callback([&, said] {
    if (said->count("--level") == 0) arguments.log_level = "info";
    status = logs(arguments);
  });

  auto* kill = app.add_subcommand("kill", "End a node as a power cut does, or a universe");
  kill->add_option("what", arguments.kind,
                   "A node, a service that one node runs, or: node, universe")
      ->required();
  kill->add_option("which", arguments.which, "After `node` or `universe`: which");
  kill->add_flag("--erase", arguments.erase, "Of a universe: remove also what it kept");
  universe_option(kill);
  control_option(kill);
  kill->callback([&] { status = end(arguments); });

  dream::add_chaos(app, arguments.control, status);

  auto* stopped = app.add_subcommand("stop", "Stop the local cloud");
  control_option(stopped);
  stopped->callback([&] { status = stop(arguments); });

  manual::declare(app, about(), status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : kExitUsage;
  }
  if (status) return exit_code;
  std::cerr << "dream: " << status.error().message() << "\n";
  return 1;
}
