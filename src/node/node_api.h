// What a node says of itself to its operator, and what an operator brings it: mounted on the node's
// `api` listener.
//
//   GET  /v1/node                 who it is, until when, which revocations it knows
//   GET  /v1/node/peers           whom it is connected to, what they may be; who misbehaved lately
//   GET  /v1/node/revocations     the list that counts here
//   POST /v1/node/revocations     a later list, as `odo network revoke` wrote it
//   POST /v1/node/certificates    a renewed certificate, of this node or of one that is connected
//
// What is brought is signed by the network's root, so that it does not matter who brings it.
#pragma once

#include <string>

#include "http/router.h"
#include "node/credentials.h"

namespace tau::node {

// What a list revokes, for programs.
http::Json entries_of(const p2p::Revocations& list);

class NodeApi {
 public:
  NodeApi(runtime::Loop& loop, std::string name, p2p::Host& host, Credentials& credentials)
      : loop_(loop), name_(std::move(name)), host_(host), credentials_(credentials) {}

  // This outlives the router's server.
  void mount(http::Router& router);

 private:
  http::Json self() const;
  http::Json peers() const;
  http::Json conduct() const;  // of whom it could be better
  http::Json revocations() const;

  runtime::Loop& loop_;
  const std::string name_;
  p2p::Host& host_;
  Credentials& credentials_;
};

}  // namespace tau::node
