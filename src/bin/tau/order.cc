#include "bin/tau/order.h"

#include <fmt/format.h>

#include "bin/tau/follow.h"
#include "codec/base64.h"
#include "services/patrick/api.h"

namespace tau::cli {
namespace {

using http::Json;

template <class Order>
Json body_of(const crypto::KeyPair& owner, const Order& order) {
  return {{"order", codec::base64_encode(codec::to_cbor(codec::sign_record(owner, order)))}};
}

Result<Json> builds_of(Cloud& cloud, const std::string& project) {
  TRY(const Json answer, cloud.get("/projects/" + url_encode(project) + "/builds?limit=100"));
  Json builds = answer.value("builds", Json::array());
  if (builds.empty()) return fail(ErrorCode::not_found, "no builds yet; tau push makes one");
  return builds;
}

}  // namespace

Result<std::string> build_under_way(Cloud& cloud, const std::string& project) {
  TRY(const Json builds, builds_of(cloud, project));
  for (const Json& build : builds) {
    const std::string state = build.value("state", "");
    if (state == "waiting" || state == "building") return build.value("id", "");
  }
  return fail(ErrorCode::not_found,
              "no build waits or is under way; tau query builds shows how "
              "they ended");
}

Result<std::string> newest_build(Cloud& cloud, const std::string& project) {
  TRY(const Json builds, builds_of(cloud, project));
  return builds.front().value("id", "");
}

Status cancel_build(Cloud& cloud, const Terminal& terminal, const crypto::KeyPair& owner,
                    const std::string& build, std::int64_t now_unix_ms) {
  const patrick::CancelOrder order{JobId(build), now_unix_ms};
  TRY(const Json ended,
      cloud.post("/builds/" + url_encode(build) + "/cancel", body_of(owner, order)));
  terminal.result(ended);
  terminal.good(fmt::format("build {} of branch {} (job {}) is {}", ended.value("seq", 0),
                            ended.value("branch", ""), build, ended.value("state", "")));
  terminal.say("What was deployed before goes on serving. To build it after all: tau retry build " +
               build);
  return {};
}

Result<int> retry_build(Cloud& cloud, const Terminal& terminal, const crypto::KeyPair& owner,
                        const std::string& build, Retry how, std::int64_t now_unix_ms) {
  const patrick::RetryOrder order{JobId(build), how.clean, now_unix_ms};
  TRY(Json fresh, cloud.post("/builds/" + url_encode(build) + "/retry", body_of(owner, order)));
  if (how.follow) {
    TRY(fresh, follow_build(cloud, terminal, std::move(fresh)));
  }
  terminal.result(fresh);
  const std::string state = fresh.value("state", "");
  if (state == "succeeded") {
    terminal.good("the build " + ending_of(fresh));
    return kExitOk;
  }
  if (!how.follow || state == "waiting" || state == "building") {
    terminal.say(fmt::format("build {} of branch {} (job {}) is {}", fresh.value("seq", 0),
                             fresh.value("branch", ""), fresh.value("id", ""), state));
    return kExitOk;
  }
  if (!terminal.json())
    terminal.bad("the build " + ending_of(fresh) + "\nThe whole log: tau logs --build " +
                 fresh.value("id", ""));
  return kExitFailed;
}

}  // namespace tau::cli
