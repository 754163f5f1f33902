#include "services/substrate/data_plane.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "guest/http_event/exchange.h"

namespace tau::substrate {
namespace {

// How often the module's time of use is written: all loops share it.
constexpr std::int64_t kTouchEveryNs = 1'000'000'000;

std::uint64_t to_us(Duration d) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, d / std::chrono::microseconds(1)));
}

// In lower case and without the dot at the end; `storage` holds it if it must be changed.
std::string_view canonical_host(std::string_view host, std::string& storage) {
  if (host.ends_with('.')) host.remove_suffix(1);
  const auto upper = [](char c) { return c >= 'A' && c <= 'Z'; };
  if (std::ranges::none_of(host, upper)) return host;
  storage = host;
  for (char& c : storage)
    if (upper(c)) c = static_cast<char>(c | 0x20);
  return storage;
}

std::string display_name(const project::DeployedFunction& function) {
  return function.application ? *function.application + "/" + function.name : function.name;
}

// Whether what is served may go on while this lasts.
bool passing(const Error& error) {
  return error.code() != ErrorCode::not_found && error.code() != ErrorCode::invalid_argument;
}

std::string source_note(tns::Client::Source source) {
  switch (source) {
    case tns::Client::Source::network:
      return "asked tns";
    case tns::Client::Source::stale:
      return "tns is silent: as last known";
    case tns::Client::Source::cache:
      break;
  }
  return "cached";
}

std::string compile_note(CompiledBy by) {
  switch (by) {
    case CompiledBy::earlier:
      return "compiled here before";
    case CompiledBy::trusted:
      return "compiled ahead by a trusted node";
    case CompiledBy::this_request:
      break;
  }
  return "";
}

void count(std::atomic<std::uint64_t>& counter) {
  // One writer: no locked instruction is needed.
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

}  // namespace

// A request's share of the memory for bodies. It grows with what arrives: who announces much and
// sends nothing takes nothing from others.
class DataPlane::BodyShare {
 public:
  BodyShare(std::size_t& used, std::size_t most) : used_(used), most_(most) {}
  BodyShare(const BodyShare&) = delete;
  BodyShare& operator=(const BodyShare&) = delete;
  ~BodyShare() { used_ -= bytes_; }

  bool grow(std::size_t bytes) {
    if (used_ + bytes > most_) return false;
    used_ += bytes;
    bytes_ += bytes;
    return true;
  }

 private:
  std::size_t& used_;
  std::size_t most_;
  std::size_t bytes_ = 0;
};

// A run on its way, counted for its project.
class DataPlane::RunShare {
 public:
  explicit RunShare(std::shared_ptr<std::size_t> running) : running_(std::move(running)) {
    ++*running_;
  }
  RunShare(const RunShare&) = delete;
  RunShare& operator=(const RunShare&) = delete;
  ~RunShare() { --*running_; }

 private:
  std::shared_ptr<std::size_t> running_;
};

Trace Sample::to_trace() const {
  Trace trace{at_unix_ms, status, to_us(total), {}};
  trace.steps.push_back({"tns", to_us(tns), resolved ? source_note(source) : "cached"});
  trace.steps.push_back({"deployment", to_us(deployment), ""});
  if (loaded) {
    trace.steps.push_back(
        {"fetch", to_us(fetch), from_peers ? "from other nodes" : "on this node"});
    trace.steps.push_back({"compile", to_us(compile), compile_note(compiled_by)});
  } else {
    trace.steps.push_back({"fetch", 0, "cached"});
    trace.steps.push_back({"compile", 0, "cached"});
  }
  if (body > Duration::zero()) trace.steps.push_back({"body", to_us(body), ""});
  trace.steps.push_back({"instantiate", to_us(instantiate), "a fresh instance"});
  trace.steps.push_back({"run", to_us(run), ""});
  return trace;
}

