// Which addresses of a node are of use to others.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "services/seer/api.h"

namespace tau::seer {

enum class Family : std::uint8_t { ipv4, ipv6 };

bool is_family(const std::string& address, Family family);
// Whether somebody else can send to it: not "any", not multicast, not broadcast.
bool is_reachable(const std::string& address);
// What DNS gives for a node as one that runs `service`: of a substrate the addresses that it
// answers on, of a seer the one of its DNS, of others those that nodes dial.
std::vector<std::string> addresses_of(const Announcement& node, std::string_view service);

}  // namespace tau::seer
