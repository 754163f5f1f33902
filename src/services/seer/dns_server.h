// The DNS server of seer: UDP and TCP on one endpoint (RFC 1035, 7766), answering what zone.h says,
// within what rate_limit.h allows.
//
// UDP answers are at most 512 bytes, or what EDNS says up to 1232; what does not fit is marked so
// and had over TCP. A TCP connection carries any number of queries, several at a time, whose
// answers go out as they are ready; it ends after kIdle without a query, or when a message takes
// longer than kMessageMax to come or to go. Loop thread only.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/log.h"
#include "net/network.h"
#include "runtime/task_group.h"
#include "services/seer/claims.h"
#include "services/seer/dns_message.h"
#include "services/seer/nodes.h"
#include "services/seer/rate_limit.h"
#include "services/seer/zone.h"

namespace tau::seer {

class DnsServer {
 public:
  struct Options {
    net::Endpoint listen;
    ZoneOptions zone;
    RateLimits limits;
  };
  // `nodes`, `network` and `random` outlive it.
  DnsServer(runtime::Loop& loop, net::Network& network, Options options, Nodes& nodes,
            Claims::Ask is_claimed, Random& random, Logger log);

  Task<Status> start();
  Task<void> stop();
  net::Endpoint local() const { return local_; }  // with the port that was free, once started
  Statistics::Response statistics() const;

 private:
  enum class Transport : std::uint8_t { udp, tcp };
  struct Client;

  Task<void> serve_udp();
  Task<void> answer_datagram(net::Datagram datagram);
  Task<void> serve_tcp();
  Task<void> serve_connection(std::shared_ptr<Client> client);
  Task<void> answer_message(std::shared_ptr<Client> client, Bytes message,
                            runtime::Semaphore::Permit permit);
  // The answer to one message; empty when there is to be none.
  Task<Bytes> answer(Bytes message, std::string address, Transport transport);
  struct Decided {
    RateLimiter::Verdict verdict = RateLimiter::Verdict::pass;
    dns::Answer answer;
  };
  Task<Decided> decide(dns::Query query, std::string address, Transport transport);
  RateLimiter::Verdict admit(const dns::Answer& answer, std::string_view address,
                             Transport transport);

  runtime::Loop& loop_;
  net::Network& network_;
  const net::Endpoint at_;
  net::Endpoint local_;
  Zone zone_;
  Claims claims_;
  RateLimiter limiter_;
  Logger log_;
  std::unique_ptr<net::DatagramSocket> udp_;
  std::unique_ptr<net::Listener> tcp_;
  std::size_t in_flight_ = 0;
  std::size_t connections_ = 0;
  std::map<std::uint64_t, std::size_t> connections_of_;  // by network
  Statistics::Response counted_;
  runtime::TaskGroup tasks_;
};

}  // namespace tau::seer
