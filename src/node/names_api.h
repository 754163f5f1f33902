// What a node tells its operator of the registry: mounted on the node's `api` listener. Any node
// answers; it asks those with the role tns.
//
//   GET /v1/node/names?prefix=&suffix=&cursor=&limit=           names, and whose they are
//   GET /v1/node/pointers?project=ID&prefix=&cursor=&limit=     where a project's branches stand
//
// A page is {"names" or "pointers": […], "next": CURSOR or null, "stale_ms": how old it may be, or
// null when that is not known}.
#pragma once

#include "command/caller.h"
#include "http/router.h"

namespace tau::node {

class NamesApi {
 public:
  explicit NamesApi(command::Caller& caller) : caller_(caller) {}

  // This outlives the router's server.
  void mount(http::Router& router);

 private:
  command::Caller& caller_;
};

}  // namespace tau::node
