// LocalProvider: bare repositories in a folder of this node, for the registered projects that name
// the provider "local". routes.h puts them on the network; this class knows nothing of HTTP.
//
//   FOLDER/<project>/<repository>.git     made when somebody first asks for it
//   FOLDER/spool/                         requests and answers under way; emptied at start
//
// git itself decides what a push changes. Whatever happened, afterwards the branches are compared
// with what patrick knows, and each that differs is told to patrick: after every push, and for
// every repository at start, so that a crash between git's write and patrick's loses nothing. What
// patrick could not take is told again until it does.
//
// Owns its background tasks. The folder is its own; nobody else writes there. Loop thread only.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "process/runner.h"
#include "runtime/channel.h"
#include "runtime/task_group.h"
#include "services/patrick/git.h"
#include "services/patrick/provider.h"

namespace tau::patrick {

inline constexpr std::string_view kLocalProvider = "local";

class LocalProvider final : public Provider {
 public:
  LocalProvider(runtime::Loop& loop, process::Runner& runner, std::filesystem::path folder,
                Logger log);
  ~LocalProvider() override;
  LocalProvider(const LocalProvider&) = delete;
  LocalProvider& operator=(const LocalProvider&) = delete;

  std::string_view name() const override { return kLocalProvider; }
  // Errors: unavailable (the folder).
  Task<Status> start(PushListener& listener) override;
  Task<void> stop() override;
  Task<Result<Bytes>> archive(ProjectId project, std::string repository,
                              std::string commit) override;

  struct Name {
    ProjectId project;
    std::string repository;
    friend auto operator<=>(const Name&, const Name&) = default;
  };
  // Both checked character by character: they become a path. Errors: not_found.
  static Result<Name> parse_name(std::string_view project, std::string_view repository);

  // Makes the repository if it is a registered one and not there yet. Errors: not_found,
  // unavailable.
  Task<Status> prepare(Name name);

  // What became of the branches that moved, one line each, for the person who pushed. `complete`:
  // every push was accepted, and is on the disk.
  struct Told {
    bool complete = true;
    std::vector<std::string> lines;
  };
  // Compares, and tells patrick. What fails is told again in the background.
  Task<Told> tell(Name name);
  // Has the branches compared soon: for when git may have changed them and tell() did not say that
  // all is told.
  void tell_later(const Name& name);

  Git& git() { return git_; }
  std::filesystem::path path_of(const Name& name) const;
  std::filesystem::path spool_file();  // a new name
  bool running() const { return listener_ != nullptr; }

  // Runs a task that ends, cancelled, before stop() returns.
  template <class T>
  Task<Result<T>> within(Task<Result<T>> task) {
    if (!running()) co_return fail(ErrorCode::unavailable, "the git host of this node is stopped");
    runtime::Scope& outer = co_await runtime::current_scope();
    runtime::Scope inner(outer.loop(), outer);
    calls_.insert(&inner);
    auto result = co_await std::move(task).in(inner);
    calls_.erase(&inner);
    call_ended_.notify_all();
    co_return result;
  }

 private:
  struct Repository {
    explicit Repository(runtime::Loop& loop) : telling(loop, 1) {}
    runtime::Semaphore telling;  // else an older commit could be told after a newer one
    bool ready = false;
  };
  std::shared_ptr<Repository> repository(const Name& name);
  Task<Result<Told>> tell_locked(Name name);
  Task<void> tell_again();

  runtime::Loop& loop_;
  std::filesystem::path folder_;
  Logger log_;
  Git git_;
  PushListener* listener_ = nullptr;
  std::map<Name, std::shared_ptr<Repository>> repositories_;
  std::set<Name> to_tell_;
  std::uint64_t spooled_ = 0;
  std::set<runtime::Scope*> calls_;
  runtime::Signal call_ended_, to_tell_added_;
  std::unique_ptr<runtime::TaskGroup> tasks_;
};

}  // namespace tau::patrick
