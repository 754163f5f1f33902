// Repositories of a simulated world: commits are named trees, a push is a call.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "process/archive.h"
#include "runtime/channel.h"
#include "services/patrick/provider.h"

namespace tau::testnet {

// By path: "functions/ping/main.cc".
using Tree = std::map<std::string, std::string>;

class ScriptedGit {
 public:
  // Makes the tree a commit, moves the branch to it and tells patrick, as a push does. Errors: what
  // patrick says.
  Task<Result<patrick::Accepted>> push(ProjectId project, std::string repository,
                                       std::string branch, Tree tree);

 private:
  friend class ScriptedProvider;
  std::map<std::string, Bytes> archives_;  // by commit
  patrick::PushListener* listener_ = nullptr;
  std::set<runtime::Scope*> pushing_;
  std::unique_ptr<runtime::Signal> ended_;
};

class ScriptedProvider final : public patrick::Provider {
 public:
  explicit ScriptedProvider(std::shared_ptr<ScriptedGit> git) : git_(std::move(git)) {}
  std::string_view name() const override { return "local"; }
  Task<Status> start(patrick::PushListener& listener) override;
  Task<void> stop() override;
  Task<Result<Bytes>> archive(ProjectId project, std::string repository,
                              std::string commit) override;

 private:
  std::shared_ptr<ScriptedGit> git_;
};

}  // namespace tau::testnet
