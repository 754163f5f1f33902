#include "services/substrate/control.h"

#include <algorithm>

namespace tau::substrate {
namespace {

// Functions that print faster than the control loop keeps up lose lines, not the node its memory.
constexpr std::size_t kBacklogMax = 8u << 20;
constexpr std::size_t kServedMax = 10'000;
// Modules that are compiled ahead when a project that this node serves is deployed anew.
constexpr std::size_t kPrefetchMax = 16;

template <class T>
Task<void> answer_on(Control& control, std::function<Task<Result<T>>(Control&)> ask,
                     runtime::OneShot<T> answer, runtime::Loop& there) {
  Result<T> result = co_await ask(control);
  there.post([answer, r = std::move(result)]() mutable { answer.set_now(std::move(r)); });
}

}  // namespace

Control::Control(runtime::Loop& loop, tns::Client& tns, content::Exchange& exchange,
                 vm::Engine& engine, runtime::ThreadPool& pool, store::Kv& kv,
                 const p2p::Admission& admission, ReadyModules::Options ready, Sites::Options sites,
                 Logs::Options logs, Logger log)
    : loop_(loop),
      tns_(tns),
      log_(log),
      ready_(loop, exchange, engine, pool, kv, admission, std::move(ready), std::move(log)),
      sites_(loop, exchange, engine, pool, ready_, sites),
      logs_(loop, logs),
      tasks_(loop) {}

Task<Status> Control::start() {
  CO_TRY_STATUS(ready_.start());
  self_ = std::make_shared<Control*>(this);
  tns_.on_moved([self = self_](const tns::Moved& moved) {
    if (*self) (*self)->moved(moved);
  });
  co_return Status{};
}

Task<void> Control::stop() {
  if (self_) *self_ = nullptr;
  co_await tasks_.stop();
  co_await sites_.stop();
  co_await ready_.stop();
}

Task<Result<Resolved>> Control::resolve(std::string host) {
  Resolved resolved;
  const TimePoint begun = loop_.now();
  resolved.pointer = tns_.cached(host);
  if (!resolved.pointer) {
    CO_TRY(tns::Client::Found found, tns_.lookup(host));
    resolved.pointer = std::move(found.pointer);
    resolved.source = found.source;
  }
  const TimePoint looked_up = loop_.now();
  resolved.tns = looked_up - begun;
  const tns::Pointer& pointer = *resolved.pointer;
  ready_.expect(pointer.compiled, pointer.holders);
  CO_TRY(resolved.site, sites_.site(pointer.deployment, pointer.project, pointer.holders));
  resolved.deployment = loop_.now() - looked_up;
  resolved.routed_host = tns::routed_host(pointer, host);
  if (served_.size() >= kServedMax && !served_.contains(host))
    served_.erase(std::ranges::min_element(served_, {}, [](const auto& s) { return s.second; }));
  served_.insert_or_assign(std::move(host), looked_up);
  co_return resolved;
}

Task<Result<std::shared_ptr<const LoadedModule>>> Control::module(
    codec::Cid cid, std::shared_ptr<const tns::Pointer> pointer) {
  co_return co_await sites_.module(cid, pointer->compiled, pointer->holders);
}

void Control::say(Output output) {
  const auto note = [&](std::string_view stream, std::string_view text) {
    logs_.append(output.project, output.function, output.request, stream, text);
  };
  output.said.for_each([&](guest::LogStream stream, std::string_view text) {
    note(stream == guest::LogStream::error ? "stderr" : "stdout", text);
  });
  if (output.said.truncated())
    note("failure", "this request printed more than a request may; the rest was dropped");
  if (!output.failure.empty()) note("failure", output.failure);
}

void Control::moved(const tns::Moved& moved) {
  generation_.fetch_add(1, std::memory_order_acq_rel);
  const auto host =
      std::ranges::find_if(moved.hosts, [&](const auto& h) { return served_.contains(h); });
  if (host != moved.hosts.end()) tasks_.spawn(prefetch(*host));
}

// So that the first request after a push finds the new deployment compiled.
Task<void> Control::prefetch(std::string host) {
  const auto resolved = co_await resolve(std::move(host));
  if (!resolved) co_return;
  const auto& functions = resolved->site->deployment.functions;
  for (std::size_t i = 0; i < std::min(functions.size(), kPrefetchMax); ++i) {
    const auto loaded = co_await module(functions[i].module, resolved->pointer);
    if (!loaded) log_.debug("prefetch of " + functions[i].name + ": " + loaded.error().message());
  }
}

template <class T>
Task<Result<T>> Bridge::hop(std::function<Task<Result<T>>(Control&)> ask) {
  runtime::OneShot<T> answer(loop_);
  control_.loop().post([&control = control_, &there = loop_, ask = std::move(ask), answer] {
    control.tasks().spawn(answer_on<T>(control, ask, answer, there));
  });
  co_return co_await answer;
}

Task<Result<Resolved>> Bridge::resolve(std::string host) {
  if (same()) co_return co_await control_.resolve(std::move(host));
  co_return co_await hop<Resolved>(
      [host = std::move(host)](Control& control) { return control.resolve(host); });
}

Task<Result<std::shared_ptr<const LoadedModule>>> Bridge::module(
    codec::Cid cid, std::shared_ptr<const tns::Pointer> pointer) {
  if (same()) co_return co_await control_.module(cid, std::move(pointer));
  co_return co_await hop<std::shared_ptr<const LoadedModule>>(
      [cid, pointer = std::move(pointer)](Control& control) {
        return control.module(cid, pointer);
      });
}

void Bridge::say(Output output) {
  if (same()) {
    control_.say(std::move(output));
    return;
  }
  const std::size_t bytes = output.said.text().size() + output.failure.size() + sizeof output;
  if (backlog_->fetch_add(bytes) + bytes > kBacklogMax) {
    backlog_->fetch_sub(bytes);
    return;
  }
  control_.loop().post(
      [&control = control_, backlog = backlog_, bytes, o = std::move(output)]() mutable {
        backlog->fetch_sub(bytes);
        control.say(std::move(o));
      });
}

}  // namespace tau::substrate
