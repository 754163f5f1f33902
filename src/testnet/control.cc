#include "testnet/control.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "testnet/fixtures.h"

namespace tau::testnet {
namespace {

using http::Json;

constexpr std::size_t kBodyBytesMax = 64u << 10;  // a universe's wishes: a KB at most
constexpr std::size_t kListMax = 64;              // there are seven services
constexpr std::size_t kLogLinesMax = 1000;        // in one piece: below a MB
// A reader of logs that has gone is noticed by this; clients give up after a minute of silence.
constexpr Duration kHeartbeat = std::chrono::seconds(10);

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

Result<bool> flag_of(const http::Request& request, std::string_view name) {
  const auto text = http::query_value(request.query, name);
  if (!text || *text == "false") return false;
  if (*text == "true") return true;
  return fail(ErrorCode::invalid_argument, fmt::format("{}: true or false", name));
}

std::unexpected<Error> expected(std::string_view name, std::string_view what) {
  return fail(ErrorCode::invalid_argument, fmt::format("\"{}\": expected {}", name, what));
}

Result<std::vector<std::string>> texts_of(const Json& body, const char* name) {
  std::vector<std::string> out;
  const auto list = body.find(name);
  if (list == body.end()) return out;
  if (!list->is_array() || list->size() > kListMax) return expected(name, "a short list of texts");
  for (const Json& item : *list) {
    if (!item.is_string()) return expected(name, "a short list of texts");
    out.push_back(item.get<std::string>());
  }
  return out;
}

Result<bool> boolean_of(const Json& body, const char* name) {
  const auto it = body.find(name);
  if (it == body.end()) return false;
  if (!it->is_boolean()) return expected(name, "true or false");
  return it->get<bool>();
}

// An unknown field is a wish that would be lost.
Status check_fields(const Json& body, std::initializer_list<std::string_view> known) {
  if (!body.is_object()) return fail(ErrorCode::invalid_argument, "expected a JSON object");
  for (const auto& [name, value] : body.items()) {
    if (std::ranges::find(known, name) == known.end())
      return fail(ErrorCode::invalid_argument,
                  fmt::format("\"{}\" is not known here; known are: {}", name.substr(0, 80),
                              fmt::join(known, ", ")));
  }
  return {};
}

Result<Multiverse::NewUniverse> new_universe_of(const Json& body) {
  TRY_STATUS(check_fields(body, {"name", "empty", "enable", "disable", "bind", "copies", "keep"}));
  Multiverse::NewUniverse what;
  TRY(what.name, http::string_field(body, "name"));
  TRY(what.wishes.empty, boolean_of(body, "empty"));
  TRY(what.wishes.enable, texts_of(body, "enable"));
  TRY(what.wishes.disable, texts_of(body, "disable"));
  TRY(what.wishes.bind, texts_of(body, "bind"));
  TRY(const bool keep, boolean_of(body, "keep"));
  what.keep = keep ? Keep::yes : Keep::no;
  const Json copies = body.value("copies", Json::object());
  if (!copies.is_object() || copies.size() > kListMax)
    return expected("copies", "{SERVICE: NUMBER}");
  for (const auto& [service, number] : copies.items()) {
    if (!number.is_number_unsigned()) return expected("copies." + service, "a number");
    what.wishes.copies[service] = number.get<std::size_t>();
  }
  return what;
}

Result<NodePlan> new_node_of(const Json& body) {
  TRY_STATUS(check_fields(body, {"services", "name", "p2p_port"}));
  NodePlan plan;
  TRY(plan.services, texts_of(body, "services"));
  if (body.contains("name")) {
    TRY(plan.name, http::string_field(body, "name"));
  }
  if (const auto port = body.find("p2p_port"); port != body.end()) {
    if (!port->is_number_unsigned() || port->get<std::uint64_t>() > 65535)
      return expected("p2p_port", "a port");
    plan.p2p_port = port->get<std::uint16_t>();
  }
  return plan;
}

// A line of a record: what dream chaos replay reads.
Json happening_json(Duration at, const std::optional<Fault>& fault) {
  Json out = fault ? to_json(*fault) : Json{{"fault", "heal"}};
  out["at_ms"] = at / std::chrono::milliseconds(1);
  return out;
}

Result<LogBook::Query> log_query_of(const http::Request& request) {
  LogBook::Query query;
  query.node = http::query_value(request.query, "node").value_or("");
  if (const auto level = http::query_value(request.query, "level")) {
    TRY(query.least, log_level_named(*level));
  }
  if (const auto lines = http::query_value(request.query, "lines")) {
    const auto parsed = std::from_chars(lines->data(), lines->data() + lines->size(), query.limit);
    if (parsed.ec != std::errc() || parsed.ptr != lines->data() + lines->size() ||
        query.limit == 0 || query.limit > kLogLinesMax)
      return expected("lines", fmt::format("a number from 1 to {}", kLogLinesMax));
  }
  return query;
}

}  // namespace

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

Json to_json(const LogLine& line) {
  return {{"number", line.number},
          {"at_unix_ms", line.at_unix_ms},
          {"level", name_of(line.level)},
          {"node", line.node},
          {"part", line.part},
          {"text", line.text}};
}

Json to_json(const Universe& universe) {
  Json nodes = Json::array();
  for (const auto& node : universe.nodes()) nodes.push_back(to_json(node));
  const auto after = universe.ready_after();
  return {
      {"name", universe.name()},
      {"suffix", universe.suffix()},
      {"kept", universe.keep() == Keep::yes},
      {"ready", universe.ready()},
      {"ready_after_ms", after ? Json(static_cast<double>(after->count()) / 1e6) : Json(nullptr)},
      {"entry", endpoint_json(universe.entry())},
      {"dns", endpoint_json(universe.dns())},
      {"api", endpoint_json(universe.api())},
      {"nodes", std::move(nodes)}};
}

Control::Control(runtime::Loop& loop, net::Network& network, Multiverse& multiverse, Logger log)
    : loop_(loop),
      network_(network),
      multiverse_(multiverse),
      log_(log),
      server_(loop, http::fenced({}, router_.as_handler()), {}, log),
      stop_signal_(loop) {
  for (const Operation& operation : control_operations()) {
    if (operation.id == "readLogs") {
      router_.add(operation.method, operation.path,
                  [this](http::Request& request, http::ResponseWriter& response) {
                    return logs(request, response);
                  });
    } else {
      router_.add_json(operation.method, operation.path, handler_of(operation.id));
    }
  }
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
      {"createUniverse", &Control::create_universe},
      {"getUniverse", &Control::get_universe},
      {"deleteUniverse", &Control::delete_universe},
      {"listNodes", &Control::list_nodes},
      {"createNode", &Control::create_node},
      {"deleteNode", &Control::delete_node},
      {"getChaos", &Control::get_chaos},
      {"beginFault", &Control::begin_fault},
      {"heal", &Control::heal},
      {"listServices", &Control::list_services},
      {"listFixtures", &Control::list_fixtures},
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

Task<Result<Json>> Control::document(http::Request&) { co_return control_document(); }

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
  CO_TRY_SYNC(const bool erase, flag_of(request, "erase"));
  CO_TRY_STATUS(multiverse_.remove(std::string(request.parameter("universe")),
                                   erase ? Erase::yes : Erase::no));
  co_return Json::object();
}

Task<Result<Json>> Control::create_universe(http::Request& request) {
  CO_TRY(const Json body, http::read_json(request, kBodyBytesMax));
  CO_TRY_SYNC(auto what, new_universe_of(body));
  const std::string name = what.name;
  CO_TRY_STATUS(multiverse_.create(std::move(what)));
  CO_TRY_SYNC(const Universe* universe, multiverse_.find(name));
  co_return to_json(*universe);
}

Task<Result<Json>> Control::list_nodes(http::Request& request) {
  CO_TRY_SYNC(const Universe* universe, multiverse_.find(request.parameter("universe")));
  Json nodes = Json::array();
  for (const auto& node : universe->nodes()) nodes.push_back(to_json(node));
  co_return Json{{"nodes", std::move(nodes)}};
}

Task<Result<Json>> Control::create_node(http::Request& request) {
  CO_TRY(const Json body, http::read_json(request, kBodyBytesMax));
  CO_TRY_SYNC(NodePlan plan, new_node_of(body));
  CO_TRY_SYNC(Universe * universe, multiverse_.find(request.parameter("universe")));
  // Who asked may go away meanwhile; a node is never left half started.
  runtime::Scope own(loop_);
  CO_TRY_SYNC(const auto view, co_await universe->add(std::move(plan)).in(own));
  co_return to_json(view);
}

Task<Result<Json>> Control::get_chaos(http::Request& request) {
  CO_TRY_SYNC(const Universe* universe, multiverse_.find(request.parameter("universe")));
  Json active = Json::array(), record = Json::array();
  for (const auto& one : universe->chaos().active()) {
    active.push_back(to_json(one.fault));
    if (one.remaining != Duration{})
      active.back()["remaining_ms"] = one.remaining / std::chrono::milliseconds(1);
  }
  for (const auto& [at, fault] : universe->chaos().record())
    record.push_back(happening_json(at, fault));
  co_return Json{{"active", std::move(active)}, {"record", std::move(record)}};
}

Task<Result<Json>> Control::begin_fault(http::Request& request) {
  CO_TRY(const Json body, http::read_json(request, kBodyBytesMax));
  CO_TRY_SYNC(Fault fault, fault_of(body));
  CO_TRY_SYNC(Universe * universe, multiverse_.find(request.parameter("universe")));
  runtime::Scope own(loop_);
  CO_TRY_SYNC(const PlannedFault begun, co_await universe->chaos().begin(std::move(fault)).in(own));
  co_return happening_json(begun.at, begun.fault);
}

Task<Result<Json>> Control::heal(http::Request& request) {
  CO_TRY_SYNC(Universe * universe, multiverse_.find(request.parameter("universe")));
  runtime::Scope own(loop_);
  CO_TRY_SYNC_STATUS(co_await universe->chaos().heal().in(own));
  co_return Json::object();
}

Task<Result<Json>> Control::list_services(http::Request&) { co_return services_json(); }

Task<Result<Json>> Control::list_fixtures(http::Request&) { co_return fixtures_json(); }

Task<void> Control::logs(http::Request& request, http::ResponseWriter& response) {
  const auto universe = multiverse_.find(request.parameter("universe"));
  auto query = universe ? log_query_of(request) : Result<LogBook::Query>(fail(universe.error()));
  const auto follow = flag_of(request, "follow");
  if (query && !query->node.empty() && query->node != "universe") {
    const auto node = (*universe)->find(query->node);
    if (node) query->node = (*node)->name();
    if (!node) query = fail(node.error());
  }
  if (!query || !follow) {
    response.send(http::error_response(query ? follow.error() : query.error()));
    co_return;
  }
  // The reader keeps the book: a universe may end while its last lines are sent.
  const auto book = (*universe)->log_book();
  if (const Status sent = co_await send_logs(*book, *query, *follow, response); !sent)
    log_.debug("a reader of logs has gone: " + sent.error().message());
}

Task<Status> Control::send_logs(LogBook& book, LogBook::Query query, bool follow,
                                http::ResponseWriter& response) {
  http::Response head;
  head.headers.add("content-type", "application/x-ndjson");
  CO_TRY_STATUS(response.begin(std::move(head)));
  while (true) {
    const bool last = !follow || book.closed();
    const std::uint64_t newest = book.newest();
    std::string text;
    for (const LogLine& line : book.read(query)) {
      text += to_json(line).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
      query.after = line.number;
    }
    if (!text.empty()) {
      CO_TRY_STATUS(response.write(as_bytes(text)));
      if (follow) continue;
    }
    if (last) break;
    // Past the lines of others, so that they wake us no second time.
    query.after = std::max(query.after, newest);
    query.limit = kLogLinesMax;
    const Status more = co_await runtime::with_deadline(kHeartbeat, "waiting for a line",
                                                        book.wait_for_more(query.after));
    if (more) continue;
    if (more.error().code() != ErrorCode::deadline_exceeded) co_return fail(more.error());
    CO_TRY_STATUS(response.write(as_bytes("\n")));  // notices a reader that has gone
  }
  co_return co_await response.finish();
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
