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

enum class Erase : std::uint8_t { no, yes };

class Multiverse {
 public:
  // The folder of a universe (data_folder.h).
  using FolderOf = std::function<Result<std::filesystem::path>(std::string_view, Keep)>;
  struct Options {
    FolderOf folder_of = {};  // none: for a simulated world without files
    Keep keep = Keep::no;     // universes, unless they say otherwise
    LogLevel log_level = LogLevel::warning;
    std::filesystem::path build_cache = {};  // of all universes
  };
  Multiverse(node::Process& process, Options options, Logger log)
      : process_(process), options_(std::move(options)), log_(std::move(log)) {}

  struct NewUniverse {
    std::string name;
    Wishes wishes = {};
    // More than the multiverse's.
    Keep keep = Keep::no;
    Ports ports = {};  // 0: what `wishes` bind, what it had before, or a free one
  };
  // Starts it and waits until it is ready; one that was kept starts with what it had. Errors:
  // invalid_argument, already_exists (it runs), failed_precondition (wishes for nodes that a kept
  // one has already), resource_exhausted, and those of Universe::start().
  Task<Status> create(NewUniverse what);
  // The same with everything decided.
  Task<Status> add(UniverseOptions options);
  // Forgets one and ends it. What it kept stays for a later create(), unless it is erased. Errors:
  // not_found, failed_precondition (it is still starting).
  Task<Status> remove(std::string name, Erase erase = Erase::no);
  Task<void> stop();  // all of them, for good; idempotent

  // Errors: not_found, with the names that there are.
  Result<Universe*> find(std::string_view name) const;
  std::vector<Universe*> all() const;

  // Told after a node or a universe came or went.
  void on_change(std::function<void()> handler) { on_change_ = std::move(handler); }

 private:
  Result<UniverseOptions> decide(const NewUniverse& what) const;
  void changed() const {
    if (on_change_) on_change_();
  }
  node::Process& process_;
  const Options options_;
  Logger log_;
  // Shared with who waits for its start.
  std::map<std::string, std::shared_ptr<Universe>, std::less<>> universes_;
  std::function<void()> on_change_;
  bool stopped_ = false;
};

// What a kept universe's folder says; nothing when there is none, or no universe.json. Errors:
// those of kept_from_json, with the file.
Result<std::optional<Kept>> read_kept(const std::filesystem::path& folder);

}  // namespace tau::testnet
