#include "node/user_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "codec/base64.h"
#include "runtime/channel.h"
#include "runtime/task_group.h"
#include "services/patrick/api.h"
#include "services/seer/api.h"
#include "services/substrate/api.h"
#include "services/tns/api.h"

namespace tau::node {
namespace {

using namespace std::chrono_literals;
using http::Json;

constexpr std::uint32_t kWaitMsMax = 25'000;  // below the half minute after which proxies give up
constexpr std::size_t kRegistrationBytesMax = 64u << 10;
constexpr std::size_t kCursorNodesMax = 256;
constexpr std::size_t kLogNodesMax = 64;  // asked at once
constexpr std::string_view kMainBranch = "main";

Result<std::uint64_t> number_of(const http::Request& request, std::string_view name,
                                std::uint64_t otherwise) {
  const auto text = http::query_value(request.query, name);
  if (!text || text->empty()) return otherwise;
  std::uint64_t n = 0;
  const auto parsed = std::from_chars(text->data(), text->data() + text->size(), n);
  if (parsed.ec != std::errc() || parsed.ptr != text->data() + text->size())
    return fail(ErrorCode::invalid_argument, std::string(name) + ": expected a number");
  return n;
}

Result<std::uint32_t> wait_of(const http::Request& request) {
  TRY(const std::uint64_t wait, number_of(request, "wait_ms", 0));
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(wait, kWaitMsMax));
}

Duration deadline_for(std::uint32_t wait_ms) { return std::chrono::milliseconds(wait_ms) + 5s; }

Result<patrick::JobState> state_named(std::string_view name) {
  using enum patrick::JobState;
  for (const auto state : {waiting, building, succeeded, failed, superseded, cancelled})
    if (patrick::name_of(state) == name) return state;
  return fail(ErrorCode::invalid_argument,
              "unless_state: one of waiting, building, succeeded, failed, superseded, "
              "cancelled");
}

Json to_json(const patrick::JobStatus& job) {
  Json out = {{"id", job.id.str()},
              {"project", job.project.str()},
              {"branch", job.branch},
              {"seq", job.seq},
              {"state", patrick::name_of(job.state)},
              {"commits", job.commits},
              {"accepted_unix_ms", job.accepted_unix_ms}};
  if (job.monkey) out["monkey"] = job.monkey->str();
  if (job.deployment) out["deployment"] = job.deployment->to_string();
  if (!job.error.empty()) out["error"] = job.error;
  if (job.started_unix_ms) out["started_unix_ms"] = job.started_unix_ms;
  if (job.ended_unix_ms) out["ended_unix_ms"] = job.ended_unix_ms;
  if (job.fence) out["lease"] = *job.fence;
  if (job.retry_of) out["retry_of"] = job.retry_of->str();
  if (job.retried_by) out["retried_by"] = job.retried_by->str();
  return out;
}

Json to_json(const substrate::LogLine& line, const PeerId& node) {
  return {{"at_unix_ms", line.at_unix_ms}, {"function", line.function}, {"request", line.request},
          {"stream", line.stream},         {"text", line.text},         {"node", node.str()}};
}

// The lines that several nodes have for one reader. Every node is asked at once; the first that has
// some ends the wait of all.
class LogReader {
 public:
  LogReader(runtime::Loop& loop, command::Caller& caller, ProjectId project, LogCursor cursor)
      : caller_(caller),
        project_(std::move(project)),
        cursor_(std::move(cursor)),
        asking_(loop),
        answered_(loop) {}

  Task<Status> read(std::vector<PeerId> nodes, std::uint32_t wait_ms) {
    left_ = nodes.size();
    for (const auto& node : nodes) asking_.spawn(ask(node, wait_ms));
    Status status;
    while (status && left_ > 0 && (wait_ms == 0 || lines_.empty()))
      status = co_await answered_.wait();
    co_await asking_.stop();
    co_return status;
  }
  bool empty() const { return lines_.empty(); }
  Json take() && {
    std::ranges::sort(lines_, {}, [](const Line& line) {
      return std::tuple(line.at_unix_ms, line.node, line.number);
    });
    Json lines = Json::array();
    for (auto& line : lines_) lines.push_back(std::move(line.json));
    return {{"lines", std::move(lines)}, {"cursor", cursor_.to_string()}};
  }

