#include "testnet/control_document.h"

#include <fmt/format.h>

#include <algorithm>

namespace tau::testnet {
namespace {

using http::Json;

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

Json flag(std::string_view description) {
  return {{"type", "boolean"}, {"description", description}};
}
Json number(std::string_view description) {
  return {{"type", "integer"}, {"description", description}};
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
        {"required", {"name", "suffix", "kept", "ready", "nodes"}},
        {"properties",
         {{"name", text("blackhole")},
          {"suffix", text("labels are served below it: hello.blackhole.localhost")},
          {"kept", flag("whether what it has outlives dream")},
          {"ready", flag("every node answers")},
          {"ready_after_ms",
           {{"type", {"number", "null"}}, {"description", "from start until ready"}}},
          {"entry", text_or_null("HTTP, answered by any live substrate")},
          {"dns", text_or_null("the first seer's DNS")},
          {"api", text_or_null("where git reaches the repositories")},
          {"nodes", array_of(schema_ref("Node"))}}}}},
      {"Universes",
       {{"type", "object"},
        {"required", {"universes"}},
        {"properties", {{"universes", array_of(schema_ref("Universe"))}}}}},
      {"Nodes",
       {{"type", "object"},
        {"required", {"nodes"}},
        {"properties", {{"nodes", array_of(schema_ref("Node"))}}}}},
      {"NewUniverse",
       {{"type", "object"},
        {"required", {"name"}},
        {"properties",
         {{"name", text("a part of host names")},
          {"empty", flag("no services but those of enable, bind and copies")},
          {"enable", array_of(text("service"))},
          {"disable", array_of(text("service"))},
          {"bind", array_of(text("SERVICE@PORT/KIND: http, api, dns or p2p"))},
          {"copies",
           {{"type", "object"}, {"additionalProperties", number("nodes of this service")}}},
          {"keep", flag("it outlives dream; one that was kept goes on")}}}}},
      {"NewNode",
       {{"type", "object"},
        {"properties",
         {{"name", text("one that was killed starts again; else SERVICE-N is found")},
          {"services", array_of(text("none: a client"))},
          {"p2p_port", number("0: a free one")}}}}},
      {"Fault",
       {{"type", "object"},
        {"required", {"fault", "nodes"}},
        {"properties",
         {{"fault", text("kill, pause, partition, delay, disk-full or slow-disk")},
          {"nodes", array_of(text("a node, or a service that one node runs"))},
          {"for_ms", number("how long; absent: until it is healed")},
          {"by_ms", number("of delay and slow-disk: how much slower")},
          {"one_way", flag("of partition: the nodes hear, and are not heard")},
          {"at_ms", number("when it began, after the first of the record")}}}}},
      {"Chaos",
       {{"type", "object"},
        {"required", {"active", "record"}},
        {"properties",
         {{"active", array_of(schema_ref("Fault"))}, {"record", array_of(schema_ref("Fault"))}}}}},
      {"Services",
       {{"type", "object"},
        {"required", {"services"}},
        {"properties",
         {{"services",
           array_of({{"type", "object"},
                     {"properties",
                      {{"name", text("substrate")},
                       {"copies", number("nodes of a usual universe")},
                       {"single", flag("a universe has one home for its records")}}}})}}}}},
      {"Fixtures",
       {{"type", "object"},
        {"required", {"fixtures"}},
        {"properties",
         {{"fixtures",
           array_of({{"type", "object"},
                     {"properties",
                      {{"name", text("push-all")},
                       {"summary", text("what it does")},
                       {"parameters", array_of(text("option of dream inject"))},
                       {"available", flag("whether dream inject has it")},
                       {"instead", text("what to do where it is not available")}}}})}}}}},
      {"LogLine",
       {{"type", "object"},
        {"required", {"number", "at_unix_ms", "level", "node", "part", "text"}},
        {"properties",
         {{"number", number("counts the lines of the universe")},
          {"at_unix_ms", number("when")},
          {"level", text("debug, info, warning, error")},
          {"node", text("who said it; universe: dream itself")},
          {"part", text("of the node: patrick, router; empty: the node as a whole")},
          {"text", text("one line")}}}}},
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

}  // namespace

