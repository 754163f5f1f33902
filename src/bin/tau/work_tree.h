// A git work tree of the user, changed by the git that the user has, with the user's settings.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "process/local.h"
#include "runtime/loop.h"

namespace tau::cli {

// Runs programs for tau. One in the program; outlives the work trees.
struct Machine {
  runtime::RealLoop loop;
  process::LocalRunner runner{loop, {}, Logger()};
};

struct Said {
  int code = 0;
  std::string out, err;
};

class WorkTree {
 public:
  WorkTree(Machine& machine, std::filesystem::path folder)
      : machine_(machine), folder_(std::move(folder)) {}

  const std::filesystem::path& folder() const { return folder_; }
  std::string name() const { return folder_.filename().string(); }  // "config"

  // Errors: failed_precondition with what git said; not_found when there is no git.
  Result<std::string> git(std::vector<std::string> arguments);
  Result<Said> try_git(std::vector<std::string> arguments);

  Status init();  // with the branch main
  bool is_repository() const { return std::filesystem::exists(folder_ / ".git"); }
  Status set_origin(const std::string& url);
  Result<std::string> branch();
  Result<std::string> head();  // 40 hex digits; empty before the first commit
  // Commits everything that changed; false: nothing did.
  Result<bool> commit_all(const std::string& message);
  // Gives what the other side said ("remote: …"). Errors: failed_precondition with git's words and
  // advice.
  Result<std::string> push(const std::string& branch);

 private:
  Machine& machine_;
  std::filesystem::path folder_;
};

}  // namespace tau::cli
