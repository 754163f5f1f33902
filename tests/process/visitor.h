// Somebody outside: asks over HTTP and DNS as a browser does. And somebody inside: a client node of
// the network, which asks the services what they know.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "http/client.h"
#include "node/local_process.h"
#include "node/network.h"
#include "node/node.h"

namespace tau::test {

struct Answer {
  int status = 0;  // 0: nobody answered; body then says why
  std::string body;
};

class Visitor {
 public:
  // GET http://at/path with this Host header.
  Answer ask(const net::Endpoint& at, const std::string& host, const std::string& path);
  // A records of `name`, by a real DNS question over UDP; nothing without an answer in time.
  struct DnsAnswer {
    int code = 0;  // 0 NOERROR, 3 NXDOMAIN
    std::vector<std::string> addresses;
  };
  std::optional<DnsAnswer> resolve(const net::Endpoint& seer, const std::string& name);

  runtime::RealLoop& loop() { return loop_; }
  // Looks until `met`, or the time is up.
  bool wait_until(std::chrono::seconds limit, const std::function<bool()>& met);

 private:
  runtime::RealLoop loop_;
  net::Sockets sockets_{loop_};
};

// A member of the network, a "client" if not told otherwise. Stopped in the destructor.
class Member {
 public:
  Member(Visitor& visitor, const std::filesystem::path& root_key, const std::string& network,
         const std::filesystem::path& data, std::string bootstrap,
         std::vector<std::string> roles = {"client"});
  ~Member();

  // Until it has met a node with this role.
  Status start(const std::string& role = "substrate");
  node::Node& node() { return *node_; }
  const p2p::NodeIdentity& identity() const { return *identity_; }
  template <class C>
  Result<typename C::Response> call(const PeerId& peer, std::string_view protocol,
                                    typename C::Request request) {
    return runtime::block_on(visitor_.loop(),
                             node_->caller().call<C>(peer, protocol, std::move(request)));
  }
  std::vector<PeerId> with_role(std::string_view role) {
    return node_->caller().peers_with_role(role);
  }

 private:
  Visitor& visitor_;
  node::LocalProcess process_;
  std::optional<p2p::NodeIdentity> identity_;
  std::unique_ptr<node::Node> node_;
};

}  // namespace tau::test