 private:
  struct Line {
    std::int64_t at_unix_ms;
    PeerId node;
    std::uint64_t number;
    Json json;
  };
  Task<void> ask(PeerId node, std::uint32_t wait_ms) {
    substrate::ReadLogs::Request request{project_, cursor_.after(node), 200, wait_ms};
    const auto answer = co_await caller_.call<substrate::ReadLogs>(
        node, substrate::kProtocol, std::move(request), deadline_for(wait_ms));
    if (answer && !answer->lines.empty()) {
      for (const auto& line : answer->lines)
        lines_.push_back({line.at_unix_ms, node, line.number, to_json(line, node)});
      cursor_.set(node, answer->lines.back().number);
    }
    --left_;
    answered_.notify_all();
  }

  command::Caller& caller_;
  ProjectId project_;
  LogCursor cursor_;
  std::vector<Line> lines_;
  std::size_t left_ = 0;
  runtime::TaskGroup asking_;
  runtime::Signal answered_;
};

Json schema_ref(std::string_view name) {
  return {{"$ref", "#/components/schemas/" + std::string(name)}};
}
Json text(std::string_view about) { return {{"type", "string"}, {"description", about}}; }
Json number(std::string_view about) { return {{"type", "integer"}, {"description", about}}; }
Json list_of(Json items) { return {{"type", "array"}, {"items", std::move(items)}}; }
Json object(Json properties) { return {{"type", "object"}, {"properties", std::move(properties)}}; }

Json schemas() {
  const Json build =
      object({{"id", text("of the job")},
              {"project", text("")},
              {"branch", text("")},
              {"seq", number("counts the accepted pushes of this branch")},
              {"state", text("waiting, building, succeeded, failed, superseded, cancelled")},
              {"commits", object(Json::object())},
              {"monkey", text("peer id of who builds it")},
              {"deployment", text("CID of what it made")},
              {"error", text("why it failed, or what it waits for")},
              {"accepted_unix_ms", number("")},
              {"started_unix_ms", number("")},
              {"ended_unix_ms", number("")},
              {"lease", number("counts the monkeys that took it")},
              {"retry_of", text("the build that this one repeats")},
              {"retried_by", text("the build that repeats this one")}});
  const Json version = object({{"seq", number("of the move; it only goes up")},
                               {"push", number("the build that made the deployment")},
                               {"deployment", text("CID")},
                               {"moved_unix_ms", number("")},
                               {"serves", Json{{"type", "boolean"}}}});
  const Json project = object({{"id", text("CID of the genesis: name, owner's key, nonce")},
                               {"name", text("")},
                               {"label", text("first name under the network's suffix")},
                               {"url", text("where main is served")},
                               {"owner", text("Ed25519 public key, hex")},
                               {"repositories", list_of(object({{"name", text("")},
                                                                {"kind", text("config or code")},
                                                                {"provider", text("")},
                                                                {"url", text("for git clone")}}))},
                               {"deployed", object({{"branch", text("")},
                                                    {"seq", number("")},
                                                    {"deployment", text("CID")},
                                                    {"hosts", list_of(text(""))}})}});
  return {
      {"Error", object({{"error", object({{"code", text("a word")}, {"message", text("")}})}})},
      {"Network", object({{"name", text("")},
                          {"suffix", text("projects are served at LABEL.SUFFIX")},
                          {"http_port", number("of the substrates; 0: none lives")},
                          {"dns", text("where a seer answers DNS; empty: none lives")},
                          {"git_base", text("repositories are at GIT_BASE/PROJECT/NAME.git")},
                          {"version", text("")}})},
      {"Registration",
       object({{"registration", text("base64 of the owner's signed registration (DAG-CBOR)")}})},
      {"Order", object({{"order", text("base64 of the owner's signed order (DAG-CBOR)")}})},
      {"Project", project},
      {"Projects", object({{"projects", list_of(schema_ref("Project"))}})},
      {"Build", build},
      {"Builds",
       object({{"builds", list_of(schema_ref("Build"))},
               {"stale", {{"type", "boolean"}, {"description", "what one patrick knew"}}}})},
      {"BuildLog", object({{"text", text("")},
                           {"offset", number("where to go on")},
                           {"ended", {{"type", "boolean"}}}})},
      {"Logs", object({{"lines", list_of(object({{"at_unix_ms", number("")},
                                                 {"function", text("")},
                                                 {"request", text("as in an error answer")},
                                                 {"stream", text("stdout, stderr, failure")},
                                                 {"text", text("")},
                                                 {"node", text("peer id")}}))},
                       {"cursor", text("where to go on")}})},
      {"Nodes", object({{"nodes", list_of(object({{"peer", text("")},
                                                  {"services", list_of(text(""))},
                                                  {"addresses", list_of(text(""))},
                                                  {"http_port", number("")},
                                                  {"load_percent", number("")},
                                                  {"silent_ms", number("")}}))}})},
      {"Version", version},
      {"History", object({{"versions", list_of(version)}})},
      {"Document", object(Json::object())}};
}

}  // namespace

