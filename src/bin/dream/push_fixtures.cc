#include "push_fixtures.h"

#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <regex>

#include "bin/tau/cloud.h"
#include "bin/tau/credentials.h"
#include "bin/tau/follow.h"
#include "bin/tau/new_function.h"
#include "bin/tau/new_project.h"
#include "bin/tau/project_folder.h"
#include "bin/tau/push.h"
#include "codec/base64.h"
#include "project/writer.h"
#include "testnet/fixtures.h"

namespace tau::dream {
namespace {

namespace fs = std::filesystem;
using http::Json;

// A folder of this program, gone with it.
class Scratch {
 public:
  static Result<Scratch> make() {
    std::string name = (fs::temp_directory_path() / "tau-inject-XXXXXX").string();
    if (!::mkdtemp(name.data()))
      return fail(ErrorCode::unavailable,
                  "cannot make a folder in " + fs::temp_directory_path().string());
    return Scratch(name);
  }
  Scratch(Scratch&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  ~Scratch() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  explicit Scratch(fs::path path) : path_(std::move(path)) {}
  fs::path path_;
};

std::string text_of_file(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

Status write_file(const fs::path& file, std::string_view text) {
  std::ofstream out(file, std::ios::binary);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
  out.close();
  if (out) return {};
  return fail(ErrorCode::unavailable, "cannot write " + file.string());
}

// What a fixture works with.
struct Work {
  cli::Machine& machine;
  cli::Cloud& cloud;
  const cli::Terminal& terminal;
  const FixtureOptions& options;
};

// The project as the universe knows it. One whose id the universe has not heard of is registered
// under an id of this user's: an id holds its owner's key, so that nobody else's can be taken over.
struct Target {
  Json about;
  std::string id;  // in the universe
};

// Where the repository is: at one patrick of several.
Result<std::string> url_of(const Target& target, const std::string& repository) {
  for (const Json& one : target.about.value("repositories", Json::array()))
    if (one.value("name", "") == repository && one.contains("url"))
      return one["url"].get<std::string>();
  return fail(
      ErrorCode::unavailable,
      "the patrick that hosts repository " + repository +
          " of this project does not run: nobody takes a push of it (dream inject patrick)");
}

Result<Target> target_of(Work& work, const cli::ProjectFolder& project) {
  auto known = work.cloud.get("/projects/" + cli::url_encode(project.id));
  if (known) return Target{*std::move(known), project.id};
  if (known.error().code() != ErrorCode::not_found &&
      known.error().code() != ErrorCode::invalid_argument)
    return fail(known.error());
  cli::NewProject what;
  what.name = project.name.empty() ? "project" : project.name;
  what.label = work.options.label.empty() ? cli::label_for(what.name) : work.options.label;
  TRY_STATUS(auth::check_label(what.label));
  TRY(const fs::path settings, cli::config_folder());
  SystemRandom random;
  TRY(const cli::OwnerKey owner, cli::owner_key(settings, random));
  auto registration =
      cli::new_registration(what, owner.key.public_key(), random, work.machine.loop.wall_unix_ms());
  // The same project each time that this folder is pushed.
  const auto digest = crypto::sha256(as_bytes("dream inject\n" + project.id));
  std::copy_n(digest.begin(), registration.genesis.nonce.size(),
              registration.genesis.nonce.begin());
  const std::string id = registration.project().str();
  if (auto again = work.cloud.get("/projects/" + cli::url_encode(id)))
    return Target{*std::move(again), id};
  const auto record = codec::sign_record(owner.key, registration);
  auto made = work.cloud.post("/projects",
                              {{"registration", codec::base64_encode(codec::to_cbor(record))}});
  if (!made && made.error().code() == ErrorCode::already_exists)
    return fail(ErrorCode::already_exists,
                made.error().message() + ". Choose another first name with --label NAME");
  if (!made) return fail(made.error());
  work.terminal.say(fmt::format("registered {} as project {}", what.name, id));
  return Target{*std::move(made), id};
}

// The top-level "id:" of config.yaml with another value, all else as it is.
std::string with_id(const std::string& yaml, const std::string& id) {
  static const std::regex kId(R"((^|\n)id[ \t]*:[^\n]*)");
  return std::regex_replace(yaml, kId, "$1id: " + id, std::regex_constants::format_first_only);
}

struct Pushed {
  std::string commit;
  bool moved = false;
};

// A repository of the very project that the universe knows: what changed is committed, as tau push
// does, so that plain git push goes on from there.
Result<Pushed> push_own(Work& work, const fs::path& folder, const std::string& url) {
  cli::WorkTree tree(work.machine, fs::absolute(folder));
  const std::string ref = "refs/heads/" + work.options.branch;
  TRY(const bool committed, tree.commit_all("Change by dream inject"));
  if (committed) work.terminal.say(tree.name() + ": committed what had changed");
  TRY(const std::string head, tree.head());
  if (head.empty())
    return fail(ErrorCode::failed_precondition, folder.string() + " has no files to push");
  TRY(const std::string heads, tree.git({"ls-remote", url, ref}));
  if (heads.starts_with(head)) return Pushed{head, false};
  TRY(const std::string sent, tree.git({"push", "--quiet", url, "HEAD:" + ref}));
  return Pushed{head, true};
}

// Puts the files of a folder, committed or not, on top of what the branch has in the universe. The
// folder and its own repository, if it is one, are not touched.
Result<Pushed> push_folder(Work& work, const fs::path& folder, const std::string& url,
                           const std::string& new_id) {
  TRY(const Scratch scratch, Scratch::make());
  cli::WorkTree tree(work.machine, fs::absolute(folder));
  const std::vector<std::string> where = {"--git-dir=" + (scratch.path() / "git").string(),
                                          "--work-tree=" + tree.folder().string()};
  const auto git = [&](std::vector<std::string> words) {
    words.insert(words.begin(), where.begin(), where.end());
    return tree.git(std::move(words));
  };
  const std::string ref = "refs/heads/" + work.options.branch;
  TRY(const std::string made,
      tree.git({"init", "--quiet", "--bare", (scratch.path() / "git").string()}));
  TRY(const std::string bare, git({"config", "core.bare", "false"}));
  TRY(const std::string heads, git({"ls-remote", url, ref}));
  std::string parent;
  if (!heads.empty()) {
    TRY(const std::string fetched, git({"fetch", "--quiet", "--depth=1", url, ref}));
    TRY(parent, git({"rev-parse", "FETCH_HEAD"}));
  }
  TRY(const std::string added, git({"add", "--all", "."}));
  if (!new_id.empty()) {
    const fs::path config = scratch.path() / "config.yaml";
    TRY_STATUS(write_file(config, with_id(text_of_file(tree.folder() / "config.yaml"), new_id)));
    TRY(const std::string blob, git({"hash-object", "-w", config.string()}));
    TRY(const std::string put,
        git({"update-index", "--add", "--cacheinfo", "100644," + blob + ",config.yaml"}));
  }
  TRY(const std::string files, git({"write-tree"}));
  if (!parent.empty()) {
    TRY(const std::string before, git({"rev-parse", parent + "^{tree}"}));
    if (before == files) return Pushed{parent, false};
  }
  std::vector<std::string> words = {
      "-c", "user.name=dream", "-c", "user.email=dream@localhost", "commit-tree", files,
      "-m", "dream inject"};
  if (!parent.empty()) words.insert(words.end(), {"-p", parent});
  TRY(const std::string commit, git(std::move(words)));
  TRY(const std::string sent, git({"push", "--quiet", url, commit + ":" + ref}));
  return Pushed{commit, true};
}

Result<int> push(Work& work, const std::vector<std::string>& repositories) {
  std::error_code ec;
  if (!fs::exists(work.options.path / "config" / "config.yaml", ec))
    return fail(ErrorCode::not_found,
                fmt::format("{} is no project: a project is a folder with config/config.yaml and "
                            "code/",
                            fs::absolute(work.options.path).string()));
  TRY(const auto project, cli::find_project(work.options.path));
  for (const auto* other : {"websites", "libraries"})
    if (fs::exists(project.root / other, ec) && !fs::is_empty(project.root / other, ec))
      work.terminal.say(fmt::format("{}/ stays here: projects consist of config and code", other));
  TRY(const Target target, target_of(work, project));
  std::map<std::string, std::string> commits;
  bool moved = false;
  for (const std::string& name : repositories) {
    if (!fs::is_directory(project.root / name, ec))
      return fail(ErrorCode::not_found, (project.root / name).string() + " is not there");
    TRY(const std::string url, url_of(target, name));
    const bool own = target.id == project.id && fs::exists(project.root / name / ".git", ec);
    const bool another_id = name == "config" && target.id != project.id;
    TRY(const Pushed pushed,
        own ? push_own(work, project.root / name, url)
            : push_folder(work, project.root / name, url, another_id ? target.id : ""));
    commits[name] = pushed.commit;
    moved = moved || pushed.moved;
    work.terminal.say(fmt::format("{}: {} {}", name, pushed.commit.substr(0, 12),
                                  pushed.moved ? "pushed" : "unchanged"));
  }
  TRY(const Json builds,
      work.cloud.get("/projects/" + cli::url_encode(target.id) + "/builds?limit=100"));
  auto build = cli::find_build(builds, work.options.branch, commits);
  if (build && work.options.follow) {
    TRY(build, cli::follow_build(work.cloud, work.terminal, *build));
  }
  work.terminal.result({{"project", target.about},
                        {"commits", commits},
                        {"changed", moved},
                        {"build", build ? *build : Json(nullptr)}});
  if (!build) {
    work.terminal.say("nothing is built yet: a build needs both repositories of the branch");
    return cli::kExitOk;
  }
  const std::string state = build->value("state", "");
  if (state == "succeeded") {
    work.terminal.good("live: " + target.about.value("url", ""));
    return cli::kExitOk;
  }
  if (!work.options.follow || state == "waiting") {
    work.terminal.say("build " + build->value("id", "") + " is " + cli::ending_of(*build));
    return cli::kExitOk;
  }
  if (!work.terminal.json()) work.terminal.bad("the build " + cli::ending_of(*build));
  return cli::kExitFailed;
}

// Adds one name to the list "domains: [a, b]" of a function. False: it was there.
Result<bool> add_domain(const fs::path& file, const std::string& name) {
  static const std::regex kList(R"(\n[ \t]*domains[ \t]*:[ \t]*\[([^\]\n]*)\])");
  std::string text = text_of_file(file);
  std::smatch found;
  if (!std::regex_search(text, found, kList))
    return fail(ErrorCode::failed_precondition,
                fmt::format("{}: add {} to its domains yourself (they are no list in one line), "
                            "then dream inject push-all",
                            file.string(), name));
  std::string list = found[1].str();
  const std::regex is_there("(^|[\\s,\"'])" + name + "($|[\\s,\"'])");
  if (std::regex_search(list, is_there)) return false;
  const auto at = static_cast<std::size_t>(found.position(1) + found.length(1));
  const bool blank = list.find_first_not_of(" \t") == list.npos;
  text.insert(at, (blank ? "" : ", ") + name);
  TRY_STATUS(write_file(file, text));
  return true;
}

Result<int> attach_domain(Work& work) {
  const std::string& fqdn = work.options.fqdn;
  static const std::regex kFqdn(R"([a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*)");
  if (fqdn.size() > 253 || !std::regex_match(fqdn, kFqdn))
    return fail(ErrorCode::invalid_argument,
                "--fqdn NAME: a label such as shop, or a full name such as shop.example.com");
  TRY(const auto project, cli::find_project(work.options.path));
  std::string name = fqdn;
  std::ranges::replace(name, '.', '_');
  std::ranges::replace(name, '-', '_');
  if (std::isdigit(static_cast<unsigned char>(name[0]))) name = "d_" + name;
  const fs::path file = project.config() / "domains" / (name + ".yaml");
  std::error_code ec;
  if (!fs::exists(file, ec)) {
    SystemRandom random;
    TRY_STATUS(cli::write_new(
        file,
        project::domain_yaml({project::new_resource_id(project.id, name, random), "", fqdn})));
  }
  for (const auto& entry : fs::directory_iterator(project.config() / "functions", ec)) {
    if (entry.path().extension() != ".yaml") continue;
    TRY(const bool changed, add_domain(entry.path(), name));
    if (changed) work.terminal.say(entry.path().filename().string() + " answers there, too");
  }
  work.terminal.say("the host name is in " + file.string());
  return push(work, {"code", "config"});
}

Result<int> fake_project(Work& work) {
  TRY(const Scratch scratch, Scratch::make());
  TRY(const fs::path settings, cli::config_folder());
  SystemRandom random;
  TRY(const cli::OwnerKey owner, cli::owner_key(settings, random));
  cli::NewProject what;
  what.name = work.options.name;
  what.label = work.options.label.empty() ? cli::label_for(what.name) : work.options.label;
  what.location = scratch.path();
  TRY(const auto created, cli::create_project(work.machine, work.cloud, what, owner, random));
  cli::NewFunction function;
  function.name = "ping";
  function.path = "/ping";
  function.domains = created.folder.domains();
  TRY(const fs::path templates, cli::find_templates({}));
  TRY(const auto files, cli::create_function(created.folder, function, templates, random));
  TRY(const int code, cli::push_project(work.machine, work.cloud, work.terminal, created.folder,
                                        {"A project to try things on", work.options.follow}));
  if (code == cli::kExitOk)
    work.terminal.say(fmt::format("ask it: curl {}/ping\nget it: git clone {}",
                                  created.project.value("url", ""),
                                  created.project["repositories"][0].value("url", "")));
  return code;
}

}  // namespace

Result<int> run_fixture(const net::Endpoint& control, const std::string& universe,
                        const std::string& fixture, const FixtureOptions& options,
                        const cli::Terminal& terminal) {
  const auto& all = testnet::fixtures();
  const auto found = std::ranges::find(all, fixture, &testnet::Fixture::name);
  if (found == all.end())
    return fail(ErrorCode::not_found,
                "there is no fixture " + fixture + "; dream list fixtures shows them");
  if (!found->instead.empty())
    return fail(ErrorCode::failed_precondition,
                fmt::format("{}: {} Instead: {}", fixture, found->summary, found->instead));
  cli::Machine machine;
  TRY(cli::Cloud cloud, cli::Cloud::at(machine.loop, fmt::format("http://{}/v1/universes/{}/cloud",
                                                                 control.to_string(), universe)));
  Work work{machine, cloud, terminal, options};
  if (fixture == "fake-project") return fake_project(work);
  if (fixture == "attach-domain") return attach_domain(work);
  if (fixture == "push-specific") {
    if (options.repository != "config" && options.repository != "code")
      return fail(ErrorCode::invalid_argument, "--repository is config or code");
    return push(work, {options.repository});
  }
  return push(work, {"code", "config"});
}

}  // namespace tau::dream
