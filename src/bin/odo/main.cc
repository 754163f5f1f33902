// odo: one node of a network.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>

#include "bin/manual/manual.h"
#include "bin/odo/membership.h"
#include "bin/odo/names.h"
#include "http/json.h"
#include "node/local_process.h"
#include "node/network.h"
#include "node/node.h"
#include "node/stop_signal.h"
#include "runtime/one_shot.h"
#include "runtime/task_group.h"

namespace {

using namespace tau;
namespace fs = std::filesystem;

// A stat and a read of a kilobyte.
constexpr Duration kLookForCertificateEvery = std::chrono::seconds(2);
constexpr int kExitUsage = 2;  // wrong arguments; 1 is for everything else that fails

int complain(const Error& error) {
  std::cerr << "odo: " << error.message() << "\n";
  return 1;
}

http::Json describe(const node::Node& node) {
  const auto at = [](const std::optional<net::Endpoint>& endpoint) {
    return endpoint ? http::Json(endpoint->to_string()) : http::Json(nullptr);
  };
  return {{"ready", node.name()},    {"id", node.id().str()}, {"addresses", node.addresses()},
          {"http", at(node.http())}, {"dns", at(node.dns())}, {"api", at(node.api())}};
}

// Looks at the certificate's file: whoever puts a renewed one there need not restart the node.
Task<void> watch_certificate(node::Node& node, fs::path file, Logger log) {
  auto last = node::read_small_file(file);
  while (co_await runtime::sleep_for(kLookForCertificateEvery)) {
    auto found = node::read_small_file(file);
    if (!found || (last && *last == *found)) continue;
    const auto renewed = co_await node.renew(to_bytes(*found));
    if (!renewed)
      log.warning(file.string() + " has changed and is of no use: " + renewed.error().message());
    last = std::move(found);
  }
}

// Runs the node until a signal, or until it can't start. Prints one line when it is up:
// {"ready": NAME, …} on standard output, for whoever started it.
Task<Status> run(node::Node& node, runtime::Loop& loop, Logger log,
                 runtime::OneShot<void> told_to_stop) {
  const fs::path certificate = node.options().identity_certificate;
  node.on_renewed([certificate](const Bytes& fresh) {
    return node::replace_file(certificate, fresh);  // a kilobyte, once in months
  });
  CO_TRY_STATUS(node.start());
  runtime::TaskGroup watching(loop);
  watching.spawn(watch_certificate(node, certificate, log));
  fmt::print("{}\n", describe(node).dump());
  std::fflush(stdout);
  (void)co_await told_to_stop;
  co_await watching.stop();
  co_await node.stop();
  co_return Status{};
}

Status start(const fs::path& config) {
  TRY(const node::Options options, node::read_config(config));
  const Logger log = Logger::to_stderr("odo", options.log_level);
  runtime::RealLoop loop;
  runtime::OneShot<void> told_to_stop(loop);
  const node::StopSignal stop_signal(loop, [told_to_stop]() mutable { told_to_stop.set({}); });
  TRY(auto identity, node::read_identity(options, loop.wall_unix_ms()));
  TRY(const auto root, node::parse_root_key(options.network_root_key));
  const p2p::Admission admission(root, identity.certificate());
  node::LocalProcess process(loop, log);
  const std::string name = fs::absolute(config).parent_path().filename().string();
  node::Node node(process, name, options, std::move(identity), admission, log);
  return runtime::block_on(loop, run(node, loop, log, told_to_stop));
}

Status show(const std::string& config) {
  node::Options options;
  if (!config.empty()) {
    TRY(options, node::read_config(config));
  }
  std::cout << node::show_config(options);
  return {};
}

std::string indented(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (out.empty() || out.back() == '\n') out += "  ";
    out += c;
  }
  return out;
}