std::string Sample::server_timing() const {
  std::string out;
  const auto add = [&](std::string_view name, std::uint64_t us, std::string_view note) {
    if (!out.empty()) out += ", ";
    const std::string fraction = std::to_string(us % 1000);
    out += std::string(name) + ";dur=" + std::to_string(us / 1000) + "." +
           std::string(3 - fraction.size(), '0') + fraction;
    if (!note.empty()) out += ";desc=\"" + std::string(note) + "\"";
  };
  for (const Step& step : to_trace().steps) add(step.name, step.microseconds, step.note);
  add("total", to_us(total), "");
  return out;
}

DataPlane::DataPlane(runtime::Loop& loop, Control& control, Random& random, Options options,
                     Logger log)
    : loop_(loop),
      bridge_(loop, control),
      random_(random),
      options_(std::move(options)),
      log_(log),
      server_(
          loop,
          [this](http::Request& request, http::ResponseWriter& response) {
            return handle(request, response);
          },
          options_.server, log),
      refreshes_(loop) {
  std::array<std::uint8_t, 5> prefix;
  random_.fill(prefix);
  id_prefix_ = to_hex(prefix);
}

std::string DataPlane::next_request_id() { return id_prefix_ + "-" + std::to_string(++next_id_); }

Task<void> DataPlane::stop() {
  co_await server_.stop();
  co_await refreshes_.stop();
}

// What may be served without asking first; nothing if it must be asked.
DataPlane::EntryPointer DataPlane::usable(std::string_view host, TimePoint now) {
  const auto found = entries_.find(host);
  if (found == entries_.end()) return nullptr;
  const EntryPointer& entry = found->second;
  if (entry->generation != bridge_.generation()) return nullptr;
  if (now < entry->fresh_until) return entry;
  if (now >= entry->fresh_until + options_.grace) return nullptr;
  if (!std::exchange(entry->refreshing, true))
    refreshes_.spawn(refresh_beside(*this, entry, std::string(host)));
  return entry;
}

Task<void> DataPlane::refresh_beside(DataPlane& self, EntryPointer entry, std::string host) {
  Sample unused;
  (void)co_await self.refresh(std::move(host), unused);
  entry->refreshing = false;
}

Task<void> DataPlane::handle(http::Request& request, http::ResponseWriter& response) {
  const TimePoint begun = loop_.now();
  count(counters_.requests);
  Sample sample;
  std::string storage;
  const std::string_view host = canonical_host(request.host(), storage);
  EntryPointer entry = usable(host, begun);
  if (!entry) {
    auto refreshed = co_await refresh(std::string(host), sample);
    if (!refreshed) {
      refuse(request, response, unresolved(host, refreshed.error()), sample);
      co_return;
    }
    entry = std::move(*refreshed);
  }
  const auto found = entry->site->routes.find(entry->routed_host, request.method, request.path);
  if (found.found != project::Routes::Found::function) {
    refuse(request, response, no_route(request, *entry, found), sample);
    co_return;
  }
  co_await serve_function(request, response, std::move(entry), found.function, begun, sample);
}

Task<Result<DataPlane::EntryPointer>> DataPlane::refresh(std::string host, Sample& sample) {
  // Before asking: a move that comes meanwhile must be asked about again.
  const std::uint64_t generation = bridge_.generation();
  auto resolved = co_await bridge_.resolve(host);
  const TimePoint now = loop_.now();
  sample.resolved = true;
  const auto found = entries_.find(host);
  if (!resolved) {
    if (found == entries_.end()) co_return std::unexpected(resolved.error());
    if (!passing(resolved.error())) {
      entries_.erase(found);
      co_return std::unexpected(resolved.error());
    }
    log_.debug(host + " is served as it was: " + resolved.error().message());
    sample.source = tns::Client::Source::stale;
    found->second->fresh_until = now + options_.lease;
    found->second->generation = generation;
    co_return found->second;
  }
  sample.tns = resolved->tns;
  sample.deployment = resolved->deployment;
  sample.source = resolved->source;
  EntryPointer entry;
  if (found != entries_.end() && found->second->site == resolved->site &&
      found->second->routed_host == resolved->routed_host) {
    entry = found->second;
  } else {
    if (found == entries_.end()) make_room();
    entry = std::make_shared<Entry>();
    entry->site = std::move(resolved->site);
    entry->routed_host = std::move(resolved->routed_host);
    entry->slots.resize(entry->site->deployment.functions.size());
    entry->running = running_of(entry->site->deployment.project);
    entries_.insert_or_assign(std::move(host), entry);
  }
  entry->pointer = std::move(resolved->pointer);
  entry->fresh_until = now + options_.lease;
  entry->generation = generation;
  co_return entry;
}

