#include "services/substrate/service.h"

#include <algorithm>

namespace tau::substrate {

struct Service::Running {
  explicit Running(Plane p) : loop(p.loop), network(p.network) {}
  runtime::Loop& loop;
  net::Network& network;
  // Both belong to `loop`.
  std::unique_ptr<DataPlane> plane;
  std::unique_ptr<runtime::TaskGroup> tasks;
};

Service::Service(runtime::Loop& loop, command::Router& router, tns::Client& tns,
                 content::Exchange& exchange, store::Kv& kv, const p2p::Admission& admission,
                 vm::Engine& engine, runtime::ThreadPool& pool, Random& random,
                 std::vector<Plane> planes, Options options, Logger log)
    : loop_(loop),
      router_(router),
      exchange_(exchange),
      random_(random),
      options_(std::move(options)),
      log_(log),
      control_(loop, tns, exchange, engine, pool, kv, admission, options_.ready, options_.sites,
               options_.logs, log) {
  for (const Plane& plane : planes) planes_.push_back(std::make_unique<Running>(plane));
}
Service::~Service() { CHECK(!running_); }

template <class T>
Task<Result<T>> Service::on(Running& plane, std::function<Task<Result<T>>()> work) {
  if (&plane.loop == &loop_) co_return co_await work();
  runtime::OneShot<T> answer(loop_);
  // Not cut short: what runs there refers to what is here.
  runtime::Scope own(loop_);
  plane.loop.post([&plane, &here = loop_, work = std::move(work), answer] {
    if (!plane.tasks) plane.tasks = std::make_unique<runtime::TaskGroup>(plane.loop);
    plane.tasks->spawn([](std::function<Task<Result<T>>()> w, runtime::OneShot<T> a,
                          runtime::Loop& back) -> Task<void> {
      Result<T> result = co_await w();
      back.post([a, r = std::move(result)]() mutable { a.set_now(std::move(r)); });
    }(work, answer, here));
  });
  co_return co_await
      [](runtime::OneShot<T> a) -> Task<Result<T>> { co_return co_await a; }(answer).in(own);
}

Task<Result<std::vector<net::Endpoint>>> Service::open(Running& plane,
                                                       std::vector<net::Endpoint> listen) {
  std::uint16_t port = 0;
  for (net::Endpoint& at : listen) {
    if (at.port == 0) at.port = port;
    CO_TRY_SYNC(auto listener, plane.network.listen(at, net::SharePort::yes));
    at = listener->local();
    if (port == 0) port = at.port;
    plane.plane->serve(std::move(listener));
  }
  co_return listen;
}

Task<Status> Service::start_plane(Running& plane) {
  const auto& listen = endpoints_.empty() ? options_.listen : endpoints_;
  auto opened = co_await on<std::vector<net::Endpoint>>(plane, [this, &plane, listen] {
    plane.plane = std::make_unique<DataPlane>(plane.loop, control_, random_, options_.plane, log_);
    return open(plane, listen);
  });
  if (!opened) co_return std::unexpected(opened.error());
  endpoints_ = std::move(*opened);
  co_return Status{};
}

Task<Status> Service::start() {
  CHECK(!running_);
  running_ = true;
  if (const Status ready = co_await control_.start(); !ready) {
    running_ = false;
    co_return ready;
  }
  for (const auto& plane : planes_) {
    const Status started = co_await start_plane(*plane);
    if (started) continue;
    co_await stop();
    co_return started;
  }
  router_.serve(kProtocol, *this, Commands{});
  co_return Status{};
}

Task<void> Service::stop() {
  if (!std::exchange(running_, false)) co_return;
  co_await router_.unserve(kProtocol);
  for (const auto& plane : planes_) {
    if (!plane->plane) continue;
    Running& at = *plane;
    (void)co_await on<int>(at, [&at]() -> Task<Result<int>> {
      return [](Running& p) -> Task<Result<int>> {
        co_await p.plane->stop();
        p.plane.reset();
        co_return 0;
      }(at);
    });
    // The group ends on its own loop, behind the task that has just answered.
    if (at.tasks) at.loop.post([tasks = std::move(at.tasks)] {});
  }
  co_await control_.stop();
  endpoints_.clear();
}

Task<Result<ReadLogs::Response>> Service::handle(command::Peer, ReadLogs::Request request) {
  co_return co_await control_.logs().read(std::move(request));
}

Task<Result<ReadTrace::Response>> Service::handle(command::Peer, ReadTrace::Request request) {
  const std::string method = request.method.empty() ? "GET" : request.method;
  ReadTrace::Response response;
  RouteTrace all;
  for (const auto& plane : planes_) {
    Running& at = *plane;
    if (!at.plane) continue;
    const auto found = co_await on<std::optional<RouteTrace>>(
        at, [&at, host = request.host, method, path = request.path] {
          return [](Running& p, std::string h, std::string m,
                    std::string q) -> Task<Result<std::optional<RouteTrace>>> {
            if (!p.plane) co_return std::optional<RouteTrace>();
            co_return p.plane->trace(h, m, q);
          }(at, host, method, path);
        });
    if (!found || !*found || (*found)->requests == 0) continue;
    const RouteTrace& trace = **found;
    if (all.requests == 0 || trace.first.at_unix_ms < all.first.at_unix_ms) all.first = trace.first;
    if (all.requests == 0 || trace.last.at_unix_ms >= all.last.at_unix_ms) all.last = trace.last;
    all.requests += trace.requests;
  }
  if (all.requests == 0)
    co_return fail(ErrorCode::not_found, "no request to " + method + " " + request.host +
                                             request.path + " on this node yet");
  response.requests = all.requests;
  response.first = all.first.to_trace();
  response.last = all.last.to_trace();
  co_return response;
}

Task<Result<Statistics::Response>> Service::handle(command::Peer, command::Empty) {
  Statistics::Response response;
  for (const auto& plane : planes_) {
    if (!plane->plane) continue;
    response.requests += plane->plane->counters().requests.load(std::memory_order_relaxed);
    response.failures += plane->plane->counters().failures.load(std::memory_order_relaxed);
  }
  response.modules_fetched = control_.sites().modules_fetched();
  const auto counters = exchange_.counters();
  response.blocks_from_peers = counters.bitswap.blocks_received;
  response.bytes_from_peers = counters.bitswap.bytes_received;
  co_return response;
}

}  // namespace tau::substrate
