// Members of a made-up network, for tests of services: each with a host, a router and a caller, all
// connected. On simulated hosts or on libp2p's: the factory decides, so that one test body runs on
// both.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "command/caller.h"
#include "command/router.h"
#include "p2p/node_signed.h"

namespace tau::command {

struct Member {
  Member(runtime::Loop& loop, Random& random, p2p::NodeIdentity who, p2p::Admission of,
         std::unique_ptr<p2p::Host> at)
      : identity(std::move(who)),
        admission(std::move(of)),
        host(std::move(at)),
        router(loop, *host, Logger()),
        caller(loop, *host, router, random) {}
  p2p::NodeIdentity identity;
  p2p::Admission admission;
  std::unique_ptr<p2p::Host> host;
  Router router;
  Caller caller;
};

class Members {
 public:
  using HostFactory =
      std::function<std::unique_ptr<p2p::Host>(const crypto::KeyPair&, p2p::Admission)>;

  Members(runtime::Loop& loop, Random& random, HostFactory factory)
      : loop_(loop),
        random_(random),
        factory_(std::move(factory)),
        root_(crypto::KeyPair::generate(random)) {}

  // Valid for a day. Not started yet.
  Member& add(std::vector<std::string> roles);
  Task<Status> start();  // every host, then every connection, until both ends know of it
  Task<void> stop();

  const crypto::KeyPair& root() const { return root_; }
  Member& operator[](std::size_t i) { return *members_[i]; }
  std::size_t size() const { return members_.size(); }

 private:
  runtime::Loop& loop_;
  Random& random_;
  HostFactory factory_;
  crypto::KeyPair root_;
  std::vector<std::unique_ptr<Member>> members_;
};

}  // namespace tau::command
