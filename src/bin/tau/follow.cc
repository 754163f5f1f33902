#include "bin/tau/follow.h"

#include <fmt/format.h>

#include <algorithm>

namespace tau::cli {
namespace {

using http::Json;

constexpr int kWaitMs = 20'000;
constexpr int kSupersededMax = 20;  // pushes that overtake the one that is followed

bool has_ended(const std::string& state) { return state != "waiting" && state != "building"; }

// Prints whole lines; keeps the rest for the next piece.
class Lines {
 public:
  explicit Lines(const Terminal& terminal) : terminal_(terminal) {}
  void add(const std::string& text) {
    rest_ += text;
    for (std::size_t end; (end = rest_.find('\n')) != rest_.npos; rest_.erase(0, end + 1))
      terminal_.detail("  " + rest_.substr(0, end));
  }
  void finish() {
    if (!rest_.empty()) terminal_.detail("  " + rest_);
    rest_.clear();
  }

 private:
  const Terminal& terminal_;
  std::string rest_;
};

}  // namespace

std::optional<Json> find_build(const Json& builds, const std::string& branch,
                               const std::map<std::string, std::string>& commits) {
  for (const Json& build : builds.value("builds", Json::array())) {
    if (build.value("branch", "") != branch) continue;
    const Json its = build.value("commits", Json::object());
    const bool same = std::ranges::all_of(commits, [&](const auto& one) {
      return !its.contains(one.first) || its.value(one.first, "") == one.second;
    });
    if (same) return build;
  }
  return std::nullopt;
}

Status show_build_log(Cloud& cloud, const Terminal& terminal, const std::string& build,
                      bool follow) {
  std::uint64_t offset = 0;
  Lines lines(terminal);
  for (;;) {
    TRY(const Json read, cloud.get(fmt::format("/builds/{}/log?offset={}&wait_ms={}",
                                               url_encode(build), offset, follow ? kWaitMs : 0)));
    const std::string text = read.value("text", "");
    lines.add(text);
    offset = read.value("offset", offset);
    if (read.value("ended", false) || (text.empty() && !follow)) break;
  }
  lines.finish();
  return {};
}

Result<Json> follow_build(Cloud& cloud, const Terminal& terminal, Json build) {
  for (int i = 0; i < kSupersededMax; ++i) {
    const std::string id = build.value("id", "");
    terminal.say(fmt::format("build {} of branch {} (job {})", build.value("seq", 0),
                             build.value("branch", ""), id));
    if (build.value("state", "") == "waiting" && build.contains("error"))
      return build;  // for a repository that was never pushed: nothing to wait for
    TRY_STATUS(show_build_log(cloud, terminal, id, true));
    for (std::string state = build.value("state", ""); !has_ended(state);) {
      TRY(build, cloud.get(fmt::format("/builds/{}?unless_state={}&wait_ms={}", url_encode(id),
                                       state, kWaitMs)));
      state = build.value("state", "");
    }
    if (build.value("state", "") != "superseded") return build;
    TRY(const Json builds,
        cloud.get("/projects/" + url_encode(build.value("project", "")) + "/builds?limit=100"));
    const auto newest = find_build(builds, build.value("branch", ""), {});
    if (!newest || newest->value("id", "") == id) return build;
    terminal.say("a newer push took its place");
    build = *newest;
  }
  return build;
}

std::string ending_of(const Json& build) {
  const std::string state = build.value("state", "");
  const std::int64_t started = build.value("started_unix_ms", std::int64_t{0}),
                     ended = build.value("ended_unix_ms", std::int64_t{0});
  std::string out = state;
  if (started > 0 && ended >= started) out += " in " + duration_text(ended - started);
  if (build.contains("error")) out += ": " + build.value("error", "");
  return out;
}

}  // namespace tau::cli
