// What a universe consists of: which nodes run which services, and the ports that were asked for.
// Wishes come from a command line or a request; laying them out checks them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "http/json.h"

namespace tau::testnet {

// Of one laptop: each has a database and a libp2p host of its own.
inline constexpr std::size_t kNodesMax = 64;

struct NodePlan {
  std::string name;
  std::vector<std::string> services = {};  // none: a client, by which tools speak to the others
  std::uint16_t p2p_port = 0;              // 0: a free one each time
  bool joined = false;  // a tns node or patrick that came when others decided already
  friend bool operator==(const NodePlan&, const NodePlan&) = default;
};
// auth, seer, tns, patrick, two hoarders, two monkeys, two substrates, and dream's own client.
std::vector<NodePlan> default_plan();

// 0: nothing was asked for.
struct Ports {
  std::uint16_t http = 0, api = 0, dns = 0;
  friend bool operator==(const Ports&, const Ports&) = default;
};

struct Wishes {
  bool empty = false;                                  // only the client, and what `enable` names
  std::vector<std::string> enable = {}, disable = {};  // services
  std::vector<std::string> bind = {};                  // "substrate@8080/http": see parse_binding
  std::map<std::string, std::size_t> copies = {};      // nodes of a service
};

struct Layout {
  std::vector<NodePlan> nodes;
  Ports ports;
};

// Errors: invalid_argument: a service that there is not (names them), a binding or a number of
// copies that cannot be.
Result<Layout> lay_out(const Wishes& wishes);

// "SERVICE@PORT/KIND", the kind http (of the substrates), api (patrick), dns (the first seer) or
// p2p (a node, or the first one of a service); "SERVICE@N/copies" is a number of nodes. Errors:
// invalid_argument.
struct Binding {
  std::string of;
  std::uint16_t number = 0;
  std::string kind;
};
Result<Binding> parse_binding(std::string_view text);

// Errors: invalid_argument, naming the services that there are.
Status check_service(std::string_view service);
// Whether a network has one node of it at most: its records have one home.
bool is_single(std::string_view service);
// {"services": […]}: their names, and how many nodes of a usual universe run them.
http::Json services_json();
// "hoarder-3": the first name that none of the nodes has.
std::string free_name(std::string_view service, const std::vector<NodePlan>& nodes);

// 1 to 63 of a-z, 0-9 and '-', not at either end: it becomes a part of host names and of paths.
Status check_universe_name(std::string_view name);
Status check_node_name(std::string_view name);

// What a kept universe is started from again, as UNIVERSE/universe.json.
struct Kept {
  std::vector<NodePlan> nodes = default_plan();
  Ports ports = {};      // those that it had; taken again if they are free
  bool stopped = false;  // by `dream kill universe`: not started with the others
  friend bool operator==(const Kept&, const Kept&) = default;
};
http::Json to_json(const Kept& kept);
// Errors: invalid_argument (not ours), failed_precondition (of a newer dream).
Result<Kept> kept_from_json(const http::Json& json);

}  // namespace tau::testnet
