#include "command/router.h"

#include <chrono>

namespace tau::command {
namespace {

using namespace std::chrono_literals;

// A caller's deadline is believed up to here: the longest long poll takes half a minute.
constexpr Duration kDeadlineMax = 10min;
// From the opened stream to the whole request: a slow peer holds a stream, not a handler.
constexpr Duration kRequestReadMax = 10s;
// Long polls of a few hundred nodes fit; who comes then is told to come back.
constexpr std::size_t kCallsMax = 4096;
// Of one peer: it relays the long polls of many users. Eight such peers do not shut out a ninth.
constexpr std::size_t kCallsPerPeerMax = 500;
// Requests are small, and a peer may have hundreds of streams; of larger ones it may send some at a
// time, the others wait.
constexpr std::size_t kSmallRequest = 64u << 10;
constexpr std::size_t kLargePerPeerMax = 4;

// Cancels one scope when another is cancelled.
struct CancelAlong final : runtime::CancelHook {
  explicit CancelAlong(runtime::Scope& s) : scope(s) {}
  void on_cancel() override { scope.cancel(); }
  runtime::Scope& scope;
};

}  // namespace

struct Router::Served {
  Served(runtime::Loop& loop) : scope(loop), ended(loop) {}
  std::map<std::string, Route, std::less<>> routes;
  runtime::Scope scope;
  std::size_t running = 0;
  std::map<PeerId, std::size_t> running_of;
  runtime::Signal ended;
};

Router::Router(runtime::Loop& loop, p2p::Host& host, Logger log)
    : loop_(loop), host_(host), log_(std::move(log)) {}
Router::~Router() { CHECK(served_.empty()); }

void Router::serve_routes(std::string protocol, std::map<std::string, Route, std::less<>> routes) {
  auto served = std::make_shared<Served>(loop_);
  served->routes = std::move(routes);
  CHECK(served_.emplace(protocol, served).second);
  host_.handle(std::move(protocol), [this, served](std::unique_ptr<p2p::Stream> stream) {
    return answer(served, std::move(stream));
  });
}

Task<void> Router::unserve(std::string_view protocol) {
  const auto it = served_.find(protocol);
  if (it == served_.end()) co_return;
  auto served = it->second;
  host_.handle(it->first, nullptr);
  served_.erase(it);
  served->scope.cancel();
  runtime::Scope own(loop_);  // not cut short: the service is about to be destroyed
  while (served->running > 0) (void)co_await served->ended.wait().in(own);
}

Task<Result<Bytes>> Router::read_request(p2p::Stream& stream) {
  CO_TRY(const std::size_t size, read_frame_size(stream));
  if (size <= kSmallRequest) co_return co_await read_frame_payload(stream, size);
  std::erase_if(large_, [](const auto& entry) { return entry.second.use_count() == 1; });
  auto& known = large_[stream.remote()];
  if (!known) known = std::make_shared<runtime::Semaphore>(loop_, kLargePerPeerMax);
  const auto large = known;
  CO_TRY(const auto permit, large->acquire());
  co_return co_await read_frame_payload(stream, size);
}

Task<void> Router::answer(std::shared_ptr<Served> served, std::unique_ptr<p2p::Stream> stream) {
  const PeerId peer = stream->remote();
  if (!host_.conduct().admit_call(peer)) {
    // Before anything of it is read or made: a flood costs little more than its streams.
    const auto refusal = ResponseFrame::of(
        fail(ErrorCode::resource_exhausted, "too many calls a second; try again more slowly"));
    const auto said = co_await runtime::with_deadline(
        kRequestReadMax, "refusing a call", write_frame(*stream, codec::to_cbor(refusal)));
    if (said) (void)co_await stream->close_write();
    co_return;
  }
  auto payload =
      co_await runtime::with_deadline(kRequestReadMax, "reading a request", read_request(*stream));
  if (!payload) {
    // Not what ends early or takes too long: that may be the network's fault.
    if (payload.error().code() == ErrorCode::invalid_argument)
      host_.conduct().blame(peer, p2p::Misdeed::malformed, payload.error().message());
    co_return;
  }
  Result<codec::Value> result = fail(ErrorCode::internal, "no result");
  const auto certificate = host_.certificate_of(peer);
  auto frame = codec::from_cbor<RequestFrame>(*payload);
  if (!certificate) co_return;  // gone meanwhile
  if (!frame) {
    host_.conduct().blame(peer, p2p::Misdeed::malformed, "a request frame");
    result = fail(std::move(frame).error().context("request frame"));
  } else {
    result = co_await dispatch(served, Peer{peer, *certificate}, *std::move(frame));
  }
  if (!result && result.error().code() == ErrorCode::cancelled)
    result = fail(ErrorCode::unavailable, "the service is stopping");
  auto sent = co_await runtime::with_deadline(
      kRequestReadMax, "sending a response",
      write_frame(*stream, codec::to_cbor(ResponseFrame::of(std::move(result)))));
  if (sent) (void)co_await stream->close_write();
}

Task<Result<codec::Value>> Router::dispatch(std::shared_ptr<Served> served, Peer peer,
                                            RequestFrame frame) {
  const auto it = served->routes.find(frame.command);
  if (it == served->routes.end())
    co_return fail(ErrorCode::unimplemented,
                   "no command \"" + frame.command.substr(0, 64) + "\" here");
  if (!it->second.callers.allow(peer.certificate)) {
    log_.debug("refused " + frame.command + " from " + peer.id.str());
    co_return fail(ErrorCode::permission_denied,
                   "command \"" + frame.command + "\" is not for the roles of " + peer.id.str());
  }
  if (served->scope.cancelled()) co_return fail(ErrorCode::unavailable, "the service is stopping");
  if (served->running >= kCallsMax || served->running_of[peer.id] >= kCallsPerPeerMax)
    co_return fail(ErrorCode::resource_exhausted, "too many calls at once; try again");
  const Duration limit = std::min<Duration>(
      std::chrono::milliseconds(std::min<std::uint64_t>(frame.deadline_ms, 600'000)), kDeadlineMax);
  // Ends with the service, with the connection, and with the caller when that is a task of this
  // node.
  runtime::Scope inner(loop_, served->scope);
  CancelAlong along(inner);
  runtime::Scope& outer = co_await runtime::current_scope();
  if (outer.cancelled()) {
    inner.cancel();
  } else {
    outer.add(along);
  }
  ++served->running;
  ++served->running_of[peer.id];
  auto result = co_await runtime::with_deadline(limit, frame.command,
                                                it->second.handler(peer, std::move(frame.body)))
                    .in(inner);
  --served->running;
  if (--served->running_of[peer.id] == 0) served->running_of.erase(peer.id);
  served->ended.notify_all();
  co_return result;
}

Task<Result<codec::Value>> Router::call_local(std::string protocol, std::string command,
                                              codec::Value body, Duration deadline) {
  const auto it = served_.find(protocol);
  if (it == served_.end())
    co_return fail(ErrorCode::unimplemented, "this node does not serve " + protocol);
  const auto certificate = host_.certificate_of(host_.id());
  if (!certificate) co_return fail(ErrorCode::failed_precondition, "this node has no certificate");
  RequestFrame frame{std::move(command), static_cast<std::uint64_t>(deadline / 1ms),
                     std::move(body)};
  auto served = it->second;
  co_return co_await dispatch(served, Peer{host_.id(), *certificate}, std::move(frame));
}

}  // namespace tau::command
