// The HTTP and JSON API for people's tools (tau, a web console): projects, builds, logs, nodes. It
// asks the services by command::Caller alone, so any member of the network can offer it, wherever
// the services live. Described by the OpenAPI document that it serves at PREFIX/openapi.json.
//
// Errors are {"error": {"code": "not_found", "message": "…"}} with the status of the code.
// No login: it belongs behind http::fenced() on an address that only this machine reaches.
//
// Owns nothing but its options; requests under way end with the server's. Loop thread only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "command/caller.h"
#include "http/router.h"
#include "runtime/loop.h"
#include "services/auth/api.h"

namespace tau::node {

class UserApi {
 public:
  struct Options {
    std::string network;  // "blackhole"
    std::string suffix;   // "blackhole.localhost"
    std::string version;  // of this program
  };
  UserApi(runtime::Loop& loop, command::Caller& caller, Options options)
      : loop_(loop), caller_(caller), options_(std::move(options)) {}
  UserApi(const UserApi&) = delete;
  UserApi& operator=(const UserApi&) = delete;

  // This must outlive the server that uses the router.
  void mount(http::Router& router, std::string_view prefix);

  struct Operation {
    std::string_view method, path, id, summary;
    std::vector<std::string_view> query;  // names of query parameters
    std::string_view answer;              // the schema of a good answer
    std::string_view body = {};           // the schema of the request's body, if it has one
  };
  static const std::vector<Operation>& operations();
  static http::Json openapi();

 private:
  using Json = http::Json;
  struct Where {           // what is needed to say where things are reached
    std::string git_base;  // empty: no patrick answers
    std::uint16_t http_port = 0;
    std::string dns;  // empty: no seer answers
  };

  http::Router::JsonHandler handler_of(std::string_view id);
  Task<Result<Json>> network(http::Request& request);
  Task<Result<Json>> register_project(http::Request& request);
  Task<Result<Json>> list_projects(http::Request& request);
  Task<Result<Json>> get_project(http::Request& request);
  Task<Result<Json>> list_builds(http::Request& request);
  Task<Result<Json>> get_build(http::Request& request);
  Task<Result<Json>> build_log(http::Request& request);
  Task<Result<Json>> cancel_build(http::Request& request);
  Task<Result<Json>> retry_build(http::Request& request);
  Task<Result<Json>> history(http::Request& request);
  Task<Result<Json>> rollback(http::Request& request);
  Task<Result<Json>> function_logs(http::Request& request);
  Task<Result<Json>> list_nodes(http::Request& request);
  Task<Result<Json>> document(http::Request& request);

  // With a project: where its repositories are; without, where those of a new one would be.
  Task<Where> where(std::optional<ProjectId> project = {});
  Json to_json(const auth::Registration& registration, const Where& where) const;

  runtime::Loop& loop_;
  command::Caller& caller_;
  const Options options_;
};

// What somebody signed, out of the member `name` of a request's JSON body. Errors:
// invalid_argument.
Task<Result<codec::Signed>> signed_record(http::Request& request, std::string name);

// Where a reader of function logs is: for each node, the number of the last line it has. Opaque to
// clients, a word of URL characters. Errors: invalid_argument.
class LogCursor {
 public:
  static Result<LogCursor> parse(std::string_view text);
  std::string to_string() const;
  std::uint64_t after(const PeerId& node) const;
  void set(const PeerId& node, std::uint64_t number) { numbers_[node] = number; }

 private:
  std::map<PeerId, std::uint64_t> numbers_;
};

}  // namespace tau::node
