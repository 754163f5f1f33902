// Machines in one room: network namespaces, each with a cable to a bridge that this process is on.
// Needs root (or the right to make namespaces); everything goes with the object.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "child.h"

namespace tau::test {

class Networks {
 public:
  // `count` machines. Null when this machine does not allow it: `why` then says why.
  static std::unique_ptr<Networks> make(const Place& place, int count, std::string& why);
  Networks(const Networks&) = delete;
  Networks& operator=(const Networks&) = delete;
  ~Networks();

  // Puts in front of a command what runs it on machine `i` (from 0).
  std::vector<std::string> on(int i, std::vector<std::string> argv) const;
  std::string address(int i) const;  // of machine `i`, by which all others reach it
  std::string own_address() const;   // of this process
  // Pulls the cable of a machine, or puts it back.
  bool cut(int i) const { return link(i, "down"); }
  bool mend(int i) const { return link(i, "up"); }

 private:
  Networks(Place place, int count);
  bool ip(std::vector<std::string> argv, std::string* why = nullptr) const;
  bool link(int i, const std::string& state) const;
  std::string space(int i) const { return bridge_ + "-" + std::to_string(i); }
  std::string cable(int i) const { return bridge_ + "c" + std::to_string(i); }
  bool build(std::string& why);

  Place place_;
  int count_ = 0;
  std::string bridge_, net_;
};

}  // namespace tau::test
