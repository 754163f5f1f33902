// The logs of the builds, of which each patrick has a copy: what a monkey writes goes to the
// patrick that leads, and is acknowledged when a majority has it. Who was away meanwhile fetches
// what it lacks when somebody reads it.
//
// The log as people read it is composed from what monkeys wrote, one section for each lease, and
// from the lines of patrick's own that are in the job's record; so it is the same at every patrick.
//
// Loop thread only. Owns what copies for it; between start() and stop().
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "command/caller.h"
#include "runtime/channel.h"
#include "runtime/task_group.h"
#include "services/patrick/store.h"

namespace tau::patrick {

class Logs {
 public:
  // The other patricks that decide, and how many of them make a majority together with this one.
  struct Copies {
    std::vector<PeerId> peers;
    std::size_t wanted = 0;
  };
  using Where = std::function<Copies()>;

  Logs(runtime::Loop& loop, command::Caller& caller, store::Kv& kv, Where where)
      : loop_(loop),
        caller_(caller),
        store_(kv),
        where_(std::move(where)),
        appending_(loop, 1),
        copied_(loop) {}

  void start() { tasks_ = std::make_unique<runtime::TaskGroup>(loop_); }
  Task<void> stop();

  // Of the monkey; gives the size after it, as Store::append. Errors: unavailable (no majority has
  // it yet), the store's.
  Task<Result<std::uint64_t>> append(Store::Section section, std::optional<std::uint64_t> offset,
                                     std::string text);
  // From another patrick, and for one.
  Task<Result<std::uint64_t>> copy(Store::Section section, std::uint64_t offset, std::string text);
  Task<Result<std::string>> piece(Store::Section section, std::uint64_t offset);

  // All that any of the patricks that answer has; gives its size.
  Task<Result<std::uint64_t>> complete(Store::Section section);
  // Of the whole log from `offset` on, at most kLogReadBytesMax, never cut inside a character.
  // Errors: unavailable (a part of it is at patricks that are away).
  Task<Result<std::string>> read(JobRecord record, std::uint64_t offset);

  void ended(const JobId& job);    // nothing more is written
  void dropped(const JobId& job);  // its logs go
  Store& store() { return store_; }

 private:
  struct Copy {
    std::uint64_t has = 0;
    bool running = false;
  };
  using CopyKey = std::pair<Store::Section, PeerId>;
  Task<void> copy_to(Store::Section section, PeerId peer);
  Task<void> erase(JobId job);
  Task<Status> fetch(Store::Section section, PeerId peer);
  Task<Result<std::uint64_t>> size_of(Store::Section section, const LogPart& part);

  runtime::Loop& loop_;
  command::Caller& caller_;
  Store store_;
  Where where_;
  runtime::Semaphore appending_;
  runtime::Signal copied_;
  std::map<CopyKey, Copy> copies_;
  // Those that were asked of all others once in this life and are what they are.
  std::set<Store::Section> completed_;
  std::unique_ptr<runtime::TaskGroup> tasks_;
};

}  // namespace tau::patrick
