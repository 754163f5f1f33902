#include "killed_network.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/check.h"
#include "guest/built_guest.h"

namespace tau::test {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using Time = std::chrono::steady_clock;
using http::Json;

constexpr std::string_view kMarker = "version-";
constexpr std::size_t kDigits = 8;
constexpr std::uint64_t kProjectsMax = 100;  // of one page
constexpr std::uint16_t kHttpPort = 1480, kDnsPort = 1453, kPeerPort = 4001;

// Everything that these started, and what that started.
std::set<pid_t> descendants_of(std::set<pid_t> processes) {
  std::multimap<pid_t, pid_t> children;
  std::error_code gone;
  for (const auto& entry : fs::directory_iterator("/proc", gone)) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != name.npos) continue;
    // "pid (name) state parent …"; the name may have anything in it.
    const std::string about = read_text(entry.path() / "stat");
    const auto end = about.rfind(')');
    if (end == about.npos) continue;
    children.emplace(std::atoi(about.c_str() + end + 4), std::atoi(name.c_str()));
  }
  std::set<pid_t> all;
  while (!processes.empty()) {
    const pid_t one = *processes.begin();
    processes.erase(processes.begin());
    for (auto [it, last] = children.equal_range(one); it != last; ++it)
      if (all.insert(it->second).second) processes.insert(it->second);
  }
  return all;
}

}  // namespace

void Promises::acknowledged(Push push) {
  const std::lock_guard lock(mutex_);
  pushes_.push_back(std::move(push));
}

void Promises::seen(std::uint64_t version) {
  const std::lock_guard lock(mutex_);
  newest_ = std::max(newest_, version);
}

void Promises::registered(std::string project) {
  const std::lock_guard lock(mutex_);
  projects_.push_back(std::move(project));
}

void Promises::broken(std::string how) {
  const std::lock_guard lock(mutex_);
  if (breaches_.size() < 5) breaches_.push_back(std::move(how));
}

std::uint64_t Promises::newest_seen() const {
  const std::lock_guard lock(mutex_);
  return newest_;
}

std::vector<Promises::Push> Promises::pushes() const {
  const std::lock_guard lock(mutex_);
  return pushes_;
}

std::vector<std::string> Promises::projects() const {
  const std::lock_guard lock(mutex_);
  return projects_;
}

std::vector<std::string> Promises::breaches() const {
  const std::lock_guard lock(mutex_);
  return breaches_;
}

KilledNetwork::KilledNetwork() {
  const char* path = std::getenv("PATH");
  home.directory = folder.path();
  home.environment = {{"PATH", std::string(TAU_BIN) + ":" + (path ? path : "/usr/bin:/bin")},
                      {"HOME", folder.path().string()},
                      {"XDG_CONFIG_HOME", (folder / "settings").string()},
                      {"XDG_CACHE_HOME", (folder / "cache").string()},
                      {"GIT_CONFIG_NOSYSTEM", "1"},
                      {"GIT_TERMINAL_PROMPT", "0"},
                      {"GIT_AUTHOR_NAME", "newcomer"},
                      {"GIT_AUTHOR_EMAIL", "newcomer@localhost"},
                      {"GIT_COMMITTER_NAME", "newcomer"},
                      {"GIT_COMMITTER_EMAIL", "newcomer@localhost"}};
}

fs::path KilledNetwork::tool(const std::string& name) const { return fs::path(TAU_BIN) / name; }

std::string KilledNetwork::must(std::vector<std::string> argv, const fs::path& directory) {
  Place place = home;
  place.directory = directory;
  std::string line;
  for (const auto& word : argv) line += word + " ";
  Said said = run(place, std::move(argv), 60s);
  if (said.code != 0) fmt::print(stderr, "{}: {}\n{}{}\n", line, said.code, said.out, said.err);
  CHECK(said.code == 0);
  while (said.out.ends_with('\n')) said.out.pop_back();
  return said.out;
}

void KilledNetwork::create() {
  // Addresses of this process's own: ports on them are nobody else's, so that they can stay.
  const auto pid = static_cast<unsigned>(getpid());
  const std::string net = fmt::format("127.{}.{}.", 1 + pid / 256 % 254, pid % 256);
  must({tool("odo"), "network", "create", folder / "net", "--name", "home"}, folder.path());
  // The API answers to 127.0.0.1 alone; below the ports that the system gives to clients.
  api_ = {"127.0.0.1", static_cast<std::uint16_t>(10'000 + pid % 20'000)};
  const auto node = [&](const std::string& name, const std::string& last,
                        const std::string& services, std::vector<std::string> more) {
    std::vector<std::string> create = {tool("odo"),
                                       "node",
                                       "create",
                                       folder / "net",
                                       name,
                                       "--services",
                                       services,
                                       "--listen",
                                       fmt::format("/ip4/{}{}/tcp/{}", net, last, kPeerPort),
                                       "--http-port",
                                       std::to_string(kHttpPort),
                                       "--http-address",
                                       net + last};
    create.insert(create.end(), more.begin(), more.end());
    const std::string config = must(std::move(create), folder.path());
    nodes_.push_back({name, net + last, config, std::nullopt});
  };
  node("one", "2", "tns,auth,seer,patrick,hoarder,monkey,substrate",
       {"--api", api_.to_string(), "--dns", fmt::format("{}2:{}", net, kDnsPort)});
  start();
  CHECK(wait_ready(30s));
  const Json ready = Json::parse(*nodes_[0].process->first_line(0s));
  kill();
  node("two", "3", "hoarder,substrate", {"--bootstrap", ready["addresses"][0]});
  home.environment["TAU_CLOUD"] = "http://" + api_.to_string() + "/v1/cloud";
}

