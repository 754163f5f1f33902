#include "testnet/control.h"

#include <fmt/format.h>

#include <algorithm>

namespace tau::testnet {
namespace {

using http::Json;

Json endpoint_json(const std::optional<net::Endpoint>& endpoint) {
  return endpoint ? Json(endpoint->to_string()) : Json(nullptr);
}

// The path below /v1/universes/{universe}/cloud, as it was sent.
std::string_view below_cloud(std::string_view path) {
  for (int segment = 0; segment < 4; ++segment) {
    path.remove_prefix(1);
    path.remove_prefix(std::min(path.find('/'), path.size()));
  }
  return path.empty() ? "/" : path;
}

Json schema_ref(std::string_view name) {
  return {{"$ref", fmt::format("#/components/schemas/{}", name)}};
}
Json array_of(Json items) { return {{"type", "array"}, {"items", std::move(items)}}; }
Json text(std::string_view description) {
  return {{"type", "string"}, {"description", description}};
}
Json text_or_null(std::string_view description) {
  return {{"type", {"string", "null"}}, {"description", description}};
}

Json schemas() {
  return {
      {"Node",
       {{"type", "object"},
        {"required", {"name", "id", "services", "state", "peers", "addresses"}},
        {"properties",
         {{"name", text("substrate-1")},
          {"id", text("libp2p peer id")},
          {"services", array_of(text("auth, tns, hoarder, patrick, monkey, seer, substrate"))},
          {"state", text("starting, running, stopping, stopped or killed")},
          {"peers", {{"type", "integer"}, {"description", "connected nodes"}}},
          {"addresses", array_of(text("multiaddr"))},
          {"http", text_or_null("where the substrate answers")},
          {"dns", text_or_null("where seer answers DNS")},
          {"api", text_or_null("where tau and git reach it")}}}}},
      {"Universe",
       {{"type", "object"},
        {"required", {"name", "suffix", "ready", "nodes"}},
        {"properties",
         {{"name", text("blackhole")},
          {"suffix", text("labels are served below it: hello.blackhole.localhost")},
          {"ready", {{"type", "boolean"}}},
          {"ready_after_ms",
           {{"type", {"number", "null"}}, {"description", "from start until ready"}}},
          {"entry", text_or_null("HTTP, answered by any live substrate")},
          {"dns", text_or_null("the first seer's DNS")},
          {"nodes", array_of(schema_ref("Node"))}}}}},
      {"Universes",
       {{"type", "object"},
        {"required", {"universes"}},
        {"properties", {{"universes", array_of(schema_ref("Universe"))}}}}},
      {"Nodes",
       {{"type", "object"},
        {"required", {"nodes"}},
        {"properties", {{"nodes", array_of(schema_ref("Node"))}}}}},
      {"Done", {{"type", "object"}}},
      {"Error",
       {{"type", "object"},
        {"required", {"error"}},
        {"properties",
         {{"error",
           {{"type", "object"},
            {"required", {"code", "message"}},
            {"properties", {{"code", text("not_found")}, {"message", text("what and why")}}}}}}}}},
  };
}

// What each operation answers, by its id.
std::string_view answer_of(std::string_view id) {
  if (id == "listUniverses") return "Universes";
  if (id == "getUniverse") return "Universe";
  if (id == "listNodes") return "Nodes";
  return "Done";
}

}  // namespace

const std::vector<Control::Operation>& Control::operations() {
  static const std::vector<Operation> all = {
      {"GET", "/openapi.json", "getDocument", "This document."},
      {"GET", "/v1/universes", "listUniverses", "All universes with their nodes."},
      {"GET", "/v1/universes/{universe}", "getUniverse", "One universe with its nodes."},
      {"DELETE", "/v1/universes/{universe}", "deleteUniverse", "Stops a universe."},
      {"GET", "/v1/universes/{universe}/nodes", "listNodes", "The nodes of a universe."},
      {"DELETE", "/v1/universes/{universe}/nodes/{node}", "deleteNode",
       "Kills a node as a power cut does: by its name, its peer id, or a service that it alone "
       "runs."},
      {"POST", "/v1/stop", "stop", "Stops every universe, and dream itself."},
  };
  return all;
}

Json to_json(const Universe::NodeView& node) {
  return {{"name", node.name},
          {"id", node.id.str()},
          {"services", node.services},
          {"state", node.state},
          {"peers", node.peers},
          {"addresses", node.addresses},
          {"http", endpoint_json(node.http)},
          {"dns", endpoint_json(node.dns)},
          {"api", endpoint_json(node.api)}};
}

Json to_json(const Universe& universe) {
  Json nodes = Json::array();
  for (const auto& node : universe.nodes()) nodes.push_back(to_json(node));
  const auto after = universe.ready_after();
  return {
      {"name", universe.name()},
      {"suffix", universe.suffix()},
      {"ready", universe.ready()},
      {"ready_after_ms", after ? Json(static_cast<double>(after->count()) / 1e6) : Json(nullptr)},
      {"entry", endpoint_json(universe.entry())},
      {"dns", endpoint_json(universe.dns())},
      {"nodes", std::move(nodes)}};
}

Json Control::openapi() {
  Json paths = Json::object();
  for (const Operation& operation : operations()) {
    Json parameters = Json::array();
    for (const std::string_view name : {"universe", "node"}) {
      if (operation.path.find(fmt::format("{{{}}}", name)) != std::string_view::npos)
        parameters.push_back(
            {{"name", name}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}});
    }
    std::string method(operation.method);
    std::ranges::transform(method, method.begin(), [](unsigned char c) { return std::tolower(c); });
    const Json error = {{"description", "What, why, and what to do."},
                        {"content", {{"application/json", {{"schema", schema_ref("Error")}}}}}};
    const Json answer = {
        {"description", operation.summary},
        {"content", {{"application/json", {{"schema", schema_ref(answer_of(operation.id))}}}}}};
    paths[std::string(operation.path)][method] = {
        {"operationId", operation.id},
        {"summary", operation.summary},
        {"parameters", std::move(parameters)},
        {"responses", {{"200", answer}, {"default", error}}}};
  }
  return {{"openapi", "3.1.0"},
          {"info",
           {{"title", "dream control API"},
            {"version", "1"},
            {"description",
             "Universes of a local cloud. Each universe's own API for users is mounted at "
             "/v1/universes/{universe}/cloud; it has a document of its own there."}}},
          {"paths", std::move(paths)},
          {"components", {{"schemas", schemas()}}}};
}