manual::About about() {
  return {
      {{"FILES",
        "Every setting of a config.yaml, with its default, is in what `odo config show` "
        "prints:\n\n" +
            indented(node::show_config({}))},
       {"SIGNALS",
        "SIGTERM and SIGINT end a node: it says goodbye and writes out what it has. kill -9 and "
        "a power cut lose nothing that was acknowledged. A certificate that is replaced in its "
        "file "
        "is taken within seconds, without a restart."},
       {"EXAMPLE",
        "  odo network create mynet --name mynet\n"
        "  odo node create mynet one --services auth,tns,patrick,seer,hoarder,monkey,substrate\n"
        "  odo start --config mynet/one/config.yaml"}},
      "tau(1), dream(1)"};
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("odo runs one node of a tau network", "odo");
  app.require_subcommand(1);
  Status status;
  SystemRandom random;
  const SystemClock clock;

  std::string config;
  auto* start_command = app.add_subcommand("start", "Run a node until SIGTERM or SIGINT");
  start_command->add_option("--config", config, "The node's config.yaml")->required();
  start_command->callback([&] { status = start(config); });

  auto* config_command = app.add_subcommand("config", "What a node is told");
  config_command->require_subcommand(1);
  auto* show_command =
      config_command->add_subcommand("show", "Print the effective config with each default");
  show_command->add_option("--config", config, "A node's config.yaml; without it: all defaults");
  show_command->callback([&] { status = show(config); });

  auto* network = app.add_subcommand("network", "A network's root key");
  network->require_subcommand(1);
  node::NewNetwork new_network;
  auto* network_create = network->add_subcommand("create", "Make a network in a folder");
  network_create->add_option("folder", new_network.folder)->required();
  network_create->add_option("--name", new_network.name, "For people")->capture_default_str();
  network_create->add_option("--suffix", new_network.suffix,
                             "Where labels live; default NAME.localhost");
  network_create->callback([&] {
    status = node::create_network(new_network, random);
    if (status) fmt::print("{}\n", (new_network.folder / "network.yaml").string());
  });

  auto* node_command = app.add_subcommand("node", "A network's nodes");
  node_command->require_subcommand(1);
  node::NewNode new_node;
  std::string api, dns;
  auto* node_create = node_command->add_subcommand(
      "create", "Make a node in a network's folder: key, certificate, config");
  node_create->add_option("network", new_node.network, "The folder of `odo network create`")
      ->required();
  node_create->add_option("name", new_node.name)->required();
  node_create->add_option("--services", new_node.options.services, "tns,patrick,…")->delimiter(',');
  node_create->add_option("--listen", new_node.options.p2p_listen, "Multiaddrs")->delimiter(',');
  node_create->add_option("--bootstrap", new_node.options.p2p_bootstrap, "Multiaddrs with /p2p/ID")
      ->delimiter(',');
  node_create->add_option("--http-address", new_node.options.http_address);
  node_create->add_option("--http-port", new_node.options.http_port);
  node_create->add_flag("--http-entry", new_node.options.http_entry, "Answer on 127.0.0.1, too");
  node_create->add_option("--api", api, "ADDRESS:PORT for tau and git");
  node_create->add_option("--dns", dns, "ADDRESS:PORT of seer's DNS");
  node_create->add_option("--voters", new_node.options.consensus_voters, "Peer ids")
      ->delimiter(',');
  node_create->callback([&] {
    for (auto [text, place] : {std::pair{&api, &new_node.options.api_listen},
                               std::pair{&dns, &new_node.options.dns_listen}}) {
      if (text->empty() || !status) continue;
      auto endpoint = net::Endpoint::parse(*text);
      if (!endpoint) {
        status = fail(std::move(endpoint).error());
      } else {
        *place = *endpoint;
      }
    }
    if (!status) return;
    const auto made = node::create_node(new_node, random, clock.wall_unix_ms());
    if (!made) {
      status = fail(made.error());
    } else {
      fmt::print("{}\n", made->string());
    }
  });

  odo::declare_membership(app, *network, status);
  odo::declare_names(app, status);
  manual::declare(app, about(), status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : kExitUsage;
  }
  return status ? 0 : complain(status.error());
}
