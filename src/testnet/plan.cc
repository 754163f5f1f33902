#include "testnet/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "node/config.h"
#include "services/auth/api.h"
#include "services/hoarder/api.h"
#include "services/monkey/api.h"
#include "services/patrick/api.h"
#include "services/seer/api.h"
#include "services/substrate/api.h"
#include "services/tns/api.h"

namespace tau::testnet {
namespace {

using http::Json;

constexpr std::uint64_t kFormat = 1;  // of universe.json
constexpr std::string_view kClient = "client";

bool has(const std::vector<std::string>& list, std::string_view what) {
  return std::ranges::find(list, what) != list.end();
}

// In the order of the table that people see.
const std::vector<std::pair<std::string_view, std::size_t>>& usual_copies() {
  static const std::vector<std::pair<std::string_view, std::size_t>> all = {
      {auth::kRole, 1},    {seer::kRole, 1},   {tns::kRole, 1},      {patrick::kRole, 1},
      {hoarder::kRole, 2}, {monkey::kRole, 2}, {substrate::kRole, 2}};
  return all;
}

// The first of a service that usually has one node has the service's name alone.
std::string name_of_copy(std::string_view service, std::size_t index) {
  const auto usual =
      std::ranges::find(usual_copies(), service, [](auto& one) { return one.first; });
  const bool alone = usual != usual_copies().end() && usual->second == 1;
  return alone && index == 0 ? std::string(service) : fmt::format("{}-{}", service, index + 1);
}

Status check_label(std::string_view what, std::string_view name) {
  const bool fine = !name.empty() && name.size() <= 63 && name.front() != '-' &&
                    name.back() != '-' && std::ranges::all_of(name, [](char c) {
                      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
                    });
  if (fine) return {};
  return fail(ErrorCode::invalid_argument,
              fmt::format("{} \"{}\": use 1 to 63 of a-z, 0-9 and '-', and begin and end with a "
                          "letter or digit",
                          what, name.substr(0, 80)));
}

Status check_copies(std::string_view service, std::size_t copies) {
  TRY_STATUS(check_service(service));
  if (copies > 1 && is_single(service))
    return fail(ErrorCode::invalid_argument,
                fmt::format("{} copies of {}: a universe has one at most, because its records "
                            "have one home",
                            copies, service));
  if (copies <= kNodesMax) return {};
  return fail(
      ErrorCode::invalid_argument,
      fmt::format("{} copies of {}: a universe has at most {} nodes", copies, service, kNodesMax));
}

Status bind_p2p(std::vector<NodePlan>& nodes, const Binding& binding) {
  auto node = std::ranges::find(nodes, binding.of, &NodePlan::name);
  if (node == nodes.end())
    node = std::ranges::find_if(nodes, [&](auto& one) { return has(one.services, binding.of); });
  if (node == nodes.end())
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("--bind {}@{}/p2p: the universe has no such node", binding.of, binding.number));
  node->p2p_port = binding.number;
  return {};
}

Status bind_port(Layout& layout, const Binding& binding) {
  struct Kind {
    std::string_view kind, service;
    std::uint16_t Ports::* port;
  };
  static constexpr Kind kKinds[] = {{"http", substrate::kRole, &Ports::http},
                                    {"api", patrick::kRole, &Ports::api},
                                    {"dns", seer::kRole, &Ports::dns}};
  if (binding.kind == "p2p") return bind_p2p(layout.nodes, binding);
  const auto* kind = std::ranges::find(kKinds, binding.kind, &Kind::kind);
  if (kind == std::end(kKinds))
    return fail(ErrorCode::invalid_argument,
                fmt::format("--bind {}@{}/{}: the kind is http, api, dns, p2p or copies",
                            binding.of, binding.number, binding.kind));
  if (binding.of != kind->service)
    return fail(ErrorCode::invalid_argument,
                fmt::format("--bind {}@{}/{}: {} belongs to {} ({}@{}/{})", binding.of,
                            binding.number, binding.kind, binding.kind, kind->service,
                            kind->service, binding.number, binding.kind));
  layout.ports.*(kind->port) = binding.number;
  return {};
}

}  // namespace

std::vector<NodePlan> default_plan() {
  std::vector<NodePlan> nodes;
  for (const auto& [service, copies] : usual_copies()) {
    for (std::size_t i = 0; i < copies; ++i)
      nodes.push_back({name_of_copy(service, i), {std::string(service)}});
  }
  nodes.push_back({std::string(kClient)});
  return nodes;
}

Result<Binding> parse_binding(std::string_view text) {
  const auto at = text.find('@');
  const auto slash = text.find('/', at == text.npos ? 0 : at);
  if (at != text.npos && slash != text.npos) {
    const std::string_view number = text.substr(at + 1, slash - at - 1);
    Binding binding{std::string(text.substr(0, at)), 0, std::string(text.substr(slash + 1))};
    const auto* end = number.data() + number.size();
    const auto parsed = std::from_chars(number.data(), end, binding.number);
    if (!binding.of.empty() && parsed.ec == std::errc() && parsed.ptr == end && !number.empty())
      return binding;
  }
  return fail(ErrorCode::invalid_argument,
              fmt::format("\"{}\" is no binding: write SERVICE@PORT/KIND, such as "
                          "substrate@8080/http, patrick@1500/api, seer@5300/dns, auth@4001/p2p",
                          text.substr(0, 100)));
}

Status check_service(std::string_view service) {
  const auto& all = node::service_names();
  if (has(all, service)) return {};
  return fail(
      ErrorCode::invalid_argument,
      fmt::format("no service \"{}\"; there are: {}", service.substr(0, 80), fmt::join(all, ", ")));
}