// ---- the cursor ------------------------------------------------------------------------------

Result<LogCursor> LogCursor::parse(std::string_view text) {
  LogCursor cursor;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find('~'));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    const std::size_t dot = part.find('.');
    std::uint64_t n = 0;
    const auto* end = part.data() + part.size();
    const auto* start = part.data() + (dot == part.npos ? part.size() : dot + 1);
    const auto parsed = std::from_chars(start, end, n);
    if (dot == 0 || dot > 100 || parsed.ec != std::errc() || parsed.ptr != end ||
        cursor.numbers_.size() >= kCursorNodesMax)
      return fail(ErrorCode::invalid_argument, "cursor: not one that this API gave out");
    cursor.numbers_[PeerId(std::string(part.substr(0, dot)))] = n;
  }
  return cursor;
}

std::string LogCursor::to_string() const {
  std::string out;
  for (const auto& [node, n] : numbers_)
    out += fmt::format("{}{}.{}", out.empty() ? "" : "~", node.str(), n);
  return out;
}

std::uint64_t LogCursor::after(const PeerId& node) const {
  const auto it = numbers_.find(node);
  return it == numbers_.end() ? 0 : it->second;
}

// ---- routes ----------------------------------------------------------------------------------

const std::vector<UserApi::Operation>& UserApi::operations() {
  static const std::vector<Operation> all = {
      {"GET", "/network", "network", "This network and where it is reached.", {}, "Network"},
      {"GET", "/nodes", "listNodes", "The live nodes, as seer knows them.", {"service"}, "Nodes"},
      {"GET",
       "/projects",
       "listProjects",
       "A page of the registered projects.",
       {"after", "limit"},
       "Projects"},
      {"POST",
       "/projects",
       "registerProject",
       "Registers a project, or registers it anew.",
       {},
       "Project",
       "Registration"},
      {"GET", "/projects/{project}", "getProject", "One project.", {}, "Project"},
      {"GET",
       "/projects/{project}/builds",
       "listBuilds",
       "Its builds, newest first.",
       {"limit"},
       "Builds"},
      {"GET",
       "/projects/{project}/logs",
       "functionLogs",
       "What its functions said on all nodes; waits for a line.",
       {"cursor", "wait_ms"},
       "Logs"},
      {"GET",
       "/builds/{build}",
       "getBuild",
       "One build; waits for it to leave a state.",
       {"unless_state", "wait_ms"},
       "Build"},
      {"GET",
       "/builds/{build}/log",
       "buildLog",
       "Its log from a byte on; waits for more.",
       {"offset", "wait_ms"},
       "BuildLog"},
      {"POST",
       "/builds/{build}/cancel",
       "cancelBuild",
       "Ends it, by an order that the project's owner signed.",
       {},
       "Build",
       "Order"},
      {"POST",
       "/builds/{build}/retry",
       "retryBuild",
       "A new build of the same commits, by an order that the project's owner signed.",
       {},
       "Build",
       "Order"},
      {"GET",
       "/projects/{project}/history",
       "history",
       "The deployments of a branch that it can go back to, newest first.",
       {"branch"},
       "History"},
      {"POST",
       "/projects/{project}/rollback",
       "rollback",
       "Serves an earlier one again, by an order that the project's owner signed.",
       {},
       "Version",
       "Order"},
      {"GET", "/openapi.json", "document", "This document.", {}, "Document"}};
  return all;
}

