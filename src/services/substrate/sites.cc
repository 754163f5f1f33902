#include "services/substrate/sites.h"

#include <algorithm>

#include "content/unixfs.h"

namespace tau::substrate {
namespace {

constexpr std::size_t kBrokenMax = 1'000;
// Bytes of machine code for a byte of wasm, about.
constexpr std::uint64_t kCodePerWasm = 4;

template <class Map>
auto least_recently_used(Map& map) {
  return std::ranges::min_element(map, {}, [](const auto& entry) {
    return entry.second->used_ns.load(std::memory_order_relaxed);
  });
}

// That nobody has it now says nothing about whether it exists: who deployed it has it.
std::unexpected<Error> not_fetched(Error error, std::string what) {
  if (error.code() == ErrorCode::not_found) error = Error(ErrorCode::unavailable, error.message());
  return fail(std::move(error).context("fetching " + what));
}

}  // namespace

Sites::Sites(runtime::Loop& loop, content::Exchange& exchange, vm::Engine& engine,
             runtime::ThreadPool& pool, ReadyModules& ready, Options options)
    : loop_(loop),
      exchange_(exchange),
      engine_(engine),
      pool_(pool),
      ready_(ready),
      options_(options),
      improving_(loop, 1),
      site_flights_(loop),
      module_flights_(loop),
      tasks_(loop) {}

Task<void> Sites::stop() { co_await tasks_.stop(); }

Task<Result<std::shared_ptr<const Site>>> Sites::site(codec::Cid cid, ProjectId project,
                                                      std::vector<PeerId> hints) {
  SitePointer site;
  if (const auto found = sites_.find(cid); found != sites_.end()) {
    site = found->second;
  } else {
    CO_TRY(site, site_flights_.get(tasks_, cid,
                                   [&] { return load_site(cid, project, std::move(hints)); }));
  }
  // A flight may have been another pointer's to the same block.
  if (site->deployment.project != project)
    co_return fail(ErrorCode::data_loss, "deployment " + cid.to_string() + " is of project " +
                                             site->deployment.project.str() + ", not of " +
                                             project.str());
  site->used_ns.store(loop_.now().since_start.count(), std::memory_order_relaxed);
  co_return site;
}

Task<Result<Sites::SitePointer>> Sites::load_site(codec::Cid cid, ProjectId project,
                                                  std::vector<PeerId> hints) {
  content::Fetch how;
  how.hints = std::move(hints);
  how.deadline = options_.fetch_time_max;
  auto block = co_await exchange_.get(cid, std::move(how));
  if (!block) co_return not_fetched(std::move(block).error(), "deployment " + cid.to_string());
  auto deployment = project::decode_deployment(*block);
  if (!deployment)
    co_return fail(ErrorCode::data_loss, "block " + cid.to_string() + " of project " +
                                             project.str() +
                                             " is no deployment: " + deployment.error().message());
  auto site = std::make_shared<const Site>(cid, std::move(*deployment));
  while (sites_.size() >= options_.sites_max) sites_.erase(least_recently_used(sites_));
  sites_[cid] = site;
  co_return site;
}

Task<Result<std::shared_ptr<const LoadedModule>>> Sites::module(codec::Cid cid,
                                                                std::optional<codec::Cid> compiled,
                                                                std::vector<PeerId> hints) {
  const TimePoint now = loop_.now();
  if (const auto found = modules_.find(cid); found != modules_.end()) {
    found->second->used_ns.store(now.since_start.count(), std::memory_order_relaxed);
    co_return found->second;
  }
  if (const auto broken = broken_.find(cid); broken != broken_.end()) {
    if (broken->second.until > now) co_return fail(broken->second.error);
    broken_.erase(broken);
  }
  co_return co_await module_flights_.get(
      tasks_, cid, [&] { return load_counted(cid, compiled, std::move(hints)); });
}

Task<Result<Sites::ModulePointer>> Sites::load_counted(codec::Cid cid,
                                                       std::optional<codec::Cid> compiled,
                                                       std::vector<PeerId> hints) {
  ++loading_;
  auto loaded = co_await load_module(cid, compiled, std::move(hints));
  --loading_;
  last_load_ = loop_.now();
  co_return loaded;
}

Task<Result<Sites::ModulePointer>> Sites::load_module(codec::Cid cid,
                                                      std::optional<codec::Cid> compiled,
                                                      std::vector<PeerId> hints) {
  const TimePoint begun = loop_.now();
  const std::uint64_t fetches = exchange_.counters().fetches;
  auto ready = co_await ready_.find_own(cid);
  const CompiledBy by = ready ? CompiledBy::earlier : CompiledBy::trusted;
  if (!ready) ready = co_await ready_.find_trusted(cid, compiled, hints);
  if (!ready) co_return co_await compile_module(cid, std::move(hints));
  auto loaded = std::make_shared<LoadedModule>();
  loaded->module = std::move(ready->module);
  loaded->wasm_bytes = ready->bytes / kCodePerWasm;
  loaded->compiled_by = by;
  loaded->from_peers = exchange_.counters().fetches > fetches;
  loaded->fetch = loop_.now() - begun;
  loaded->used_ns.store(loop_.now().since_start.count(), std::memory_order_relaxed);
  keep(cid, loaded);
  co_return loaded;
}

Task<Result<Sites::ModulePointer>> Sites::compile_module(codec::Cid cid,
                                                         std::vector<PeerId> hints) {
  auto loaded = std::make_shared<LoadedModule>();
  const TimePoint begun = loop_.now();
  const std::uint64_t fetches = exchange_.counters().fetches;
  content::Fetch how;
  how.hints = std::move(hints);
  how.deadline = options_.fetch_time_max;
  const auto source = exchange_.source(std::move(how));
  auto wasm = co_await content::read_file(*source, cid, options_.module_bytes_max);
  if (!wasm) co_return fail(std::move(wasm).error().context("fetching module " + cid.to_string()));
  const TimePoint fetched = loop_.now();
  ++modules_fetched_;
  loaded->fetch = fetched - begun;
  loaded->from_peers = exchange_.counters().fetches > fetches;
  loaded->wasm_bytes = wasm->size();
  const vm::Effort effort =
      wasm->size() >= options_.quick_bytes_min ? vm::Effort::quick : vm::Effort::full;
  auto compiled =
      co_await pool_.run([this, &wasm, effort] { return engine_.compile(*wasm, effort); });
  if (!compiled) {
    Error error = std::move(compiled).error().context("compiling module " + cid.to_string());
    if (broken_.size() >= kBrokenMax) broken_.clear();
    broken_.insert_or_assign(cid, Broken{error, loop_.now() + options_.broken_time});
    co_return fail(std::move(error));
  }
  loaded->compile = loop_.now() - fetched;
  loaded->module = std::move(*compiled);
  loaded->used_ns.store(loop_.now().since_start.count(), std::memory_order_relaxed);
  keep(cid, loaded);
  if (effort == vm::Effort::quick) {
    tasks_.spawn(improve(cid));
  } else {
    tasks_.spawn(ready_.keep(cid, loaded->module));
  }
  co_return loaded;
}

// Compiles once more, well, what was compiled quickly: when it is calm, for it takes twice the
// time, and no request waits for it.
Task<void> Sites::improve(codec::Cid cid) {
  const TimePoint begun = loop_.now();
  const auto permit = co_await improving_.acquire();
  if (!permit) co_return;
  while (loop_.now() - begun < options_.calm_wait_max) {
    const TimePoint calm = last_load_ + options_.calm_time;
    if (loading_ == 0 && loop_.now() >= calm) break;
    const Duration wait = loading_ > 0 ? options_.calm_time : calm - loop_.now();
    if (!co_await runtime::sleep_for(wait)) co_return;
  }
  (void)co_await compile_well(cid);  // on failure, what is there serves on
}

Task<Status> Sites::compile_well(codec::Cid cid) {
  if (!modules_.contains(cid)) co_return Status{};
  content::LocalSource local(exchange_.blocks());
  CO_TRY(const Bytes wasm, content::read_file(local, cid, options_.module_bytes_max));
  auto compiled =
      co_await pool_.run([this, &wasm] { return engine_.compile(wasm, vm::Effort::full); });
  if (!compiled) co_return fail(std::move(compiled).error());
  co_await ready_.keep(cid, *compiled);
  if (const auto found = modules_.find(cid); found != modules_.end()) {
    const LoadedModule& quick = *found->second;
    auto better = std::make_shared<LoadedModule>();
    better->module = std::move(*compiled);
    better->wasm_bytes = quick.wasm_bytes;
    better->compiled_by = CompiledBy::earlier;
    better->used_ns.store(quick.used_ns.load(std::memory_order_relaxed), std::memory_order_relaxed);
    found->second = std::move(better);  // planes notice that the other one is gone
  }
  co_return Status{};
}

void Sites::keep(codec::Cid cid, ModulePointer module) {
  while (!modules_.empty() && (modules_.size() >= options_.modules_max ||
                               module_bytes_ + module->wasm_bytes > options_.modules_bytes_max)) {
    const auto oldest = least_recently_used(modules_);
    module_bytes_ -= oldest->second->wasm_bytes;
    modules_.erase(oldest);
  }
  module_bytes_ += module->wasm_bytes;
  modules_.insert_or_assign(cid, std::move(module));
}

}  // namespace tau::substrate
