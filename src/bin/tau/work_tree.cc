#include "bin/tau/work_tree.h"

#include <unistd.h>

#include <map>

namespace tau::cli {
namespace {

// The user's own environment: git reads the user's name, proxy and helpers from it.
std::map<std::string, std::string> environment() {
  std::map<std::string, std::string> all;
  for (char** entry = environ; *entry; ++entry) {
    const std::string_view text(*entry);
    const std::size_t equals = text.find('=');
    if (equals != text.npos && equals > 0)
      all.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  // Another repository that tau may have been started from, such as in a hook.
  for (const auto* name : {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"})
    all.erase(name);
  return all;
}

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

}  // namespace

Result<Said> WorkTree::try_git(std::vector<std::string> arguments) {
  process::Command command;
  command.argv = {"git"};
  for (auto& argument : arguments) command.argv.push_back(std::move(argument));
  command.environment = environment();
  command.directory = folder_;
  Said said;
  TRY(const auto exit,
      runtime::block_on(
          machine_.loop,
          machine_.runner.run(std::move(command), [&said](process::Output which, BytesView data) {
            (which == process::Output::standard_output ? said.out : said.err) += as_text(data);
          })));
  said.code = exit.code;
  return said;
}

Result<std::string> WorkTree::git(std::vector<std::string> arguments) {
  const std::string what =
      "git " + (arguments.empty() ? "" : arguments.front()) + " in " + folder_.string();
  auto said = try_git(std::move(arguments));
  if (!said) {
    if (said.error().code() == ErrorCode::not_found)
      return fail(ErrorCode::failed_precondition, "git is not installed: apt-get install git");
    return fail(std::move(said).error().context(what));
  }
  if (said->code != 0)
    return fail(ErrorCode::failed_precondition,
                what + ": " + trimmed(said->err.empty() ? said->out : said->err));
  return trimmed(said->out);
}

Status WorkTree::init() {
  TRY_STATUS(git({"init", "--quiet", "--initial-branch=main"}));
  // So that a plain `git push` works the first time, on any branch.
  TRY_STATUS(git({"config", "push.autoSetupRemote", "true"}));
  return {};
}

Status WorkTree::set_origin(const std::string& url) {
  TRY(const auto known, try_git({"remote", "get-url", "origin"}));
  if (known.code != 0) {
    TRY_STATUS(git({"remote", "add", "origin", url}));
  } else if (trimmed(known.out) != url) {
    TRY_STATUS(git({"remote", "set-url", "origin", url}));
  }
  return {};
}

Result<std::string> WorkTree::branch() {
  TRY(const auto said, try_git({"symbolic-ref", "--short", "--quiet", "HEAD"}));
  if (said.code != 0)
    return fail(ErrorCode::failed_precondition, folder_.string() + " is on no branch; do: git -C " +
                                                    folder_.string() + " switch main");
  return trimmed(said.out);
}

Result<std::string> WorkTree::head() {
  TRY(const auto said, try_git({"rev-parse", "--verify", "--quiet", "HEAD"}));
  return said.code == 0 ? trimmed(said.out) : std::string();
}

Result<bool> WorkTree::commit_all(const std::string& message) {
  TRY_STATUS(git({"add", "--all"}));
  TRY(const std::string changed, git({"status", "--porcelain"}));
  if (changed.empty()) return false;
  std::vector<std::string> arguments;
  TRY(const auto who, try_git({"var", "GIT_AUTHOR_IDENT"}));
  // A fresh machine has no name for its user; a commit needs one, the cloud does not care.
  if (who.code != 0) arguments = {"-c", "user.name=tau user", "-c", "user.email=user@localhost"};
  arguments.insert(arguments.end(), {"commit", "--quiet", "--message", message});
  TRY_STATUS(git(std::move(arguments)));
  return true;
}

Result<std::string> WorkTree::push(const std::string& branch) {
  TRY(const auto said, try_git({"push", "origin", "HEAD:refs/heads/" + branch}));
  if (said.code == 0) return said.err;
  std::string advice;
  if (said.err.find("non-fast-forward") != said.err.npos ||
      said.err.find("fetch first") != said.err.npos)
    advice = "\nThe cloud has commits that this folder lacks. Get them with: git -C " +
             folder_.string() + " pull --rebase origin " + branch;
  return fail(ErrorCode::failed_precondition,
              "pushing " + folder_.string() + ": " + trimmed(said.err) + advice);
}

}  // namespace tau::cli
