// The data plane of one loop: accepts, routes, runs the function in a fresh instance, answers; all
// on this loop. Only the first request of a host in a while, and the first of a function, wait for
// the control loop.
//
// Belongs to its loop's thread, its counters aside.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/random.h"
#include "guest/context.h"
#include "http/server.h"
#include "net/network.h"
#include "services/substrate/control.h"

namespace tau::substrate {

// How one request went. Numbers only: written for every request.
struct Sample {
  std::int64_t at_unix_ms = 0;
  std::uint32_t status = 0;
  bool resolved = false;  // asked the control loop about the host
  bool loaded = false;    // asked it for the module
  bool from_peers = false;
  CompiledBy compiled_by = CompiledBy::this_request;
  tns::Client::Source source = tns::Client::Source::cache;
  Duration total{}, tns{}, deployment{}, fetch{}, compile{}, body{}, instantiate{}, run{};

  Trace to_trace() const;
  std::string server_timing() const;  // W3C Server-Timing
};
struct RouteTrace {
  std::uint64_t requests = 0;
  Sample first, last;
};

class DataPlane {
 public:
  struct Options {
    http::Server::Options server;
    // How long a host's deployment is taken as it is without asking the control loop, which knows
    // of moves by gossip at once and asks tns every second.
    Duration lease = std::chrono::milliseconds(100);
    // After the lease it is served on for so long while the control loop is asked beside, so that
    // no request waits for a busy control loop; unless gossip said that something moved.
    Duration grace = std::chrono::milliseconds(900);
    std::size_t hosts_max = 4'096;
    std::size_t body_bytes_max = 16u << 20;     // of a request
    std::size_t bodies_bytes_max = 256u << 20;  // of all requests in flight on this loop
    Duration body_time_max = std::chrono::seconds(60);
    // Functions of one project that run at the same time on this loop: enough for hundreds that
    // compute, which share a core anyway, and never all slots of the node.
    std::size_t runs_per_project_max = 128;
    std::string suffix;  // of the network, for explanations: "blackhole.localhost"
  };
  struct Counters {
    std::atomic<std::uint64_t> requests{0}, failures{0};
  };

  DataPlane(runtime::Loop& loop, Control& control, Random& random, Options options, Logger log);

  void serve(std::unique_ptr<net::Listener> listener) { server_.serve(std::move(listener)); }
  Task<void> stop();

  std::optional<RouteTrace> trace(std::string_view host, std::string_view method,
                                  std::string_view path) const;
  const Counters& counters() const { return counters_; }

 private:
  struct Slot {  // a function of a host
    std::weak_ptr<const LoadedModule> module;
    RouteTrace trace;
  };
  struct Entry {
    std::shared_ptr<const tns::Pointer> pointer;
    std::shared_ptr<const Site> site;
    std::string routed_host;
    TimePoint fresh_until;
    std::uint64_t generation = 0;
    bool refreshing = false;
    std::shared_ptr<std::size_t> running;  // functions of this project, now, on this loop
    std::vector<std::unique_ptr<Slot>> slots;
  };
  using EntryPointer = std::shared_ptr<Entry>;
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept {
      return std::hash<std::string_view>{}(text);
    }
  };
  struct Failure {
    int status = 500;
    std::string_view code;
    std::string message;
    std::string request;  // its id, if there is more in the logs
    std::string allow;
  };
  class BodyShare;
  class RunShare;

  Task<void> handle(http::Request& request, http::ResponseWriter& response);
  EntryPointer usable(std::string_view host, TimePoint now);
  static Task<void> refresh_beside(DataPlane& self, EntryPointer entry, std::string host);
  Task<Result<EntryPointer>> refresh(std::string host, Sample& sample);
  Task<Result<std::shared_ptr<const LoadedModule>>> load(EntryPointer entry, std::size_t function,
                                                         Sample& sample);
  Task<void> serve_function(http::Request& request, http::ResponseWriter& response,
                            EntryPointer entry, std::size_t function, TimePoint begun,
                            Sample& sample);
  Task<std::expected<std::string, Failure>> read_body(http::Request& request, BodyShare& share);
  // `full` tells why, where the error is resource_exhausted.
  Task<Result<std::string>> gather_body(http::Request& request, BodyShare& share, bool& full);
  std::shared_ptr<std::size_t> running_of(const ProjectId& project);
  void answer(http::Request& request, http::ResponseWriter& response,
              const guest::HttpExchange& exchange, const Sample& sample);
  void refuse(http::Request& request, http::ResponseWriter& response, const Failure& failure,
              const Sample& sample);
  Failure unresolved(std::string_view host, const Error& error) const;
  Failure no_route(const http::Request& request, const Entry& entry,
                   const project::Routes::Answer& found) const;
  Failure failed(const Entry& entry, const project::DeployedFunction& function,
                 vm::RunFailure failure, guest::LogSink output);
  std::string next_request_id();
  void note(Slot& slot, Sample& sample, TimePoint begun, int status);
  void make_room();

  runtime::Loop& loop_;
  Bridge bridge_;
  Random& random_;
  Options options_;
  Logger log_;
  Counters counters_;
  std::string id_prefix_;
  std::uint64_t next_id_ = 0;
  std::size_t bodies_bytes_ = 0;
  std::unordered_map<ProjectId, std::shared_ptr<std::size_t>> running_;
  std::unordered_map<std::string, EntryPointer, TextHash, std::equal_to<>> entries_;
  http::Server server_;
  runtime::TaskGroup refreshes_;
};

}  // namespace tau::substrate