bool is_single(std::string_view service) {
  return service == auth::kRole;
}

Json services_json() {
  Json services = Json::array();
  for (const auto& [name, copies] : usual_copies())
    services.push_back({{"name", name}, {"copies", copies}, {"single", is_single(name)}});
  return {{"services", std::move(services)}};
}

std::string free_name(std::string_view service, const std::vector<NodePlan>& nodes) {
  for (std::size_t i = 0;; ++i) {
    std::string name = name_of_copy(service, i);
    if (std::ranges::find(nodes, name, &NodePlan::name) == nodes.end()) return name;
  }
}

Status check_universe_name(std::string_view name) { return check_label("universe", name); }
Status check_node_name(std::string_view name) { return check_label("node", name); }

Result<Layout> lay_out(const Wishes& wishes) {
  std::map<std::string, std::size_t, std::less<>> copies;
  for (const auto& [service, usual] : usual_copies())
    copies[std::string(service)] = wishes.empty ? 0 : usual;
  for (const auto& service : wishes.enable) {
    TRY_STATUS(check_service(service));
    if (copies[service] > 0) continue;
    for (const auto& [known, usual] : usual_copies())
      if (known == service) copies[service] = usual;
  }
  for (const auto& service : wishes.disable) {
    TRY_STATUS(check_service(service));
    if (has(wishes.enable, service))
      return fail(ErrorCode::invalid_argument, service + " is both enabled and disabled");
    copies[service] = 0;
  }
  std::vector<Binding> bindings;
  for (const auto& text : wishes.bind) {
    TRY(Binding binding, parse_binding(text));
    if (binding.kind == "copies") {
      TRY_STATUS(check_copies(binding.of, binding.number));
      copies[binding.of] = binding.number;
    } else {
      bindings.push_back(std::move(binding));
    }
  }
  for (const auto& [service, wanted] : wishes.copies) {
    TRY_STATUS(check_copies(service, wanted));
    copies[service] = wanted;
  }

  Layout layout;
  for (const auto& [service, usual] : usual_copies()) {
    const std::size_t wanted = copies[std::string(service)];
    for (std::size_t i = 0; i < wanted; ++i)
      layout.nodes.push_back({name_of_copy(service, i), {std::string(service)}});
  }
  layout.nodes.push_back({std::string(kClient)});
  if (layout.nodes.size() > kNodesMax)
    return fail(ErrorCode::invalid_argument,
                fmt::format("{} nodes: a universe has at most {}", layout.nodes.size(), kNodesMax));
  for (const Binding& binding : bindings) TRY_STATUS(bind_port(layout, binding));
  return layout;
}

Json to_json(const Kept& kept) {
  Json nodes = Json::array();
  for (const NodePlan& node : kept.nodes) {
    nodes.push_back(
        {{"name", node.name}, {"services", node.services}, {"p2p_port", node.p2p_port}});
    if (node.joined) nodes.back()["joined"] = true;
  }
  return {{"format", kFormat},
          {"nodes", std::move(nodes)},
          {"ports", {{"http", kept.ports.http}, {"api", kept.ports.api}, {"dns", kept.ports.dns}}},
          {"stopped", kept.stopped}};
}

Result<Kept> kept_from_json(const Json& json) {
  const auto broken = [](std::string_view what) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: not as dream writes it; remove the file to start the universe "
                            "with the usual nodes, its data stays",
                            what));
  };
  if (!json.is_object()) return broken("no object");
  const auto format = json.find("format");
  if (format == json.end() || !format->is_number_unsigned()) return broken("format");
  if (format->get<std::uint64_t>() > kFormat)
    return fail(ErrorCode::failed_precondition,
                fmt::format("format {}, written by a newer dream; this one reads up to {}: use "
                            "the newer one",
                            format->get<std::uint64_t>(), kFormat));
  Kept kept;
  kept.nodes.clear();
  const auto number = [](const Json& object, const char* key) -> std::optional<std::uint16_t> {
    const auto it = object.find(key);
    if (it == object.end() || !it->is_number_unsigned() || it->get<std::uint64_t>() > 65535)
      return std::nullopt;
    return it->get<std::uint16_t>();
  };
  const auto nodes = json.find("nodes");
  if (nodes == json.end() || !nodes->is_array() || nodes->size() > kNodesMax)
    return broken("nodes");
  for (const Json& one : *nodes) {
    const auto port = one.is_object() ? number(one, "p2p_port") : std::nullopt;
    if (!port || !one.contains("name") || !one["name"].is_string() || !one.contains("services") ||
        !one["services"].is_array())
      return broken("nodes");
    NodePlan node{one["name"].get<std::string>(), {}, *port};
    node.joined = one.contains("joined") && one["joined"] == true;
    TRY_STATUS(check_node_name(node.name));
    if (std::ranges::find(kept.nodes, node.name, &NodePlan::name) != kept.nodes.end())
      return broken("nodes: " + node.name + " twice");
    for (const Json& service : one["services"]) {
      if (!service.is_string()) return broken("services");
      TRY_STATUS(check_service(service.get<std::string>()));
      node.services.push_back(service.get<std::string>());
    }
    kept.nodes.push_back(std::move(node));
  }
  if (const auto ports = json.find("ports"); ports != json.end() && ports->is_object()) {
    kept.ports = {number(*ports, "http").value_or(0), number(*ports, "api").value_or(0),
                  number(*ports, "dns").value_or(0)};
  }
  const auto stopped = json.find("stopped");
  kept.stopped = stopped != json.end() && stopped->is_boolean() && stopped->get<bool>();
  return kept;
}

}  // namespace tau::testnet
