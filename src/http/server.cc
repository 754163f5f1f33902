#include "http/server.h"

#include <algorithm>
#include <ctime>

#include "http/session.h"

namespace tau::http {
namespace {

constexpr auto kSweepEvery = std::chrono::seconds(1);

// IMF-fixdate (RFC 9110, 5.6.7).
std::string date_line(std::int64_t unix_ms) {
  const std::time_t seconds = unix_ms / 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  std::array<char, 64> text;
  // The C locale's names are the ones that the format wants; nothing here sets another.
  const std::size_t n =
      std::strftime(text.data(), text.size(), "date: %a, %d %b %Y %H:%M:%S GMT\r\n", &utc);
  return {text.data(), n};
}

}  // namespace

Task<Result<std::size_t>> Body::read(std::span<std::uint8_t> out) {
  return session_.read_body(out);
}
void Body::set_limit(std::uint64_t bytes_max) { session_.set_body_limit(bytes_max); }

Task<Result<std::string>> Body::read_all(std::size_t bytes_max) {
  set_limit(bytes_max);
  std::string all;
  // The announced length is a promise, not memory: grow as bytes come.
  std::size_t piece = std::clamp<std::size_t>(session_.content_length(), 1024, 64u << 10);
  for (;;) {
    const std::size_t before = all.size();
    all.resize(before + piece);
    const auto n = co_await read({reinterpret_cast<std::uint8_t*>(all.data()) + before, piece});
    all.resize(before + (n ? *n : 0));
    if (!n) co_return std::unexpected(n.error());
    if (*n == 0) co_return all;
  }
}

std::string_view Request::parameter(std::string_view name) const {
  for (const auto& [key, value] : parameters)
    if (key == name) return value;
  return {};
}
net::Endpoint Request::remote() const { return session.connection().remote(); }

void ResponseWriter::send(const Response& response) {
  session_.send(response.status, response.headers, response.body);
}
void ResponseWriter::send(int status, std::span<const HeaderView> headers, std::string_view body) {
  session_.send(status, headers, body);
}
Task<Status> ResponseWriter::begin(Response head) { return session_.begin(std::move(head)); }
Task<Status> ResponseWriter::write(BytesView data) { return session_.write(data); }
Task<Status> ResponseWriter::finish() { return session_.finish(); }
bool ResponseWriter::begun() const { return session_.begun(); }

Response body_error(const Error& error) {
  int status = http_status_of(error.code());
  if (error.code() == ErrorCode::resource_exhausted) status = 413;
  if (error.code() == ErrorCode::deadline_exceeded) status = 408;
  if (error.code() == ErrorCode::unavailable) status = 400;
  return Response::text(status, error.message() + "\n");
}

Server::Server(runtime::Loop& loop, Handler handler, Options options, Logger log)
    : loop_(loop),
      handler_(std::move(handler)),
      options_(options),
      log_(std::move(log)),
      session_ended_(loop),
      accepting_(loop),
      serving_(loop) {}
Server::~Server() { CHECK(sessions_.empty()); }

void Server::serve(std::unique_ptr<net::Listener> listener) {
  listeners_.push_back(std::move(listener));
  accepting_.spawn(accept_loop(*this, *listeners_.back()));
}

Task<void> Server::accept_loop(Server& server, net::Listener& listener) {
  for (;;) {
    auto connection = co_await listener.accept();
    if (!connection) {
      if (connection.error().code() != ErrorCode::cancelled)
        server.log_.warning("no longer accepting on " + listener.local().to_string() + ": " +
                            connection.error().message());
      co_return;
    }
    while (server.sessions_.size() >= server.options_.connections_max) {
      server.make_room();
      if (!co_await server.session_ended_.wait()) co_return;
    }
    ++server.counters_.connections;
    server.serving_.spawn(run_session(server, std::move(*connection)));
  }
}

Task<void> Server::run_session(Server& server, std::unique_ptr<net::Connection> connection) {
  runtime::Scope& outer = co_await runtime::current_scope();
  runtime::Scope scope(server.loop_, outer);
  Session session(server, std::move(connection));
  session.set_scope(&scope);
  server.arm_sweep();
  server.sessions_.insert(&session);
  co_await session.run().in(scope);
  server.sessions_.erase(&session);
  session.set_scope(nullptr);
  server.session_ended_.notify_all();
}

void Server::arm_sweep() {
  if (sweep_timer_) return;
  coarse_now_ = loop_.now();
  date_ = date_line(loop_.wall_unix_ms());
  sweep_timer_ = loop_.call_after(kSweepEvery, [this] { sweep(); });
}

void Server::sweep() {
  sweep_timer_.reset();
  if (sessions_.empty()) return;
  arm_sweep();
  for (Session* session : sessions_) {
    if (session->deadline() > coarse_now_) continue;
    ++counters_.expired;
    session->cancel();
  }
}

// Closes the connection that is worth least: idle ones before those that have begun a request,
// these before those in the middle of a body, the longest first. Never one whose request is
// handled.
void Server::make_room() {
  const auto worth = [](const Session* s) { return std::pair(s->waits_for(), s->waiting_since()); };
  Session* least = nullptr;
  for (Session* session : sessions_) {
    if (session->waits_for() == Session::Waits::nothing) continue;
    if (!least || worth(session) < worth(least)) least = session;
  }
  if (!least) return;
  ++counters_.pushed_out;
  least->cancel();
}

// Counts an answer that is about to be written; cuts others where there are too many of them.
void Server::hold_answer(std::size_t bytes) {
  answers_bytes_ += bytes;
  if (answers_bytes_ <= options_.answers_bytes_max) return;
  std::vector<Session*> writing;
  std::size_t sum = bytes;  // of those that go on
  for (Session* session : sessions_) {
    if (session->waits_for() != Session::Waits::write || session->cut()) continue;
    writing.push_back(session);
    sum += session->answer_bytes();
  }
  std::ranges::sort(writing, {}, &Session::waiting_since);
  for (Session* session : writing) {
    if (sum <= options_.answers_bytes_max) return;
    sum -= session->answer_bytes();
    ++counters_.pushed_out;
    session->cancel();
  }
}

Task<void> Server::stop() {
  stopping_ = true;
  co_await accepting_.stop();
  listeners_.clear();
  for (Session* session : sessions_)
    if (session->idle()) session->cancel();
  const TimePoint until = loop_.now() + options_.drain_time_max;
  const runtime::TimerId timer = loop_.call_at(until, [this] { session_ended_.notify_all(); });
  while (!sessions_.empty() && loop_.now() < until) {
    if (!co_await session_ended_.wait()) break;
  }
  loop_.cancel_timer(timer);
  co_await serving_.stop();
  if (sweep_timer_) loop_.cancel_timer(*sweep_timer_);
  sweep_timer_.reset();
}

}  // namespace tau::http