void KilledNetwork::start() {
  ++round_;
  for (Node& node : nodes_)
    node.process.emplace(home,
                         std::vector<std::string>{tool("odo"), "start", "--config", node.config},
                         folder / fmt::format("{}-{}", node.name, round_));
}

bool KilledNetwork::wait_ready(std::chrono::seconds limit) {
  return std::ranges::all_of(
      nodes_, [&](Node& node) { return node.process->first_line(limit).has_value(); });
}

void KilledNetwork::kill() {
  std::set<pid_t> processes;
  for (Node& node : nodes_)
    if (node.process) processes.insert(node.process->pid());
  const auto started = descendants_of(processes);
  for (Node& node : nodes_)
    if (node.process) node.process->signal(SIGKILL);
  for (const pid_t pid : started) ::kill(pid, SIGKILL);
  for (Node& node : nodes_)
    if (node.process) CHECK(node.process->wait(10s));
}

std::optional<std::chrono::milliseconds> KilledNetwork::stop(std::chrono::seconds limit) {
  const auto begun = Time::now();
  for (Node& node : nodes_) node.process->signal(SIGTERM);
  bool clean = true;
  for (Node& node : nodes_) clean = node.process->wait(limit) == 0 && clean;
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Time::now() - begun);
  if (!clean) return std::nullopt;
  for (Node& node : nodes_) node.process.reset();
  return took;
}

std::string KilledNetwork::said() const {
  std::string all;
  for (const Node& node : nodes_) {
    all += "--- " + node.name + "\n";
    if (node.process) all += node.process->output();
  }
  return all;
}

void KilledNetwork::make_project() {
  module_ = guest::built_guest("version");
  const auto text = as_text(module_);
  version_at_ = text.find(std::string(kMarker) + std::string(kDigits, '0'));
  CHECK(version_at_ != text.npos);
  version_at_ += kMarker.size();

  must({tool("tau"), "new", "project", "hello"}, folder.path());
  const fs::path project = folder / "hello";
  must({tool("tau"), "new", "function", "version", "--language", "cpp", "--template", "ping",
        "--path", "/version"},
       project);
  const fs::path function = project / "code" / "functions" / "version";
  fs::remove(function / "main.cc");
  write_text(function / ".taubyte" / "build.sh", "cp /src/module.wasm /out/main.wasm\n");
  must({"git", "add", "-A"}, project / "config");
  must({"git", "commit", "-qm", "A function that answers its version"}, project / "config");
  const Json known = Json::parse(must({tool("tau"), "query", "projects", "--json"}, project));
  project_id = known["projects"][0]["id"];
}

std::string KilledNetwork::commit_version(std::uint64_t version) {
  const std::string digits = fmt::format("{:0{}}", version, kDigits);
  std::ranges::copy(digits, module_.begin() + static_cast<std::ptrdiff_t>(version_at_));
  const fs::path code = folder / "hello" / "code";
  write_text(code / "functions" / "version" / "module.wasm", to_text(module_));
  must({"git", "add", "-A"}, code);
  must({"git", "commit", "-qm", "Version " + digits}, code);
  return must({"git", "rev-parse", "HEAD"}, code);
}

std::string KilledNetwork::commit_config(const std::string& note) {
  const fs::path config = folder / "hello" / "config";
  const fs::path file = config / "functions" / "version.yaml";
  write_text(file, read_text(file) + "# " + note + "\n");
  must({"git", "commit", "-qam", note}, config);
  return must({"git", "rev-parse", "HEAD"}, config);
}

Said KilledNetwork::push(const std::string& repository, const std::string& what) {
  Place place = home;
  place.directory = folder / "hello" / repository;
  return run(place, {"git", "push", "-q", "origin", what}, 60s);
}

Said KilledNetwork::new_project(const std::string& name) {
  return run(home, {tool("tau"), "new", "project", name}, 60s);
}

Answer KilledNetwork::ask(Visitor& visitor, std::size_t node) const {
  return visitor.ask({nodes_[node].address, kHttpPort}, "hello.home.localhost", "/version");
}

Answer KilledNetwork::api(Visitor& visitor, const std::string& path) const {
  return visitor.ask(api_, api_.to_string(), "/v1/cloud" + path);
}

std::optional<std::uint64_t> KilledNetwork::version_of(const Answer& answer) const {
  if (answer.status != 200 || answer.body.size() != kMarker.size() + kDigits ||
      !answer.body.starts_with(kMarker))
    return std::nullopt;
  std::uint64_t version = 0;
  const char* digits = answer.body.data() + kMarker.size();
  if (std::from_chars(digits, digits + kDigits, version).ptr != digits + kDigits)
    return std::nullopt;
  return version;
}

std::optional<std::vector<KilledNetwork::Build>> KilledNetwork::builds(Visitor& visitor) const {
  const Answer answer = api(visitor, "/projects/" + project_id + "/builds?limit=100");
  if (answer.status != 200) return std::nullopt;
  std::vector<Build> found;
  const Json parsed = Json::parse(answer.body);
  for (const Json& one : parsed["builds"])
    found.push_back({one["seq"], one["id"], one["branch"], one["state"], one.value("error", ""),
                     one["commits"]});
  return found;
}

std::optional<std::set<std::string>> KilledNetwork::projects(Visitor& visitor) const {
  const Answer answer = api(visitor, fmt::format("/projects?limit={}", kProjectsMax));
  if (answer.status != 200) return std::nullopt;
  std::set<std::string> names;
  const Json parsed = Json::parse(answer.body);
  for (const Json& one : parsed["projects"]) names.insert(one["name"]);
  return names;
}

fs::path KilledNetwork::repository(const std::string& name) const {
  return folder / "net" / "one" / "data" / "git" / project_id / (name + ".git");
}

}  // namespace tau::test