Control::Control(runtime::Loop& loop, net::Network& network, Multiverse& multiverse, Logger log)
    : loop_(loop),
      network_(network),
      multiverse_(multiverse),
      log_(log),
      server_(loop, http::fenced({}, router_.as_handler()), {}, log),
      stop_signal_(loop) {
  for (const Operation& operation : operations())
    router_.add_json(operation.method, operation.path, handler_of(operation.id));
  for (const std::string_view method : {"GET", "POST", "PUT", "PATCH", "DELETE"}) {
    router_.add(method, "/v1/universes/{universe}/cloud/{rest...}",
                [this](http::Request& request, http::ResponseWriter& response) {
                  return cloud(request, response);
                });
  }
}

http::Router::JsonHandler Control::handler_of(std::string_view id) {
  using Method = Task<Result<Json>> (Control::*)(http::Request&);
  static const std::vector<std::pair<std::string_view, Method>> methods = {
      {"getDocument", &Control::document},
      {"listUniverses", &Control::list_universes},
      {"getUniverse", &Control::get_universe},
      {"deleteUniverse", &Control::delete_universe},
      {"listNodes", &Control::list_nodes},
      {"deleteNode", &Control::delete_node},
      {"stop", &Control::stop_all},
  };
  for (const auto& [known, method] : methods) {
    if (known == id)
      return [this, method](http::Request& request) { return (this->*method)(request); };
  }
  CHECK(false);
  return {};
}

Task<Status> Control::start(net::Endpoint at) {
  auto listener = network_.listen(at);
  if (!listener) {
    if (listener.error().code() == ErrorCode::already_exists)
      co_return fail(
          ErrorCode::already_exists,
          fmt::format("{} is taken: a dream runs already (`dream status`, `dream stop`), "
                      "or give another with --control",
                      at.to_string()));
    co_return fail(std::move(listener).error().context("control API"));
  }
  local_ = (*listener)->local();
  server_.serve(*std::move(listener));
  co_return Status{};
}

Task<void> Control::stop() { return server_.stop(); }

Task<Status> Control::wait_for_stop() {
  while (!stop_requested_) CO_TRY_STATUS(stop_signal_.wait());
  co_return Status{};
}

void Control::request_stop() {
  stop_requested_ = true;
  stop_signal_.notify_all();
}

Task<Result<Json>> Control::document(http::Request&) { co_return openapi(); }

Task<Result<Json>> Control::list_universes(http::Request&) {
  Json universes = Json::array();
  for (const Universe* universe : multiverse_.all()) universes.push_back(to_json(*universe));
  co_return Json{{"universes", std::move(universes)}};
}

Task<Result<Json>> Control::get_universe(http::Request& request) {
  CO_TRY_SYNC(const Universe* universe, multiverse_.find(request.parameter("universe")));
  co_return to_json(*universe);
}

Task<Result<Json>> Control::delete_universe(http::Request& request) {
  CO_TRY_STATUS(multiverse_.remove(std::string(request.parameter("universe"))));
  co_return Json::object();
}

Task<Result<Json>> Control::list_nodes(http::Request& request) {
  CO_TRY_SYNC(const Universe* universe, multiverse_.find(request.parameter("universe")));
  Json nodes = Json::array();
  for (const auto& node : universe->nodes()) nodes.push_back(to_json(node));
  co_return Json{{"nodes", std::move(nodes)}};
}

Task<Result<Json>> Control::delete_node(http::Request& request) {
  CO_TRY_SYNC(Universe * universe, multiverse_.find(request.parameter("universe")));
  CO_TRY_STATUS(universe->kill(std::string(request.parameter("node"))));
  co_return Json::object();
}

Task<Result<Json>> Control::stop_all(http::Request&) {
  // The answer leaves first: the server drains before it stops.
  loop_.post([this] { request_stop(); });
  co_return Json::object();
}

Task<void> Control::cloud(http::Request& request, http::ResponseWriter& response) {
  const auto universe = multiverse_.find(request.parameter("universe"));
  if (!universe) {
    response.send(http::error_response(universe.error()));
    co_return;
  }
  const std::string path(below_cloud(request.path));
  http::Request inner = request;
  inner.path = path;
  co_await (*universe)->serve_cloud(inner, response);
}

}  // namespace tau::testnet