http::Router::JsonHandler UserApi::handler_of(std::string_view id) {
  using Member = Task<Result<Json>> (UserApi::*)(http::Request&);
  static const std::map<std::string_view, Member> handlers = {
      {"network", &UserApi::network},
      {"listNodes", &UserApi::list_nodes},
      {"listProjects", &UserApi::list_projects},
      {"registerProject", &UserApi::register_project},
      {"getProject", &UserApi::get_project},
      {"listBuilds", &UserApi::list_builds},
      {"functionLogs", &UserApi::function_logs},
      {"getBuild", &UserApi::get_build},
      {"buildLog", &UserApi::build_log},
      {"cancelBuild", &UserApi::cancel_build},
      {"retryBuild", &UserApi::retry_build},
      {"history", &UserApi::history},
      {"rollback", &UserApi::rollback},
      {"document", &UserApi::document}};
  const Member member = handlers.at(id);
  return [this, member](http::Request& request) { return (this->*member)(request); };
}

void UserApi::mount(http::Router& router, std::string_view prefix) {
  for (const auto& operation : operations())
    router.add_json(operation.method, std::string(prefix) + std::string(operation.path),
                    handler_of(operation.id));
}

Json UserApi::openapi() {
  Json paths = Json::object();
  const Json error = {{"description", "What, why, and what to do."},
                      {"content", {{"application/json", {{"schema", schema_ref("Error")}}}}}};
  for (const auto& operation : operations()) {
    Json parameters = Json::array();
    for (const std::string_view name : {"project", "build"})
      if (operation.path.find(fmt::format("{{{}}}", name)) != std::string_view::npos)
        parameters.push_back(
            {{"name", name}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}});
    for (const std::string_view name : operation.query)
      parameters.push_back({{"name", name}, {"in", "query"}, {"schema", {{"type", "string"}}}});
    const Json good = {
        {"description", operation.summary},
        {"content", {{"application/json", {{"schema", schema_ref(operation.answer)}}}}}};
    Json described = {{"operationId", operation.id},
                      {"summary", operation.summary},
                      {"parameters", std::move(parameters)},
                      {"responses", {{"200", good}, {"default", error}}}};
    if (!operation.body.empty())
      described["requestBody"] = {
          {"required", true},
          {"content", {{"application/json", {{"schema", schema_ref(operation.body)}}}}}};
    paths[std::string(operation.path)][operation.method == "POST" ? "post" : "get"] =
        std::move(described);
  }
  return {{"openapi", "3.1.0"},
          {"info",
           {{"title", "tau cloud API"},
            {"version", "1"},
            {"description", "What people's tools ask a cloud: projects, builds, logs, nodes."}}},
          {"paths", std::move(paths)},
          {"components", {{"schemas", schemas()}}}};
}

Task<Result<Json>> UserApi::document(http::Request&) { co_return openapi(); }

// ---- the network -----------------------------------------------------------------------------

Task<UserApi::Where> UserApi::where(std::optional<ProjectId> project) {
  Where out;
  const auto git = co_await caller_.call_any<patrick::GitBase>(patrick::kRole, patrick::kProtocol,
                                                               {std::move(project)});
  if (git) out.git_base = git->url;
  const auto nodes = co_await caller_.call_any<seer::ListNodes>(seer::kRole, seer::kProtocol,
                                                                {std::string(substrate::kRole)});
  if (nodes)
    for (const auto& node : nodes->nodes)
      if (node.announcement.http_port != 0) out.http_port = node.announcement.http_port;
  const auto seers = co_await caller_.call_any<seer::ListNodes>(seer::kRole, seer::kProtocol,
                                                                {std::string(seer::kRole)});
  if (seers)
    for (const auto& node : seers->nodes)
      if (node.announcement.dns) out.dns = *node.announcement.dns;
  co_return out;
}

Task<Result<Json>> UserApi::network(http::Request&) {
  const Where at = co_await where();
  co_return Json{{"name", options_.network},  {"suffix", options_.suffix},
                 {"http_port", at.http_port}, {"dns", at.dns},
                 {"git_base", at.git_base},   {"version", options_.version}};
}

Task<Result<Json>> UserApi::list_nodes(http::Request& request) {
  std::string service = http::query_value(request.query, "service").value_or("");
  CO_TRY(const auto found,
         caller_.call_any<seer::ListNodes>(seer::kRole, seer::kProtocol, {std::move(service)}));
  Json nodes = Json::array();
  for (const auto& node : found.nodes)
    nodes.push_back({{"peer", node.peer.str()},
                     {"services", node.announcement.services},
                     {"addresses", node.announcement.addresses},
                     {"http_port", node.announcement.http_port},
                     {"load_percent", node.announcement.load_percent},
                     {"silent_ms", node.silent_ms}});
  co_return Json{{"nodes", std::move(nodes)}};
}