const std::vector<Operation>& control_operations() {
  static const std::vector<Operation> all = {
      {"GET", "/openapi.json", "getDocument", "This document.", "Done"},
      {"GET", "/v1/spec/services", "listServices", "The services that a node may run.", "Services"},
      {"GET", "/v1/spec/fixtures", "listFixtures", "The fixtures of dream inject.", "Fixtures"},
      {"GET", "/v1/universes", "listUniverses", "All universes with their nodes.", "Universes"},
      {"POST", "/v1/universes", "createUniverse",
       "Starts a universe, and answers when it is ready.", "Universe", "NewUniverse"},
      {"GET", "/v1/universes/{universe}", "getUniverse", "One universe with its nodes.",
       "Universe"},
      {"DELETE",
       "/v1/universes/{universe}",
       "deleteUniverse",
       "Stops a universe; erase=true also removes what it kept.",
       "Done",
       "",
       {"erase"}},
      {"GET", "/v1/universes/{universe}/nodes", "listNodes", "The nodes of a universe.", "Nodes"},
      {"POST", "/v1/universes/{universe}/nodes", "createNode",
       "Adds a node to a running universe, or starts a killed one again; answers when the others "
       "know it.",
       "Node", "NewNode"},
      {"DELETE", "/v1/universes/{universe}/nodes/{node}", "deleteNode",
       "Kills a node as a power cut does: by its name, its peer id, or a service that it alone "
       "runs.",
       "Done"},
      {"GET", "/v1/universes/{universe}/chaos", "getChaos",
       "What is broken on purpose now, and all that was.", "Chaos"},
      {"POST", "/v1/universes/{universe}/chaos", "beginFault",
       "Breaks something on purpose; answers once it is broken.", "Fault", "Fault"},
      {"DELETE", "/v1/universes/{universe}/chaos", "heal",
       "Everything works again; what chaos killed starts again.", "Done"},
      {"GET",
       "/v1/universes/{universe}/logs",
       "readLogs",
       "What the nodes said: a line of JSON each, the newest ones; with follow=true all that "
       "come, with an empty line now and then.",
       "LogLine",
       "",
       {"node", "level", "lines", "follow"}},
      {"POST", "/v1/stop", "stop", "Stops every universe, and dream itself.", "Done"},
  };
  return all;
}

Json control_document() {
  Json paths = Json::object();
  for (const Operation& operation : control_operations()) {
    Json parameters = Json::array();
    for (const std::string_view name : {"universe", "node"}) {
      if (operation.path.find(fmt::format("{{{}}}", name)) != std::string_view::npos)
        parameters.push_back(
            {{"name", name}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}});
    }
    for (const std::string_view name : operation.query)
      parameters.push_back({{"name", name}, {"in", "query"}, {"schema", {{"type", "string"}}}});
    std::string method(operation.method);
    std::ranges::transform(method, method.begin(), [](unsigned char c) { return std::tolower(c); });
    const auto content = [](std::string_view schema) -> Json {
      const char* type = schema == "LogLine" ? "application/x-ndjson" : "application/json";
      return {{type, {{"schema", schema_ref(schema)}}}};
    };
    Json described = {
        {"operationId", operation.id},
        {"summary", operation.summary},
        {"parameters", std::move(parameters)},
        {"responses",
         {{"200", {{"description", operation.summary}, {"content", content(operation.answer)}}},
          {"default",
           {{"description", "What, why, and what to do."}, {"content", content("Error")}}}}}};
    if (!operation.body.empty())
      described["requestBody"] = {{"required", true}, {"content", content(operation.body)}};
    paths[std::string(operation.path)][method] = std::move(described);
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

}  // namespace tau::testnet