std::shared_ptr<std::size_t> DataPlane::running_of(const ProjectId& project) {
  // Counts that nobody holds any more go when there are as many as hosts may be.
  if (running_.size() > options_.hosts_max)
    std::erase_if(running_, [](const auto& one) { return one.second.use_count() == 1; });
  auto& running = running_[project];
  if (!running) running = std::make_shared<std::size_t>(0);
  return running;
}

void DataPlane::make_room() {
  if (entries_.size() < options_.hosts_max) return;
  entries_.erase(
      std::ranges::min_element(entries_, {}, [](const auto& e) { return e.second->fresh_until; }));
}

Task<Result<std::shared_ptr<const LoadedModule>>> DataPlane::load(EntryPointer entry,
                                                                  std::size_t function,
                                                                  Sample& sample) {
  const TimePoint begun = loop_.now();
  CO_TRY(auto loaded,
         bridge_.module(entry->site->deployment.functions[function].module, entry->pointer));
  // This request's part of the waiting: another one may have begun the work.
  const Duration waited = loop_.now() - begun;
  sample.loaded = true;
  sample.from_peers = loaded->from_peers;
  sample.compiled_by = loaded->compiled_by;
  sample.compile = std::min(loaded->compile, waited);
  sample.fetch = std::min(loaded->fetch, waited - sample.compile);
  entry->slots[function]->module = loaded;
  co_return loaded;
}

Task<void> DataPlane::serve_function(http::Request& request, http::ResponseWriter& response,
                                     EntryPointer entry, std::size_t index, TimePoint begun,
                                     Sample& sample) {
  const project::DeployedFunction& function = entry->site->deployment.functions[index];
  auto& slot_pointer = entry->slots[index];
  if (!slot_pointer) slot_pointer = std::make_unique<Slot>();
  Slot& slot = *slot_pointer;

  auto module = slot.module.lock();
  if (!module) {
    auto loaded = co_await load(entry, index, sample);
    if (!loaded) {
      Failure failure =
          loaded.error().code() == ErrorCode::invalid_argument
              ? failed(*entry, function,
                       {vm::RunFailure::Kind::start_failed, loaded.error().message(), ""},
                       guest::LogSink())
              : Failure{503, "unavailable", loaded.error().message(), {}, {}};
      note(slot, sample, begun, failure.status);
      refuse(request, response, failure, sample);
      co_return;
    }
    module = std::move(*loaded);
  } else if (const std::int64_t now = begun.since_start.count();
             now - module->used_ns.load(std::memory_order_relaxed) > kTouchEveryNs) {
    module->used_ns.store(now, std::memory_order_relaxed);
    entry->site->used_ns.store(now, std::memory_order_relaxed);
  }

  std::string body;
  BodyShare held(bodies_bytes_, options_.bodies_bytes_max);
  if (request.framing != http::Framing::none) {
    const TimePoint reading = loop_.now();
    auto read = co_await read_body(request, held);
    sample.body = loop_.now() - reading;
    if (!read) {
      note(slot, sample, begun, read.error().status);
      refuse(request, response, read.error(), sample);
      co_return;
    }
    body = std::move(*read);
  }

  std::vector<guest::HttpHeaderView> headers;
  headers.reserve(request.headers.size());
  for (const http::HeaderView& field : request.headers)
    headers.push_back({field.name, field.value});
  std::string decoded;
  guest::HttpRequest event;
  event.method = request.method;
  event.host = request.authority;
  event.path = request.path;
  if (request.path.find('%') != std::string_view::npos) {
    if (auto plain = http::percent_decode(request.path)) decoded = std::move(*plain);
    if (!decoded.empty()) event.path = decoded;
  }
  event.query = request.query;
  event.headers = headers;
  event.body = as_bytes(body);

  if (*entry->running >= options_.runs_per_project_max) {
    const Failure failure{503,
                          "resource_exhausted",
                          "project " + entry->site->deployment.name +
                              " runs as many functions as it may on a node (" +
                              std::to_string(options_.runs_per_project_max) + ")",
                          {},
                          {}};
    note(slot, sample, begun, failure.status);
    refuse(request, response, failure, sample);
    co_return;
  }
  const RunShare running(entry->running);
  guest::HttpExchange exchange(event);
  guest::LogSink output;
  guest::Context context{loop_, random_, output, &exchange, 0, function.name};
  vm::RunLimits limits;
  limits.memory_bytes_max = function.memory_bytes;
  limits.time_max = std::chrono::nanoseconds(function.timeout_ns);
  auto times = co_await module->module->run(function.call, 0, &context, limits);
  if (!times) {
    const Failure failure = failed(*entry, function, std::move(times).error(), std::move(output));
    note(slot, sample, begun, failure.status);
    refuse(request, response, failure, sample);
    co_return;
  }
  if (!output.empty())
    bridge_.say({entry->site->deployment.project,
                 display_name(function),
                 next_request_id(),
                 std::move(output),
                 {}});
  sample.instantiate = times->instantiate;
  sample.run = times->run;
  note(slot, sample, begun, exchange.status());
  answer(request, response, exchange, sample);
}

