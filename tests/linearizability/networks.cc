#include "networks.h"

#include <unistd.h>

#include <utility>

namespace tau::test {

using namespace std::chrono_literals;

// Names of interfaces have 15 characters at most; the process id keeps tests apart that run at the
// same time.
Networks::Networks(Place place, int count)
    : place_(std::move(place)), count_(count), bridge_("tau" + std::to_string(getpid())) {
  const int n = getpid();
  net_ = "10." + std::to_string(100 + n / 250 % 100) + "." + std::to_string(n % 250) + ".";
}

Networks::~Networks() {
  for (int i = 0; i < count_; ++i) ip({"netns", "del", space(i)});
  ip({"link", "del", bridge_});
}

std::unique_ptr<Networks> Networks::make(const Place& place, int count, std::string& why) {
  std::unique_ptr<Networks> networks(new Networks(place, count));
  if (!networks->build(why)) return nullptr;
  return networks;
}

bool Networks::ip(std::vector<std::string> argv, std::string* why) const {
  argv.insert(argv.begin(), "ip");
  const Said said = run(place_, argv, 10s);
  if (said.code != 0 && why) {
    why->clear();
    for (const auto& word : argv) *why += word + " ";
    *why += "(exit code " + std::to_string(said.code) + "): " + said.err;
  }
  return said.code == 0;
}

bool Networks::build(std::string& why) {
  if (!ip({"link", "add", bridge_, "type", "bridge"}, &why) ||
      !ip({"addr", "add", own_address() + "/24", "dev", bridge_}, &why) ||
      // One of its own: by itself a bridge takes the smallest of its ports, and another one when
      // that port goes down.
      !ip({"link", "set", bridge_, "address", "02:00:00:00:00:01", "up"}, &why))
    return false;
  for (int i = 0; i < count_; ++i) {
    const std::string at = space(i), far = cable(i) + "x";
    if (!ip({"netns", "add", at}, &why) ||
        !ip({"link", "add", cable(i), "type", "veth", "peer", "name", far}, &why) ||
        !ip({"link", "set", far, "netns", at}, &why) ||
        !ip({"link", "set", cable(i), "master", bridge_, "up"}, &why) ||
        !ip({"-n", at, "addr", "add", address(i) + "/24", "dev", far}, &why) ||
        !ip({"-n", at, "link", "set", far, "up"}, &why) ||
        !ip({"-n", at, "link", "set", "lo", "up"}, &why))
      return false;
  }
  return true;
}

std::vector<std::string> Networks::on(int i, std::vector<std::string> argv) const {
  argv.insert(argv.begin(), {"ip", "netns", "exec", space(i)});
  return argv;
}

std::string Networks::address(int i) const { return net_ + std::to_string(i + 2); }
std::string Networks::own_address() const { return net_ + "1"; }

bool Networks::link(int i, const std::string& state) const {
  return ip({"link", "set", cable(i), state});
}

}  // namespace tau::test
