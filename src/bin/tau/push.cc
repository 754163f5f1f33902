#include "bin/tau/push.h"

#include <fmt/format.h>

#include <map>

#include "bin/tau/follow.h"

namespace tau::cli {
namespace {

using http::Json;

// What the cloud said during a push, without git's own chatter.
void show_remote(const Terminal& terminal, const std::string& said) {
  constexpr std::string_view kMark = "remote: ";
  std::size_t at = 0;
  while (at < said.size()) {
    const std::size_t end = std::min(said.find('\n', at), said.size());
    const std::string_view line = std::string_view(said).substr(at, end - at);
    if (line.starts_with(kMark)) {
      std::string text(line.substr(kMark.size()));
      text.erase(text.find_last_not_of(' ') + 1);  // git pads to clear a progress line
      terminal.detail("  " + text);
    }
    at = end + 1;
  }
}

Status check_pushable(WorkTree& tree) {
  if (tree.is_repository()) return {};
  return fail(ErrorCode::failed_precondition,
              tree.folder().string() + " is no git repository. Make it one with: git -C " +
                  tree.folder().string() + " init -b main");
}

// One build takes one branch of both. Another repository may lack the branch.
std::unexpected<Error> different_branches(const WorkTree& code, const std::string& of_code,
                                          WorkTree& config, const std::string& of_config) {
  const auto there = config.try_git({"rev-parse", "--verify", "--quiet", "refs/heads/" + of_code});
  return fail(ErrorCode::failed_precondition,
              fmt::format("code is on branch {}, config on {}. Bring config there, too: git -C {} "
                          "switch {}{}\nOr push code alone, which then borrows the config of main: "
                          "git -C {} push origin {}",
                          of_code, of_config, config.folder().string(),
                          there && there->code == 0 ? "" : "-c ", of_code, code.folder().string(),
                          of_code));
}

struct Pushed {
  std::string branch;
  std::map<std::string, std::string> commits;
  bool moved = false;
};

// Where the repository is: at one patrick of several.
Result<std::string> url_of(const Json& about, const std::string& repository) {
  for (const Json& one : about.value("repositories", Json::array()))
    if (one.value("name", "") == repository && one.contains("url"))
      return one["url"].get<std::string>();
  return fail(ErrorCode::unavailable,
              "the patrick that hosts repository " + repository +
                  " of this project is not there: nobody takes a push of it now");
}

Result<Pushed> push_both(Machine& machine, const Terminal& terminal, const ProjectFolder& project,
                         const Json& about, const std::string& message) {
  // Code first: a build in between then sees code that nothing uses yet, not a function without
  // code.
  WorkTree trees[] = {{machine, project.code()}, {machine, project.config()}};
  Pushed pushed;
  for (auto& tree : trees) {
    TRY_STATUS(check_pushable(tree));
    TRY(const std::string branch, tree.branch());
    if (!pushed.branch.empty() && pushed.branch != branch)
      return different_branches(trees[0], pushed.branch, tree, branch);
    pushed.branch = branch;
  }
  for (auto& tree : trees) {
    TRY(const bool committed, tree.commit_all(message));
    TRY(const std::string head, tree.head());
    if (head.empty()) continue;  // an empty repository: nothing to push
    TRY(const std::string url, url_of(about, tree.name()));
    TRY_STATUS(tree.set_origin(url));
    TRY(const std::string said, tree.push(pushed.branch));
    const bool moved = said.find("Everything up-to-date") == said.npos;
    pushed.moved = pushed.moved || moved;
    terminal.say(
        fmt::format("{}: {} {}", tree.name(), head.substr(0, 12),
                    moved ? (committed ? "committed and pushed" : "pushed") : "unchanged"));
    show_remote(terminal, said);
    pushed.commits[tree.name()] = head;
  }
  return pushed;
}

}  // namespace

Result<int> push_project(Machine& machine, Cloud& cloud, const Terminal& terminal,
                         const ProjectFolder& project, const PushOptions& options) {
  TRY(const Json about, cloud.get("/projects/" + url_encode(project.id)));
  TRY(const Pushed pushed,
      push_both(machine, terminal, project, about,
                options.message.empty() ? "Change by tau push" : options.message));

  TRY(const Json builds, cloud.get("/projects/" + url_encode(project.id) + "/builds?limit=100"));
  auto build = find_build(builds, pushed.branch, pushed.commits);
  if (!build)
    return fail(ErrorCode::not_found,
                "the cloud has no build of these commits yet; look again with: tau query builds");
  if (options.follow) {
    TRY(build, follow_build(cloud, terminal, *build));
  }
  const std::string state = build->value("state", "");
  terminal.result({{"project", about},
                   {"commits", pushed.commits},
                   {"changed", pushed.moved},
                   {"build", *build}});
  if (state == "succeeded") {
    terminal.good("live: " + about.value("url", ""));
    return kExitOk;
  }
  if (!options.follow) {
    terminal.say("build " + build->value("id", "") + " is " + state);
    return kExitOk;
  }
  if (!terminal.json())
    terminal.bad("the build " + ending_of(*build) +
                 "\nWhat was deployed before goes on serving. The whole log: tau logs --build " +
                 build->value("id", ""));
  return kExitFailed;
}

}  // namespace tau::cli
