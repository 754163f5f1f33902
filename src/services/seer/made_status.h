// A status as if a node had signed it, for tests of what does not look at signatures.
#pragma once

#include <memory>
#include <string>

#include "services/seer/status.h"

namespace tau::seer {

inline StatusPtr made_status(std::string peer, Announcement what, Count count = {1, 1}) {
  CheckedStatus out;
  out.signer.peer = PeerId(peer);
  out.signer.roles = what.services;
  out.status.what = std::move(what);
  out.status.life_unix_ms = count.life_unix_ms;
  out.status.number = count.number;
  out.raw = to_bytes(peer + "/" + std::to_string(count.life_unix_ms) + "/" +
                     std::to_string(count.number));
  return std::make_shared<const CheckedStatus>(std::move(out));
}

}  // namespace tau::seer