// ---- projects --------------------------------------------------------------------------------

Json UserApi::to_json(const auth::Registration& registration, const Where& where) const {
  const std::string id = registration.project().str();
  Json repositories = Json::array();
  for (const auto& repository : registration.repositories) {
    Json one = {{"name", repository.name},
                {"kind", repository.kind == auth::RepositoryKind::config ? "config" : "code"},
                {"provider", repository.provider}};
    if (!where.git_base.empty())
      one["url"] = where.git_base + "/" + id + "/" + repository.name + ".git";
    repositories.push_back(std::move(one));
  }
  std::string url = "http://" + registration.label + "." + options_.suffix;
  if (where.http_port != 0 && where.http_port != 80) url += ":" + std::to_string(where.http_port);
  return {{"id", id},
          {"name", registration.genesis.name},
          {"label", registration.label},
          {"url", url},
          {"owner", to_hex(registration.genesis.owner)},
          {"repositories", std::move(repositories)}};
}

Task<Result<codec::Signed>> signed_record(http::Request& request, std::string name) {
  CO_TRY(const Json body, http::read_json(request, kRegistrationBytesMax));
  CO_TRY_SYNC(const std::string encoded, http::string_field(body, name));
  auto decoded = codec::base64_decode(encoded);
  if (!decoded) co_return fail(std::move(decoded).error().context(name));
  auto record = codec::from_cbor<codec::Signed>(*decoded);
  if (!record) co_return fail(std::move(record).error().context(name));
  co_return record;
}

Task<Result<Json>> UserApi::register_project(http::Request& request) {
  CO_TRY(auto record, signed_record(request, "registration"));
  CO_TRY_SYNC(const auto registration, auth::open_registration(record));
  CO_TRY_STATUS(
      caller_.call_any<auth::Register>(auth::kRole, auth::kProtocol, {std::move(record)}));
  co_return to_json(registration, co_await where(registration.project()));
}

Task<Result<Json>> UserApi::list_projects(http::Request& request) {
  CO_TRY_SYNC(const std::uint64_t limit, number_of(request, "limit", 100));
  auth::ListProjects::Request ask;
  ask.after = ProjectId(http::query_value(request.query, "after").value_or(""));
  ask.limit = static_cast<std::uint32_t>(std::min<std::uint64_t>(limit, 100));
  CO_TRY(const auto found, caller_.call_any<auth::ListProjects>(auth::kRole, auth::kProtocol, ask));
  Where at = co_await where();
  const bool one_host = caller_.peers_with_role(patrick::kRole).size() <= 1;
  Json projects = Json::array();
  for (const auto& one : found.registrations) {
    CO_TRY_SYNC(const auto registration, auth::open_registration(one));
    if (!one_host) {
      const auto git = co_await caller_.call_any<patrick::GitBase>(
          patrick::kRole, patrick::kProtocol, {registration.project()});
      at.git_base = git ? git->url : "";
    }
    projects.push_back(to_json(registration, at));
  }
  co_return Json{{"projects", std::move(projects)}};
}

Task<Result<Json>> UserApi::get_project(http::Request& request) {
  const ProjectId project{std::string(request.parameter("project"))};
  CO_TRY(const auto found,
         caller_.call_any<auth::GetProject>(auth::kRole, auth::kProtocol, {project}));
  CO_TRY_SYNC(const auto registration, auth::open_registration(found.registration));
  Json out = to_json(registration, co_await where(project));
  const auto pointer = co_await caller_.call_any<tns::GetPointer>(
      tns::kRole, tns::kProtocol, {project, std::string(kMainBranch)});
  if (pointer) {
    // For people to look at; who serves it checks the signature.
    CO_TRY_SYNC(const auto p, codec::from_cbor<tns::Pointer>(pointer->pointer.record.body));
    out["deployed"] = {{"branch", p.branch},
                       {"seq", p.seq},
                       {"deployment", p.deployment.to_string()},
                       {"hosts", p.hosts}};
  }
  co_return out;
}

// ---- builds ----------------------------------------------------------------------------------

