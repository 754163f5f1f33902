#include "bin/tau/rollback.h"

#include <fmt/format.h>

#include <algorithm>

#include "bin/tau/follow.h"
#include "codec/base64.h"
#include "services/patrick/api.h"

namespace tau::cli {
namespace {

using http::Json;

constexpr std::size_t kCidPartMin = 8;  // shorter words are numbers, or slips

std::uint64_t number(const Json& version, const char* name) {
  return version.value(name, std::uint64_t{0});
}

Result<Json> history_of(Cloud& cloud, const std::string& project, const std::string& branch) {
  TRY(const Json answer,
      cloud.get("/projects/" + url_encode(project) + "/history?branch=" + url_encode(branch)));
  Json versions = answer.value("versions", Json::array());
  if (versions.empty())
    return fail(ErrorCode::not_found, "branch " + branch + " has no deployment: tau push");
  return versions;
}

}  // namespace

Result<Json> version_to_serve(const Json& versions, const std::string& to) {
  const Json& now = versions.front();
  const std::string serving = now.value("deployment", "");
  std::vector<Json> found;
  const bool is_number =
      !to.empty() && std::ranges::all_of(to, [](char c) { return c >= '0' && c <= '9'; });
  for (const Json& version : versions) {
    const std::string deployment = version.value("deployment", "");
    if (to.empty()) {
      if (number(version, "push") < number(now, "push") && deployment != serving) return version;
    } else if (is_number && to.size() < kCidPartMin) {
      if (std::to_string(number(version, "seq")) == to) found.push_back(version);
    } else if (to.size() >= kCidPartMin && deployment.starts_with(to)) {
      // The same deployment may have served several times.
      if (found.empty() || found.front().value("deployment", "") != deployment)
        found.push_back(version);
    }
  }
  if (to.empty())
    return fail(ErrorCode::not_found,
                "there is no earlier deployment to go back to; tau history shows what is kept");
  if (found.empty())
    return fail(ErrorCode::not_found, "no version \"" + to +
                                          "\" is kept; tau history shows those that are (a CID "
                                          "needs its first 8 letters)");
  if (found.size() > 1)
    return fail(ErrorCode::invalid_argument,
                "several deployments begin with \"" + to + "\"; give more of it");
  if (found.front().value("deployment", "") == serving)
    return fail(ErrorCode::invalid_argument, "that deployment serves already; nothing is moved");
  return found.front();
}

Status show_history(Cloud& cloud, const Terminal& terminal, const std::string& project,
                    const std::string& branch) {
  TRY(const Json versions, history_of(cloud, project, branch));
  terminal.result({{"branch", branch}, {"versions", versions}});
  std::vector<std::vector<std::string>> rows;
  for (const Json& version : versions) {
    const std::uint64_t seq = number(version, "seq"), push = number(version, "push");
    rows.push_back(
        {std::to_string(seq), time_text(version.value("moved_unix_ms", std::int64_t{0})),
         version.value("deployment", ""),
         (push == seq ? fmt::format("build {}", push) : fmt::format("back to build {}", push)) +
             (version.value("serves", false) ? ", serves" : "")});
  }
  terminal.say(table(rows));
  return {};
}

Status roll_back(Cloud& cloud, const Terminal& terminal, const crypto::KeyPair& owner,
                 const std::string& project, const std::string& branch, const std::string& to,
                 std::int64_t now_unix_ms) {
  TRY(const Json versions, history_of(cloud, project, branch));
  TRY(const Json target, version_to_serve(versions, to));
  patrick::RollbackOrder order;
  order.project = ProjectId(project);
  order.branch = branch;
  order.from_seq = number(versions.front(), "seq");
  order.to_seq = number(target, "seq");
  TRY(order.deployment, codec::Cid::parse(target.value("deployment", "")));
  order.made_unix_ms = now_unix_ms;
  const Json body = {
      {"order", codec::base64_encode(codec::to_cbor(codec::sign_record(owner, order)))}};
  TRY(const Json moved, cloud.post("/projects/" + url_encode(project) + "/rollback", body));
  terminal.result(moved);
  terminal.good(fmt::format("branch {} serves build {} again (version {})", branch,
                            number(moved, "push"), number(moved, "seq")));
  terminal.say("The next push goes on from there. To undo: tau rollback --to " +
               std::to_string(order.from_seq));
  return {};
}

}  // namespace tau::cli
