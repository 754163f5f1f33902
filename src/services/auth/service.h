// auth: keeps the owners' signed registrations of projects. See README.md.
//
// Loop thread only. start() begins to answer; stop() ends every call in progress and is idempotent.
#pragma once

#include "command/caller.h"
#include "command/router.h"
#include "services/auth/api.h"
#include "services/auth/store.h"

namespace tau::auth {

class Service {
 public:
  Service(command::Router& router, command::Caller& caller, store::Kv& kv);

  Task<Status> start();
  Task<void> stop();

  Task<Result<Register::Response>> handle(command::Peer, Register::Request request);
  Task<Result<GetProject::Response>> handle(command::Peer, GetProject::Request request);
  Task<Result<ListProjects::Response>> handle(command::Peer, ListProjects::Request request);

 private:
  command::Router& router_;
  command::Caller& caller_;
  Store store_;
};

}  // namespace tau::auth
