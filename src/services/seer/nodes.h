// Who lives: a pure table, fed with announcements and told the time. No network, no clock of its
// own.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "p2p/certificate.h"
#include "services/seer/api.h"

namespace tau::seer {

inline constexpr std::size_t kNodesMax =
    100'000;  // a table of about 100 MB; more is refused, not forgotten

class Nodes {
 public:
  // Errors: permission_denied (a service beyond the certificate's roles), invalid_argument (bounds,
  // no IP address), resource_exhausted.
  Status announce(const PeerId& peer, const p2p::Certificate& certificate,
                  Announcement announcement, TimePoint now);
  void forget(const PeerId& peer) { nodes_.erase(peer); }

  // Those heard from within kDeadAfter, in peer id order. An empty service means all.
  std::vector<LiveNode> live(std::string_view service, TimePoint now) const;
  // Drops what has been silent for long, so that the table does not grow with every node that ever
  // was.
  void sweep(TimePoint now);

  // The addresses of one family of live nodes with the service, those with capacity left only,
  // unless none has. Each call starts one further, so that questions spread over the nodes.
  enum class Family : std::uint8_t { ipv4, ipv6 };
  std::vector<std::string> addresses(std::string_view service, Family family, TimePoint now);

 private:
  struct Entry {
    Announcement announcement;
    TimePoint heard;
  };
  std::map<PeerId, Entry> nodes_;
  std::size_t rotation_ = 0;
};

}  // namespace tau::seer
