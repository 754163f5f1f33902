// A network in memory, on any loop: what tests and the simulator use in place of sockets. Endpoints
// are one table for the whole world; every simulated machine has its own Network with its own
// source address, and dies as a whole with kill().
//
// The world must outlive its hosts' tasks; hosts live as long as the world. Loop thread only.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/random.h"
#include "net/network.h"
#include "runtime/loop.h"

namespace tau::net {

namespace simulated {
class Host;
struct Tables;
}  // namespace simulated

// What happens to datagrams. Shares of 1000.
struct DatagramWeather {
  std::uint32_t lost = 0, doubled = 0;
  std::uint32_t late = 0;  // by up to kStraggleMax, behind others
  static constexpr Duration kStraggleMax = std::chrono::milliseconds(300);
};

class SimulatedNetwork {
 public:
  explicit SimulatedNetwork(runtime::Loop& loop, Duration latency = Duration::zero());
  ~SimulatedNetwork();

  // The machine with this address; the same object for the same address.
  Network& host(const std::string& address);
  // Every listener, connection and datagram socket of the machine ends: others read `unavailable`.
  void kill(const std::string& address);
  void set_latency(Duration latency);  // one way; for what is sent from now on
  void set_weather(DatagramWeather weather, Random& random);  // `random` outlives the world

 private:
  std::shared_ptr<simulated::Tables> tables_;
  std::map<std::string, std::unique_ptr<simulated::Host>> hosts_;
};

}  // namespace tau::net
