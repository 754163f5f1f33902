// Multiverse: the universes that one dream runs, by name. Owns them; loop thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "testnet/universe.h"

namespace tau::testnet {

inline constexpr std::size_t kUniversesMax = 16;  // of ten nodes each, one laptop's worth

class Multiverse {
 public:
  Multiverse(node::Process& process, Logger log) : process_(process), log_(std::move(log)) {}

  // Starts it and waits until it is ready. Errors: already_exists, resource_exhausted, and those of
  // Universe::start().
  Task<Status> add(UniverseOptions options);
  // Forgets one and ends it. Errors: not_found, failed_precondition (it is still starting).
  Task<Status> remove(std::string name);
  Task<void> stop();  // all of them; idempotent

  // Errors: not_found, with the names that there are.
  Result<Universe*> find(std::string_view name) const;
  std::vector<Universe*> all() const;

  // Told after a node or a universe came or went.
  void on_change(std::function<void()> handler) { on_change_ = std::move(handler); }

 private:
  void changed() const {
    if (on_change_) on_change_();
  }
  node::Process& process_;
  Logger log_;
  std::map<std::string, std::unique_ptr<Universe>, std::less<>> universes_;
  std::function<void()> on_change_;
};

}  // namespace tau::testnet
