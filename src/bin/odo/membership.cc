#include "bin/odo/membership.h"

#include <fmt/format.h>

#include <memory>

#include "bin/odo/node_call.h"
#include "node/issuing.h"
#include "node/node_api.h"
#include "p2p/conduct.h"

namespace tau::odo {
namespace {

namespace fs = std::filesystem;
using http::Json;

struct Orders {
  node::Renewal renewal;
  std::vector<std::string> nodes;
  bool all = false;
  unsigned days = 365;
  node::RevocationOrder revocation;
  std::string give, api;
  bool json = false;
};

std::string text_of(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }

std::vector<std::string> nodes_in(const fs::path& network) {
  std::vector<std::string> out;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(network, none))
    if (fs::exists(entry.path() / "node.certificate", none))
      out.push_back(entry.path().filename().string());
  std::ranges::sort(out);
  return out;
}

Status renew(const Orders& orders) {
  std::vector<std::string> nodes = orders.nodes;
  if (orders.all) nodes = nodes_in(orders.renewal.network);
  if (nodes.empty())
    return fail(ErrorCode::invalid_argument, "which nodes? Name them, or say --all");
  Json list = Json::array();
  Status status;
  for (const std::string& name : nodes) {
    node::Renewal renewal = orders.renewal;
    renewal.node = name;
    renewal.valid_for = std::chrono::hours(24) * orders.days;
    const auto renewed = node::renew_certificate(renewal, SystemClock().wall_unix_ms());
    if (!renewed) {
      if (!orders.all) return fail(renewed.error());
      fmt::print(stderr, "odo: {}: {}\n", name, renewed.error().message());
      status = fail(ErrorCode::failed_precondition, "not all were renewed");
      continue;
    }
    Json one = {{"node", name},
                {"id", renewed->certificate.peer.str()},
                {"file", renewed->file.string()},
                {"not_after_unix_ms", renewed->certificate.not_after_unix_ms}};
    if (!orders.give.empty()) {
      const auto given = call(orders.give, "POST", "/v1/node/certificates", text_of(renewed->raw));
      one["given"] = given.has_value();
      if (!given) {
        fmt::print(stderr, "odo: {} is renewed in {}, but was not brought there: {}\n", name,
                   renewed->file.string(), given.error().message());
        status = fail(ErrorCode::unavailable, "not all nodes have their certificate yet");
      }
    }
    if (!orders.json)
      fmt::print("{} until {}: {}\n", name, day_of(renewed->certificate.not_after_unix_ms),
                 renewed->file.string());
    list.push_back(std::move(one));
  }
  if (orders.json) fmt::print("{}\n", Json{{"renewed", list}}.dump());
  return status;
}

Status show_list(const Orders& orders, const std::shared_ptr<const p2p::Revocations>& list) {
  if (orders.json) {
    fmt::print("{}\n", Json{{"number", list ? list->number() : 0},
                            {"entries", list ? node::entries_of(*list) : Json::array()}}
                           .dump());
    return {};
  }
  if (!list || list->list().entries.empty()) {
    fmt::print("nothing is revoked\n");
    return {};
  }
  for (const p2p::Revocation& entry : list->list().entries)
    fmt::print("{}  {}{}  {}  {}\n", entry.peer.str(),
               entry.roles.empty() ? "all" : fmt::format("{}", fmt::join(entry.roles, ",")),
               entry.serial ? fmt::format(" of certificate {}", *entry.serial) : "",
               day_of(entry.since_unix_ms), entry.reason);
  return {};
}

// What became of a list that was changed: shown, and brought to a node if one is named.
Status pass_on(const Orders& orders, Result<std::shared_ptr<const p2p::Revocations>> list) {
  if (!list) return fail(std::move(list).error());
  if (!*list) return fail(ErrorCode::not_found, "nothing was ever revoked in this network");
  if (!orders.give.empty()) {
    const auto given = call(orders.give, "POST", "/v1/node/revocations", text_of((*list)->raw()));
    if (!given)
      return fail(Error(given.error())
                      .context("the list is written, but no node knows it yet (bring it with "
                               "`odo network give`)"));
  }
  TRY_STATUS(show_list(orders, *list));
  if (orders.give.empty() && !orders.json)
    fmt::print(
        "no node knows this yet: `odo network give {} --to http://ADDRESS:PORT` of any one "
        "node\n",
        orders.revocation.network.string());
  return {};
}

Status show_node(const Orders& orders) {
  TRY(const Json node, call(orders.api, "GET", "/v1/node", ""));
  if (orders.json) {
    fmt::print("{}\n", node.dump());
    return {};
  }
  fmt::print("{}  {}\n", node.value("name", ""), node.value("id", ""));
  const Json& certificate = node["certificate"];
  if (certificate.is_object()) {
    fmt::print("  may be {} until {}\n",
               fmt::join(certificate.value("roles", std::vector<std::string>()), ", "),
               day_of(certificate.value("not_after_unix_ms", std::int64_t{0})));
  } else {
    fmt::print("  is no member any more: its certificate has expired or was revoked\n");
  }
  fmt::print("  {} peers, revocations number {}\n", node.value("peers", 0),
             node.value("revocations", std::uint64_t{0}));
  return {};
}

Status show_peers(const Orders& orders) {
  TRY(const Json answer, call(orders.api, "GET", "/v1/node/peers", ""));
  if (orders.json) {
    fmt::print("{}\n", answer.dump());
    return {};
  }
  for (const Json& peer : answer["peers"])
    fmt::print("{}  {}  until {}\n", peer.value("id", ""),
               fmt::join(peer.value("roles", std::vector<std::string>()), ","),
               day_of(peer.value("not_after_unix_ms", std::int64_t{0})));
  for (const Json& bad : answer.value("conduct", Json::array())) {
    const auto until = bad.value("out_until_unix_ms", std::int64_t{0});
    const auto left = (until - SystemClock().wall_unix_ms()) / 1000 + 1;
    const std::string state = until > 0                    ? fmt::format("out for {} s", left)
                              : bad.value("slowed", false) ? "slowed down"
                                                           : "watched";
    fmt::print("{}  {}: score {} of {}, {}\n", bad.value("id", ""), state, bad.value("score", 0.0),
               p2p::Conduct::kLeaveAt, bad.value("last", ""));
  }
  return {};
}

void declare_renew(CLI::App& network, const std::shared_ptr<Orders>& o, Status& status) {
  auto* renew_command = network.add_subcommand(
      "renew", "Sign new certificates for nodes; running ones take them without a restart");
  renew_command->add_option("folder", o->renewal.network)->required();
  renew_command->add_option("node", o->nodes, "Names in the folder, or certificate files");
  renew_command->add_flag("--all", o->all, "Every node of the folder that is not revoked");
  renew_command->add_option("--days", o->days, "How long they are valid")->capture_default_str();
  renew_command->add_option("--services", o->renewal.services, "Other roles than before")
      ->delimiter(',');
  renew_command->add_option("--give", o->give,
                            "A node's API, which brings them to the nodes: http://ADDRESS:PORT");
  renew_command->add_flag("--json", o->json);
  renew_command->callback([o, &status] { status = renew(*o); });
}

void declare_revoke(CLI::App& network, const std::shared_ptr<Orders>& o, Status& status) {
  node::RevocationOrder& order = o->revocation;
  auto* revoke_command = network.add_subcommand(
      "revoke", "Take a node's membership, or some of its roles, back: at once, everywhere");
  revoke_command->add_option("folder", order.network)->required();
  revoke_command->add_option("node", order.node, "Its name, its certificate's file, or its peer id")
      ->required();
  revoke_command->add_option("--reason", order.reason, "What the node and people are told")
      ->required();
  revoke_command->add_option("--roles", order.roles, "Only these")->delimiter(',');
  revoke_command->add_flag("--certificate", order.this_certificate,
                           "Only the certificate in its file: a later one counts");
  revoke_command->add_option("--give", o->give, kApiHelp);
  revoke_command->add_flag("--json", o->json);
  revoke_command->callback([o, &status] {
    status = pass_on(*o, node::revoke(o->revocation, SystemClock().wall_unix_ms()));
  });

  auto* restore_command = network.add_subcommand("restore", "Take a revocation back");
  restore_command->add_option("folder", order.network)->required();
  restore_command->add_option("node", order.node, "As for revoke")->required();
  restore_command->add_option("--give", o->give, kApiHelp);
  restore_command->add_flag("--json", o->json);
  restore_command->callback([o, &status] {
    status = pass_on(
        *o, node::restore(o->revocation.network, o->revocation.node, SystemClock().wall_unix_ms()));
  });

  auto* list_command = network.add_subcommand("revocations", "What the network's folder revokes");
  list_command->add_option("folder", order.network)->required();
  list_command->add_flag("--json", o->json);
  list_command->callback([o, &status] {
    const auto list = node::read_revocations(o->revocation.network);
    status = list ? show_list(*o, *list) : Status(fail(list.error()));
  });

  auto* give_command =
      network.add_subcommand("give", "Bring the folder's revocations to a node, and so to all");
  give_command->add_option("folder", order.network)->required();
  give_command->add_option("--to", o->give, kApiHelp)->required();
  give_command->add_flag("--json", o->json);
  give_command->callback(
      [o, &status] { status = pass_on(*o, node::read_revocations(o->revocation.network)); });
}

}  // namespace

void declare_membership(CLI::App& app, CLI::App& network, Status& status) {
  const auto orders = std::make_shared<Orders>();
  declare_renew(network, orders, status);
  declare_revoke(network, orders, status);
  auto* status_command = app.add_subcommand("status", "What a running node says of itself");
  auto* peers_command = app.add_subcommand("peers", "Whom a running node is connected to");
  for (CLI::App* command : {status_command, peers_command}) {
    command->add_option("--api", orders->api, kApiHelp)->required();
    command->add_flag("--json", orders->json);
  }
  status_command->callback([orders, &status] { status = show_node(*orders); });
  peers_command->callback([orders, &status] { status = show_peers(*orders); });
}

}  // namespace tau::odo
