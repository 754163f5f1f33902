// The operating system's sockets on a RealLoop. Nothing is done before listen(), bind() or
// connect(); what those give out must be destroyed before the loop. Loop thread only.
#pragma once

#include "net/network.h"
#include "runtime/loop.h"

namespace tau::net {

class Sockets final : public Network {
 public:
  explicit Sockets(runtime::RealLoop& loop) : loop_(loop) {}

  Result<std::unique_ptr<Listener>> listen(const Endpoint& at,
                                           SharePort share = SharePort::no) override;
  Result<std::unique_ptr<DatagramSocket>> bind(const Endpoint& at) override;
  Task<Result<std::unique_ptr<Connection>>> connect(Endpoint to) override;

 private:
  runtime::RealLoop& loop_;
};

}  // namespace tau::net
