// What a node says of itself, checked: signed by the node, within its certificate's roles, and such
// that others can use it. No clock of its own.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>

#include "p2p/certificate.h"
#include "services/seer/api.h"

namespace tau::seer {

// The node's own count.
struct Count {
  std::int64_t life_unix_ms = 0;
  std::uint64_t number = 0;
  friend auto operator<=>(const Count&, const Count&) = default;
};

struct CheckedStatus {
  NodeStatus status;
  p2p::Certificate signer;  // as the root signed it: what is left of it is asked anew, see judge()
  Bytes raw;                // the p2p::NodeSigned, as it is shared

  const PeerId& peer() const { return signer.peer; }
  Count count() const { return {status.life_unix_ms, status.number}; }
};
using StatusPtr = std::shared_ptr<const CheckedStatus>;

// Errors: permission_denied (a service beyond the certificate's roles), invalid_argument (bounds,
// no IP address that others can reach, a multiaddr that is not the node's own).
Status check_announcement(const PeerId& peer, const p2p::Certificate& certificate,
                          const Announcement& announcement);

// Certificate of this network and good now, signature, bounds. Errors: as above.
Result<StatusPtr> check_status(const p2p::Admission& admission, const p2p::NodeSigned& item,
                               std::int64_t now_unix_ms);
// The same for one that somebody else passed on, as bytes.
Result<StatusPtr> check_passed_on(const p2p::Admission& admission, BytesView raw,
                                  std::int64_t now_unix_ms);

// Whether one that was good still is: its certificate has not ended, and nothing of it that the
// status needs was revoked.
Status judge(const p2p::Admission& admission, const CheckedStatus& status,
             std::int64_t now_unix_ms);
// Whether it was signed less than kStatusFor from now: what others pass on must be.
bool is_recent(const CheckedStatus& status, std::int64_t now_unix_ms);

}  // namespace tau::seer
