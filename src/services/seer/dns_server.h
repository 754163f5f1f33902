// The DNS server of seer: UDP and TCP on one endpoint (RFC 1035, 7766), answering for the names of
// this network.
//
//   a claimed name      A / AAAA of live substrates, in rotating order; NODATA where no live node
//   has that family an unclaimed name of the zone      NXDOMAIN anything else       REFUSED: this
//   is no resolver
//
// Whether a name is claimed is asked of tns and kept for a second; while tns is out of reach the
// last answer stands. Loop thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/log.h"
#include "net/network.h"
#include "runtime/task_group.h"
#include "services/seer/dns_message.h"
#include "services/seer/nodes.h"

namespace tau::seer {

class DnsServer {
 public:
  // Is this fully qualified name claimed by somebody? Errors: unavailable.
  using IsClaimed = std::function<Task<Result<bool>>(std::string name)>;

  DnsServer(runtime::Loop& loop, net::Network& network, net::Endpoint at, std::string suffix,
            Nodes& nodes, IsClaimed is_claimed, Logger log);

  Task<Status> start();
  Task<void> stop();
  net::Endpoint local() const { return local_; }  // with the port that was free, once started

  // The answer to one message; empty when there is to be none.
  Task<Bytes> answer(Bytes message, bool over_tcp);

 private:
  Task<void> serve_udp();
  Task<void> answer_datagram(net::Datagram datagram);
  Task<void> serve_tcp();
  Task<void> serve_connection(std::unique_ptr<net::Connection> connection);
  Task<dns::Answer> decide(dns::Query query);
  Task<Result<bool>> claimed(std::string name);

  runtime::Loop& loop_;
  net::Network& network_;
  net::Endpoint at_, local_;
  dns::Zone zone_;
  Nodes& nodes_;
  IsClaimed is_claimed_;
  Logger log_;
  struct Known {
    bool claimed;
    TimePoint asked;
  };
  std::map<std::string, Known, std::less<>> known_;
  std::unique_ptr<net::DatagramSocket> udp_;
  std::unique_ptr<net::Listener> tcp_;
  std::size_t in_flight_ = 0, connections_ = 0;
  runtime::TaskGroup tasks_;
};

}  // namespace tau::seer