Task<Result<std::string>> DataPlane::gather_body(http::Request& request, BodyShare& share,
                                                 bool& full) {
  constexpr std::size_t kPiece = 64u << 10;
  request.body.set_limit(options_.body_bytes_max);
  std::string all;
  std::size_t piece = std::clamp<std::uint64_t>(request.content_length, 1024, kPiece);
  for (;;) {
    const std::size_t before = all.size();
    all.resize(before + piece);
    const auto n =
        co_await request.body.read({reinterpret_cast<std::uint8_t*>(all.data()) + before, piece});
    all.resize(before + (n ? *n : 0));
    if (!n) co_return std::unexpected(n.error());
    if (*n == 0) co_return all;
    full = !share.grow(*n);
    if (full) co_return fail(ErrorCode::resource_exhausted, "this node holds too many bodies");
    piece = kPiece;
  }
}

Task<std::expected<std::string, DataPlane::Failure>> DataPlane::read_body(http::Request& request,
                                                                          BodyShare& share) {
  bool full = false;
  auto body = co_await runtime::with_deadline(options_.body_time_max, "reading the body",
                                              gather_body(request, share, full));
  if (body) co_return std::move(*body);
  if (full)
    co_return std::unexpected(
        Failure{503, "resource_exhausted", "this node holds too many request bodies", {}, {}});
  const http::Response why = http::body_error(body.error());
  co_return std::unexpected(
      Failure{why.status, name_of(body.error().code()), body.error().message(), {}, {}});
}

void DataPlane::note(Slot& slot, Sample& sample, TimePoint begun, int status) {
  sample.total = loop_.now() - begun;
  sample.at_unix_ms = loop_.wall_unix_ms();
  sample.status = static_cast<std::uint32_t>(status);
  if (slot.trace.requests++ == 0) slot.trace.first = sample;
  slot.trace.last = sample;
}

void DataPlane::answer(http::Request& request, http::ResponseWriter& response,
                       const guest::HttpExchange& exchange, const Sample& sample) {
  std::vector<http::HeaderView> fields;
  fields.reserve(exchange.headers().size() + 1);
  for (const guest::HttpHeader& field : exchange.headers())
    fields.push_back({field.name, field.value});
  std::string timing;
  if (request.headers.get("tau-trace") == "1") {
    timing = sample.server_timing();
    fields.push_back({"server-timing", timing});
  }
  response.send(exchange.status(), fields, exchange.body());
}

