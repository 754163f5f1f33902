// An HTTP/1.1 server on one loop: keep-alive, pipelined requests answered in order, bodies read and
// written piece by piece. The data plane runs one per core; the control APIs use the same.
//
// A Server owns its listeners and connections. Everything runs on the loop's thread. A connection
// that is too slow (idle, in its head, in a body, in taking the answer) is closed; one that breaks
// the protocol is told so and closed.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/log.h"
#include "http/message.h"
#include "http/parser.h"
#include "net/network.h"
#include "runtime/channel.h"
#include "runtime/loop.h"
#include "runtime/task_group.h"

namespace tau::http {

class Session;
class Server;

// The body of the request that is being handled.
class Body {
 public:
  // Up to out.size() bytes; 0 at the end. Errors: resource_exhausted (more than limit(): answer
  // 413), invalid_argument (broken chunks), unavailable (the client went away).
  Task<Result<std::size_t>> read(std::span<std::uint8_t> out);
  // All of it. Errors: as read(); resource_exhausted for more than bytes_max.
  Task<Result<std::string>> read_all(std::size_t bytes_max);
  // How much the client may send in this request; until it is set, Server::Options says so.
  void set_limit(std::uint64_t bytes_max);

 private:
  friend class Session;
  explicit Body(Session& session) : session_(session) {}
  Session& session_;
};

// What a handler gets. Views are valid until the handler's task ends.
struct Request : RequestHead {
  Body& body;
  Session& session;
  // What the pattern of the route named: "/v1/projects/{id}" gives {"id", "…"}.
  std::vector<std::pair<std::string, std::string>> parameters;

  std::string_view parameter(std::string_view name) const;
  net::Endpoint remote() const;
};

// How a handler answers: send() once, or begin(), write()s and finish(). A handler that does
// neither answers 500.
class ResponseWriter {
 public:
  // The whole answer; it leaves when the handler's task has ended. Fields that the server writes
  // itself and fields that are not well-formed are left out.
  void send(const Response& response);
  void send(int status, std::span<const HeaderView> headers, std::string_view body);

  // An answer whose length is not known yet (chunked). Errors: unavailable (the client went away).
  Task<Status> begin(Response head);  // head.body is its first piece
  Task<Status> write(BytesView data);
  Task<Status> finish();

  bool begun() const;

 private:
  friend class Session;
  explicit ResponseWriter(Session& session) : session_(session) {}
  Session& session_;
};

using Handler = std::function<Task<void>(Request& request, ResponseWriter& response)>;

// The answer to a body that could not be read.
Response body_error(const Error& error);

class Server final {
 public:
  struct Options {
    HeadLimits head;
    std::uint64_t body_bytes_max = 1u << 20;  // unless the handler sets another limit
    // A head takes one packet or two; a client that needs longer holds a connection for nothing.
    Duration head_time_max = std::chrono::seconds(10);
    Duration idle_time_max = std::chrono::seconds(60);
    // Between two pieces of a request's body.
    Duration stall_time_max = std::chrono::seconds(30);
    // A body, in either direction, may take `stall_time_max` and a second for each so many bytes:
    // slower than any line that people use, and no time to hold a connection for ever.
    std::uint64_t bytes_per_second_min = 4u << 10;
    // Of answers that wait for their readers, on all connections. Above it, those that wait for the
    // longest are cut: a thousand readers that do not read must not cost the node its memory.
    std::size_t answers_bytes_max = 256u << 20;
    std::size_t connections_max = 10'000;  // at about 12 KiB each
    // What stop() gives requests that are being handled.
    Duration drain_time_max = std::chrono::seconds(2);
  };
  struct Counters {
    std::uint64_t connections = 0, requests = 0, refused = 0, expired = 0;
    std::uint64_t pushed_out = 0;  // closed to make room for others
  };

  Server(runtime::Loop& loop, Handler handler, Options options, Logger log = {});
  ~Server();

  // Accepts from this listener until stop(); several may be given.
  void serve(std::unique_ptr<net::Listener> listener);
  Task<void> stop();  // idempotent

  const Counters& counters() const { return counters_; }
  std::size_t open_connections() const { return sessions_.size(); }

 private:
  friend class Session;

  static Task<void> accept_loop(Server& server, net::Listener& listener);
  static Task<void> run_session(Server& server, std::unique_ptr<net::Connection> connection);
  void sweep();
  void arm_sweep();
  void make_room();
  void hold_answer(std::size_t bytes);

  runtime::Loop& loop_;
  Handler handler_;
  Options options_;
  Logger log_;
  Counters counters_;
  std::vector<std::unique_ptr<net::Listener>> listeners_;
  std::unordered_set<Session*> sessions_;
  std::size_t answers_bytes_ = 0;  // that are being written
  runtime::Signal session_ended_;
  runtime::TaskGroup accepting_;
  runtime::TaskGroup serving_;
  bool stopping_ = false;
  // Refreshed once a second while there are connections: deadlines and Date need no more.
  TimePoint coarse_now_;
  std::string date_;  // "date: …\r\n"
  std::optional<runtime::TimerId> sweep_timer_;
};

}  // namespace tau::http