Task<Result<Json>> UserApi::list_builds(http::Request& request) {
  CO_TRY_SYNC(const std::uint64_t limit, number_of(request, "limit", 20));
  patrick::ListJobs::Request ask;
  ask.project = ProjectId(std::string(request.parameter("project")));
  ask.limit = static_cast<std::uint32_t>(std::min<std::uint64_t>(limit, 100));
  CO_TRY(const auto found,
         caller_.call_any<patrick::ListJobs>(patrick::kRole, patrick::kProtocol, std::move(ask)));
  Json builds = Json::array();
  for (const auto& job : found.jobs) builds.push_back(node::to_json(job));
  co_return Json{{"builds", std::move(builds)}, {"stale", found.stale.has_value()}};
}

Task<Result<Json>> UserApi::get_build(http::Request& request) {
  patrick::GetJob::Request ask;
  ask.job = JobId(std::string(request.parameter("build")));
  CO_TRY_SYNC(ask.wait_ms, wait_of(request));
  if (const auto unless = http::query_value(request.query, "unless_state")) {
    CO_TRY_SYNC(ask.unless_state, state_named(*unless));
  }
  const Duration deadline = deadline_for(ask.wait_ms);
  CO_TRY(const auto found, caller_.call_any<patrick::GetJob>(patrick::kRole, patrick::kProtocol,
                                                             std::move(ask), deadline));
  co_return node::to_json(found.job);
}

Task<Result<Json>> UserApi::build_log(http::Request& request) {
  patrick::ReadLog::Request ask;
  ask.job = JobId(std::string(request.parameter("build")));
  CO_TRY_SYNC(ask.wait_ms, wait_of(request));
  CO_TRY_SYNC(ask.offset, number_of(request, "offset", 0));
  const std::uint64_t offset = ask.offset;
  const Duration deadline = deadline_for(ask.wait_ms);
  CO_TRY(auto read, caller_.call_any<patrick::ReadLog>(patrick::kRole, patrick::kProtocol,
                                                       std::move(ask), deadline));
  const std::uint64_t next = offset + read.text.size();
  co_return Json{{"text", std::move(read.text)}, {"offset", next}, {"ended", read.ended}};
}

// The order says which build; the path is for people who read logs.
template <class Order>
Status same_build(const codec::Signed& order, const http::Request& request) {
  auto claimed = codec::from_cbor<Order>(order.body);
  if (!claimed) return fail(std::move(claimed).error().context("order"));
  if (claimed->job.str() == request.parameter("build")) return {};
  return fail(ErrorCode::invalid_argument, "the order is for another build than the path");
}

Task<Result<Json>> UserApi::cancel_build(http::Request& request) {
  CO_TRY(auto order, signed_record(request, "order"));
  CO_TRY_SYNC_STATUS(same_build<patrick::CancelOrder>(order, request));
  CO_TRY(const auto done, caller_.call_any<patrick::CancelJob>(patrick::kRole, patrick::kProtocol,
                                                               {std::move(order)}));
  co_return node::to_json(done.job);
}

Task<Result<Json>> UserApi::retry_build(http::Request& request) {
  CO_TRY(auto order, signed_record(request, "order"));
  CO_TRY_SYNC_STATUS(same_build<patrick::RetryOrder>(order, request));
  CO_TRY(const auto done, caller_.call_any<patrick::RetryJob>(patrick::kRole, patrick::kProtocol,
                                                              {std::move(order)}));
  co_return node::to_json(done.job);
}

// ---- logs of functions -----------------------------------------------------------------------

Task<Result<Json>> UserApi::function_logs(http::Request& request) {
  const ProjectId project{std::string(request.parameter("project"))};
  CO_TRY_SYNC(const std::uint32_t wait_ms, wait_of(request));
  CO_TRY_SYNC(LogCursor cursor,
              LogCursor::parse(http::query_value(request.query, "cursor").value_or("")));
  auto nodes = caller_.peers_with_role(substrate::kRole);
  if (nodes.size() > kLogNodesMax) nodes.resize(kLogNodesMax);
  if (nodes.empty())
    co_return fail(ErrorCode::unavailable, "no substrate lives: nothing serves, nothing is logged");
  // What is there already comes from all nodes together, so that it can be put in order.
  LogReader now(loop_, caller_, project, cursor);
  CO_TRY_STATUS(now.read(nodes, 0));
  if (!now.empty() || wait_ms == 0) co_return std::move(now).take();
  LogReader later(loop_, caller_, project, std::move(cursor));
  CO_TRY_STATUS(later.read(std::move(nodes), wait_ms));
  co_return std::move(later).take();
}

}  // namespace tau::node
