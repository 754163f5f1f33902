#include "services/auth/service.h"

#include <algorithm>

#include "services/tns/api.h"

namespace tau::auth {

Service::Service(command::Router& router, command::Caller& caller, store::Kv& kv)
    : router_(router), caller_(caller), store_(kv) {}

Task<Status> Service::start() {
  router_.serve(kProtocol, *this, Commands{});
  co_return Status{};
}

Task<void> Service::stop() { co_await router_.unserve(kProtocol); }

Task<Result<Register::Response>> Service::handle(command::Peer, Register::Request request) {
  CO_TRY_SYNC(const Registration registration, open_registration(request.registration));
  const ProjectId project = registration.project();
  CO_TRY(const auto known, store_.get(project));
  if (known && known->body != request.registration.body) {
    CO_TRY_SYNC(const Registration before, open_registration(*known));
    if (before.made_unix_ms >= registration.made_unix_ms)
      co_return fail(ErrorCode::failed_precondition,
                     "a newer registration of this project is known; sign one with a later time");
  }
  // The label first: a registration that is kept but whose name is another's would help nobody.
  // Should this node die in between, the same request again succeeds, because the label is this
  // project's already.
  CO_TRY_STATUS(caller_.call_any<tns::Claim>(tns::kRole, tns::kProtocol, {request.registration}));
  CO_TRY_STATUS(store_.put(project, std::move(request.registration)));
  co_return Register::Response{project};
}

Task<Result<GetProject::Response>> Service::handle(command::Peer, GetProject::Request request) {
  CO_TRY(auto registration, store_.get(request.project));
  if (!registration)
    co_return fail(ErrorCode::not_found,
                   "no project " + request.project.str() +
                       " is registered here; `tau new project` registers one");
  co_return GetProject::Response{*std::move(registration)};
}

Task<Result<ListProjects::Response>> Service::handle(command::Peer, ListProjects::Request request) {
  CO_TRY(auto found, store_.list(request.after, std::min<std::size_t>(request.limit, 100)));
  co_return ListProjects::Response{std::move(found)};
}

}  // namespace tau::auth
