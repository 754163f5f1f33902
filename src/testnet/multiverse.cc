#include "testnet/multiverse.h"

#include <fmt/format.h>

namespace tau::testnet {

Task<Status> Multiverse::add(UniverseOptions options) {
  const std::string name = options.name;
  if (universes_.contains(name))
    co_return fail(ErrorCode::already_exists, "universe " + name + " runs already");
  if (universes_.size() >= kUniversesMax)
    co_return fail(ErrorCode::resource_exhausted,
                   fmt::format("{} universes run already", kUniversesMax));
  auto made = std::make_unique<Universe>(process_, std::move(options), log_.named(name));
  Universe& universe = *made;
  universe.on_change = [this] { changed(); };
  universes_.emplace(name, std::move(made));
  Status status = co_await universe.start();
  if (!status) universes_.erase(name);
  changed();
  co_return status;
}

Task<Status> Multiverse::remove(std::string name) {
  CO_TRY_SYNC(const Universe* universe, find(name));
  if (!universe->ready())
    co_return fail(ErrorCode::failed_precondition, "universe " + name + " is still starting");
  // Ours from here on: a second remove() finds nothing.
  const auto taken = universes_.extract(name);
  co_await taken.mapped()->stop();
  changed();
  co_return Status{};
}

Task<void> Multiverse::stop() {
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