void DataPlane::refuse(http::Request& request, http::ResponseWriter& response,
                       const Failure& failure, const Sample& sample) {
  if (failure.status >= 500) count(counters_.failures);
  http::Response out;
  out.status = failure.status;
  if (request.headers.get("accept").find("application/json") != std::string_view::npos) {
    nlohmann::json error{{"code", failure.code}, {"message", failure.message}};
    if (!failure.request.empty()) error["request"] = failure.request;
    out.headers.add("content-type", "application/json");
    out.body = nlohmann::json{{"error", error}}.dump(-1, ' ', false,
                                                     nlohmann::json::error_handler_t::replace) +
               "\n";
  } else {
    out.headers.add("content-type", "text/plain; charset=utf-8");
    out.body = std::to_string(failure.status) + ": " + failure.message + "\n";
  }
  out.headers.add("cache-control", "no-store");
  if (!failure.request.empty()) out.headers.add("tau-request-id", failure.request);
  if (!failure.allow.empty()) out.headers.add("allow", failure.allow);
  if (failure.status == 503) out.headers.add("retry-after", "1");
  if (request.headers.get("tau-trace") == "1")
    out.headers.add("server-timing", sample.server_timing());
  response.send(out);
}

DataPlane::Failure DataPlane::unresolved(std::string_view host, const Error& error) const {
  if (passing(error))
    return {503,
            name_of(error.code()),
            "\"" + std::string(host) + "\" cannot be served now: " + error.message(),
            {},
            {}};
  std::string message = error.message();
  if (!options_.suffix.empty())
    message += "; functions answer at http://<label>." + options_.suffix + "/…";
  return {
      404, "not_found", "nothing is served at \"" + std::string(host) + "\": " + message, {}, {}};
}

DataPlane::Failure DataPlane::no_route(const http::Request& request, const Entry& entry,
                                       const project::Routes::Answer& found) const {
  const std::string what = std::string(request.method) + " " + std::string(request.path);
  const std::string project = "project " + entry.site->deployment.name;
  if (found.found == project::Routes::Found::other_method) {
    std::string allow;
    for (const std::string& method : found.allowed) allow += (allow.empty() ? "" : ", ") + method;
    return {
        405, "method_not_allowed", project + " answers this path to " + allow + " only", {}, allow};
  }
  if (found.found == project::Routes::Found::no_host)
    return {404,
            "not_found",
            project + " has the host, but no function of this deployment answers there",
            {},
            {}};
  return {404,
          "not_found",
          project + " has no function for " + what + " (paths match exactly)",
          {},
          {}};
}

DataPlane::Failure DataPlane::failed(const Entry& entry, const project::DeployedFunction& function,
                                     vm::RunFailure failure, guest::LogSink output) {
  using Kind = vm::RunFailure::Kind;
  const std::string name = display_name(function);
  if (failure.kind == Kind::overloaded)
    return {503, "resource_exhausted", "this node runs as many functions as it can", {}, {}};
  if (failure.kind == Kind::cancelled) return {503, "unavailable", "this node is stopping", {}, {}};
  const std::string id = next_request_id();
  std::string text = failure.message;
  if (!failure.backtrace.empty()) text += "\n" + failure.backtrace;
  bridge_.say({entry.site->deployment.project, name, id, std::move(output), std::move(text)});
  if (failure.kind == Kind::timeout)
    return {504,
            "deadline_exceeded",
            "function " + name + " took longer than its timeout of " +
                std::to_string(function.timeout_ns / 1'000'000) + " ms; request " + id +
                " in the project's logs",
            id,
            {}};
  return {500,
          "internal",
          "function " + name + " failed; request " + id + " in the project's logs says why",
          id,
          {}};
}

std::optional<RouteTrace> DataPlane::trace(std::string_view host, std::string_view method,
                                           std::string_view path) const {
  const auto found = entries_.find(host);
  if (found == entries_.end()) return std::nullopt;
  const Entry& entry = *found->second;
  const auto route = entry.site->routes.find(entry.routed_host, method, path);
  if (route.found != project::Routes::Found::function || !entry.slots[route.function])
    return std::nullopt;
  return entry.slots[route.function]->trace;
}

}  // namespace tau::substrate
