// The part of the API for users that is about deployments of before.
#include "node/user_api.h"
#include "services/patrick/api.h"
#include "services/tns/api.h"

namespace tau::node {
namespace {

http::Json version_json(const tns::Version& version) {
  return {{"seq", version.seq},
          {"push", version.push},
          {"deployment", version.deployment.to_string()},
          {"moved_unix_ms", version.moved_unix_ms},
          {"serves", version.serves}};
}

}  // namespace

Task<Result<http::Json>> UserApi::history(http::Request& request) {
  tns::History::Request ask;
  ask.project = ProjectId(std::string(request.parameter("project")));
  ask.branch = http::query_value(request.query, "branch").value_or(std::string(tns::kMainBranch));
  CO_TRY(const auto found,
         caller_.call_any<tns::History>(tns::kRole, tns::kProtocol, std::move(ask)));
  Json versions = Json::array();
  for (const auto& version : found.versions) versions.push_back(version_json(version));
  co_return Json{{"versions", std::move(versions)}};
}

// patrick numbers it, tns moves the pointer. A number that tns then refuses is left out, as that of
// a push whose build fails.
Task<Result<http::Json>> UserApi::rollback(http::Request& request) {
  CO_TRY(auto order, signed_record(request, "order"));
  auto claimed = codec::from_cbor<patrick::RollbackOrder>(order.body);
  if (!claimed) co_return fail(std::move(claimed).error().context("order"));
  if (claimed->project.str() != request.parameter("project"))
    co_return fail(ErrorCode::invalid_argument, "the order is for another project than the path");
  CO_TRY(auto numbered, caller_.call_any<patrick::NumberRollback>(
                            patrick::kRole, patrick::kProtocol, {std::move(order)}));
  CO_TRY(const auto moved, caller_.call_any<tns::Rollback>(tns::kRole, tns::kProtocol,
                                                           {std::move(numbered.rollback)}));
  // For people to look at; who serves it checks the signature.
  CO_TRY_SYNC(const auto p, codec::from_cbor<tns::Pointer>(moved.pointer.record.body));
  co_return version_json(tns::Version{p.seq, p.pushed_seq(), p.deployment, p.moved_unix_ms, true});
}

}  // namespace tau::node
