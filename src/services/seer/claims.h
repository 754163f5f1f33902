// Which names somebody has claimed, as tns says: a yes is kept for five seconds, a no for one, and
// a name is asked for once however many want to know. While tns is out of reach the last answer for
// a claimed name stands. Loop thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/log.h"
#include "runtime/channel.h"
#include "runtime/loop.h"

namespace tau::seer {

class Claims {
 public:
  // Is this fully qualified name claimed by somebody? Errors: unavailable.
  using Ask = std::function<Task<Result<bool>>(std::string name)>;

  Claims(runtime::Loop& loop, Ask ask, Logger log)
      : loop_(loop), ask_(std::move(ask)), log_(std::move(log)) {}

  // What is known without asking; false also for what cannot be a host's name.
  std::optional<bool> known(std::string_view name) const;
  // Whether somebody is asking: then one more costs tns nothing.
  bool being_asked(const std::string& name) const { return asking_.contains(name); }
  // Asks, unless it is known by now. Errors: those of tns for a name never seen claimed;
  // resource_exhausted (too many questions under way).
  Task<Result<bool>> find_out(std::string name);

  std::uint64_t lookups() const { return lookups_; }
  std::uint64_t lookups_failed() const { return lookups_failed_; }

 private:
  struct Known {
    bool claimed = false;
    TimePoint asked;
  };
  using Table = std::map<std::string, Known, std::less<>>;
  struct Asking {
    explicit Asking(runtime::Loop& loop) : ended(loop) {}
    std::optional<Result<bool>> result;
    runtime::Signal ended;
  };
  bool fresh(const Known& known) const;
  Task<Result<bool>> ask(std::string name);
  void remember(const std::string& name, bool claimed);
  void make_room(Table& table) const;

  runtime::Loop& loop_;
  Ask ask_;
  Logger log_;
  // Apart, so that a flood of made-up names does not push out the real ones.
  Table claimed_, unclaimed_;
  std::map<std::string, std::shared_ptr<Asking>> asking_;
  std::uint64_t lookups_ = 0, lookups_failed_ = 0;
};

}  // namespace tau::seer
