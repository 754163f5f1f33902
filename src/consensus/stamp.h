// Stamp: the leader's time, put in front of each command of a group with Options::stamped. Part of
// the log, so that every member sees the same; see consensus/leases.h for what it is good for.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/error.h"

namespace tau::consensus {

struct Stamp {
  std::uint64_t term = 0;        // whose time: each term has one leader
  std::uint64_t elapsed_ms = 0;  // since that leader took it up, by its monotonic clock
};

inline constexpr std::size_t kStampSize = 16;

Bytes put_stamp(Stamp stamp, BytesView command);
struct Stamped {
  Stamp stamp;
  BytesView command;
};
Result<Stamped> take_stamp(BytesView data);

}  // namespace tau::consensus
