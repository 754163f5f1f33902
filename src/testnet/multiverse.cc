#include "testnet/multiverse.h"

#include <fmt/format.h>

#include <fstream>

namespace tau::testnet {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kKeptBytesMax = 1u << 20;  // of 64 nodes: a few KB

}  // namespace

Result<std::optional<Kept>> read_kept(const fs::path& folder) {
  const fs::path file = folder / "universe.json";
  std::ifstream in(file, std::ios::binary);
  if (!in) return std::optional<Kept>();
  std::string text(kKeptBytesMax, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  auto json = http::parse_json(text);
  if (!json) return fail(std::move(json).error().context(file.string()));
  auto kept = kept_from_json(*json);
  if (!kept) return fail(std::move(kept).error().context(file.string()));
  return std::optional(*std::move(kept));
}

Result<UniverseOptions> Multiverse::decide(const NewUniverse& what) const {
  TRY_STATUS(check_universe_name(what.name));
  TRY(Layout layout, lay_out(what.wishes));
  UniverseOptions options;
  options.name = what.name;
  options.keep = what.keep == Keep::yes ? Keep::yes : options_.keep;
  options.log_level = options_.log_level;
  options.build_cache = options_.build_cache;
  options.plan = std::move(layout.nodes);
  const auto first = [](std::uint16_t a, std::uint16_t b) { return a != 0 ? a : b; };
  options.http_port = first(layout.ports.http, what.ports.http);
  options.api_port = first(layout.ports.api, what.ports.api);
  options.dns_port = first(layout.ports.dns, what.ports.dns);
  if (!options_.folder_of) {
    options.data = what.name;  // a simulated world tells its disks apart by it
    return options;
  }
  TRY(options.data, options_.folder_of(what.name, options.keep));
  TRY(const auto kept, read_kept(options.data));
  if (!kept) return options;
  const Wishes& wishes = what.wishes;
  const bool nodes_wished =
      wishes.empty || !wishes.enable.empty() || !wishes.disable.empty() || !wishes.copies.empty();
  if (nodes_wished)
    return fail(ErrorCode::failed_precondition,
                fmt::format("universe {} is kept in {} with its nodes: start it without saying "
                            "which (dream inject adds some), or erase it first: dream kill "
                            "universe {} --erase",
                            what.name, options.data.string(), what.name));
  options.preferred = kept->ports;
  const std::vector<NodePlan> bound = std::exchange(options.plan, kept->nodes);
  for (const NodePlan& wished : bound)
    for (NodePlan& node : options.plan)
      if (node.name == wished.name && wished.p2p_port != 0) node.p2p_port = wished.p2p_port;
  return options;
}

Task<Status> Multiverse::create(NewUniverse what) {
  if (universes_.contains(what.name))
    co_return fail(ErrorCode::already_exists, "universe " + what.name + " runs already");
  CO_TRY_SYNC(UniverseOptions options, decide(what));
  co_return co_await add(std::move(options));
}

Task<Status> Multiverse::add(UniverseOptions options) {
  const std::string name = options.name;
  if (stopped_) co_return fail(ErrorCode::unavailable, "dream is stopping");
  if (universes_.contains(name))
    co_return fail(ErrorCode::already_exists, "universe " + name + " runs already");
  if (universes_.size() >= kUniversesMax)
    co_return fail(ErrorCode::resource_exhausted,
                   fmt::format("{} universes run already", kUniversesMax));
  const auto universe = std::make_shared<Universe>(process_, std::move(options), log_);
  universe->on_change = [this] { changed(); };
  universes_.emplace(name, universe);
  // Who asked may go away meanwhile; a universe is never left half started.
  runtime::Scope own(process_.loop());
  Status status = co_await universe->start().in(own);
  if (!status) universes_.erase(name);
  changed();
  co_return status;
}

Task<Status> Multiverse::remove(std::string name, Erase erase) {
  CO_TRY_SYNC(Universe * universe, find(name));
  if (!universe->ready())
    co_return fail(ErrorCode::failed_precondition, "universe " + name + " is still starting");
  CO_TRY_SYNC_STATUS(universe->write_kept(true));
  // Ours from here on: a second remove() finds nothing.
  const auto taken = universes_.extract(name);
  runtime::Scope own(process_.loop());
  co_await taken.mapped()->stop().in(own);
  changed();
  if (erase == Erase::yes && options_.folder_of) {
    std::error_code error;
    fs::remove_all(taken.mapped()->data(), error);
    if (error)
      co_return fail(ErrorCode::unavailable,
                     fmt::format("universe {} has stopped, but {}: {}", name,
                                 taken.mapped()->data().string(), error.message()));
  }
  co_return Status{};
}

Task<void> Multiverse::stop() {
  stopped_ = true;
  while (!universes_.empty()) {
    const auto taken = universes_.extract(universes_.begin());
    co_await taken.mapped()->stop();
  }
}

Result<Universe*> Multiverse::find(std::string_view name) const {
  const auto it = universes_.find(name);
  if (it != universes_.end()) return it->second.get();
  std::vector<std::string> names;
  for (const auto& [known, universe] : universes_) names.push_back(known);
  return fail(
      ErrorCode::not_found,
      fmt::format("no universe \"{}\" here; there {}", name,
                  names.empty() ? "is none" : fmt::format("is {}", fmt::join(names, ", "))));
}

std::vector<Universe*> Multiverse::all() const {
  std::vector<Universe*> out;
  for (const auto& [name, universe] : universes_) out.push_back(universe.get());
  return out;
}

}  // namespace tau::testnet
