#include "bin/tau/query.h"

#include <fmt/format.h>

#include <map>

#include "bin/tau/follow.h"
#include "codec/cid.h"

namespace tau::cli {
namespace {

using http::Json;

constexpr int kWaitMs = 20'000;

std::string short_commits(const Json& build) {
  std::string out;
  for (const auto& [name, commit] : build.value("commits", Json::object()).items())
    out += fmt::format("{}{} {}", out.empty() ? "" : ", ", name,
                       commit.get<std::string>().substr(0, 8));
  return out;
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

Result<Json> all_projects(Cloud& cloud) {
  Json all = Json::array();
  std::string after;
  for (;;) {
    TRY(const Json page, cloud.get("/projects?limit=100&after=" + url_encode(after)));
    const Json projects = page.value("projects", Json::array());
    for (const Json& project : projects) all.push_back(project);
    if (projects.size() < 100) return all;
    after = projects.back().value("id", "");
  }
}

void show_project(const Terminal& terminal, const Json& project) {
  std::vector<std::vector<std::string>> rows = {{"name", project.value("name", "")},
                                                {"id", project.value("id", "")},
                                                {"url", project.value("url", "")},
                                                {"owner", project.value("owner", "")}};
  for (const Json& repository : project.value("repositories", Json::array()))
    rows.push_back({repository.value("name", ""), repository.value("url", "")});
  if (project.contains("deployed")) {
    const Json& deployed = project["deployed"];
    rows.push_back(
        {"deployed", fmt::format("build {} of {}: {}", deployed.value("seq", 0),
                                 deployed.value("branch", ""), deployed.value("deployment", ""))});
  } else {
    rows.push_back({"deployed", "nothing yet"});
  }
  terminal.say(table(rows));
}

}  // namespace

Status query_projects(Cloud& cloud, const Terminal& terminal) {
  TRY(const Json projects, all_projects(cloud));
  terminal.result({{"projects", projects}});
  if (projects.empty()) terminal.say("no projects yet; make one: tau new project hello");
  std::vector<std::vector<std::string>> rows;
  for (const Json& project : projects)
    rows.push_back({project.value("name", ""), project.value("url", ""), project.value("id", "")});
  if (!rows.empty()) terminal.say(table(rows));
  return {};
}

Status query_project(Cloud& cloud, const Terminal& terminal, const std::string& which) {
  std::string id = which;
  if (!codec::Cid::parse(which)) {
    TRY(const Json projects, all_projects(cloud));
    std::vector<std::string> found;
    for (const Json& project : projects)
      if (project.value("name", "") == which || project.value("label", "") == which)
        found.push_back(project.value("id", ""));
    if (found.empty())
      return fail(ErrorCode::not_found,
                  "no project \"" + which + "\"; tau query projects lists them");
    if (found.size() > 1)
      return fail(ErrorCode::invalid_argument,
                  fmt::format("{} projects are called \"{}\"; name one by its id or its label",
                              found.size(), which));
    id = found.front();
  }
  TRY(const Json project, cloud.get("/projects/" + url_encode(id)));
  terminal.result(project);
  show_project(terminal, project);
  return {};
}

Status query_builds(Cloud& cloud, const Terminal& terminal, const std::string& project, int limit) {
  TRY(const Json answer,
      cloud.get(fmt::format("/projects/{}/builds?limit={}", url_encode(project), limit)));
  terminal.result(answer);
  const Json builds = answer.value("builds", Json::array());
  if (builds.empty()) terminal.say("no builds yet; tau push makes one");
  std::vector<std::vector<std::string>> rows;
  for (const Json& build : builds)
    rows.push_back({fmt::format("{}", build.value("seq", 0)), build.value("branch", ""),
                    build.value("id", ""),
                    time_text(build.value("accepted_unix_ms", std::int64_t{0})),
                    short_commits(build), first_line(ending_of(build))});
  if (!rows.empty()) terminal.say(table(rows));
  return {};
}

Status query_build(Cloud& cloud, const Terminal& terminal, const std::string& build) {
  TRY(const Json about, cloud.get("/builds/" + url_encode(build)));
  terminal.result(about);
  std::vector<std::vector<std::string>> rows = {
      {"build", fmt::format("{} of branch {}", about.value("seq", 0), about.value("branch", ""))},
      {"job", about.value("id", "")},
      {"state", ending_of(about)},
      {"commits", short_commits(about)},
      {"accepted", time_text(about.value("accepted_unix_ms", std::int64_t{0}))}};
  if (about.contains("monkey"))
    rows.push_back({"monkey", fmt::format("{} (lease {})", about.value("monkey", ""),
                                          about.value("lease", 0))});
  for (const char* name : {"deployment", "retry_of", "retried_by"})
    if (about.contains(name)) rows.push_back({name, about.value(name, "")});
  terminal.say(table(rows));
  return {};
}

Status show_logs(Cloud& cloud, const Terminal& terminal, const std::string& project, bool follow) {
  std::string cursor;
  Json all = Json::array();
  bool waited = false;
  for (;;) {
    // What is there first, then what comes.
    TRY(const Json read,
        cloud.get(fmt::format("/projects/{}/logs?cursor={}&wait_ms={}", url_encode(project),
                              url_encode(cursor), follow && waited ? kWaitMs : 0)));
    waited = true;
    const Json lines = read.value("lines", Json::array());
    for (const Json& line : lines) {
      if (terminal.json() && !follow) all.push_back(line);
      if (follow) terminal.item(line);
      const std::string request = line.value("request", "");
      const std::string text =
          fmt::format("{} {} {}{}", time_text(line.value("at_unix_ms", std::int64_t{0})),
                      line.value("function", ""), request.empty() ? "" : "[" + request + "] ",
                      line.value("text", ""));
      if (!terminal.json() && line.value("stream", "") == "failure") {
        terminal.bad(text);
      } else {
        terminal.say(text);
      }
    }
    cursor = read.value("cursor", "");
    if (!follow && lines.empty()) break;
  }
  if (terminal.json() && !follow) terminal.result({{"lines", all}});
  return {};
}

Status show_log_of_build(Cloud& cloud, const Terminal& terminal, const std::string& project,
                         std::string build, bool follow) {
  if (build.empty()) {
    TRY(const Json builds, cloud.get("/projects/" + url_encode(project) + "/builds?limit=1"));
    const Json list = builds.value("builds", Json::array());
    if (list.empty()) return fail(ErrorCode::not_found, "no builds yet; tau push makes one");
    build = list.front().value("id", "");
  }
  if (!terminal.json()) {
    TRY(const Json about, cloud.get("/builds/" + url_encode(build)));
    terminal.say(fmt::format("build {} of branch {}: {}", about.value("seq", 0),
                             about.value("branch", ""), ending_of(about)));
    return show_build_log(cloud, terminal, build, follow);
  }
  std::string text;
  for (std::uint64_t offset = 0;;) {
    TRY(const Json read, cloud.get(fmt::format("/builds/{}/log?offset={}&wait_ms={}",
                                               url_encode(build), offset, follow ? kWaitMs : 0)));
    text += read.value("text", "");
    offset = read.value("offset", offset);
    if (read.value("ended", false) || (read.value("text", "").empty() && !follow)) break;
  }
  TRY(const Json about, cloud.get("/builds/" + url_encode(build)));
  terminal.result({{"build", about}, {"log", text}});
  return {};
}

Status show_status(Cloud& cloud, const Terminal& terminal, const Result<ProjectFolder>& project) {
  TRY(const Json network, cloud.get("/network"));
  TRY(const Json nodes, cloud.get("/nodes"));
  std::map<std::string, int> services;
  const Json list = nodes.value("nodes", Json::array());
  for (const Json& node : list)
    for (const Json& service : node.value("services", Json::array()))
      ++services[service.get<std::string>()];
  std::string said;
  for (const auto& [name, count] : services)
    said += fmt::format("{}{} {}", said.empty() ? "" : ", ", count, name);
  Json out = {{"cloud", cloud.url()}, {"network", network}, {"services", services}};
  std::vector<std::vector<std::string>> rows = {
      {"cloud", cloud.url()},
      {"network", network.value("name", "") + " (*." + network.value("suffix", "") + ")"},
      {"nodes", fmt::format("{} live: {}", list.size(), said)}};
  if (project) {
    const auto about = cloud.get("/projects/" + url_encode(project->id));
    if (about) {
      out["project"] = *about;
      rows.push_back({"project", about->value("name", "") + " at " + about->value("url", "")});
      rows.push_back(
          {"deployed", about->contains("deployed")
                           ? fmt::format("build {}", (*about)["deployed"].value("seq", 0))
                           : "nothing yet: tau push"});
      TRY(const Json builds, cloud.get("/projects/" + url_encode(project->id) + "/builds?limit=1"));
      const Json newest = builds.value("builds", Json::array());
      if (!newest.empty()) {
        out["build"] = newest.front();
        rows.push_back({"last build", fmt::format("{} {}", newest.front().value("seq", 0),
                                                  first_line(ending_of(newest.front())))});
      }
    } else {
      rows.push_back({"project", project->name + ": " + about.error().message()});
    }
  } else {
    rows.push_back({"project", "none in this folder"});
  }
  terminal.result(out);
  terminal.say(table(rows));
  return {};
}

}  // namespace tau::cli
