// Who lives: a pure table, fed with announcements and told the time. No network, no clock of its
// own.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
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
  // no IP address that others can reach, a multiaddr that is not the node's own),
  // resource_exhausted.
  Status announce(const PeerId& peer, const p2p::Certificate& certificate,
                  Announcement announcement, TimePoint now);
  void forget(const PeerId& peer);

  // Those heard from within kDeadAfter, in peer id order. An empty service means all.
  std::vector<LiveNode> live(std::string_view service, TimePoint now) const;
  // Drops what has been silent for long, so that the table does not grow with every node that ever
  // was.
  void sweep(TimePoint now);

  // Addresses of one family of live nodes with the service: of a substrate those that it answers
  // on, of a seer the one of its DNS, of others those that nodes dial. Nodes with capacity left
  // only, unless none has; each comes first as often as it has capacity (smooth weighted round
  // robin), and the ones whose turn is next follow. At most `at_most`. A death by silence shows
  // kPoolFor later than in live(); every other change at once.
  enum class Family : std::uint8_t { ipv4, ipv6 };
  std::vector<std::string> addresses(std::string_view service, Family family, std::size_t at_most,
                                     TimePoint now);
  // The multiaddrs of live nodes with the service, one further at each call.
  std::vector<std::string> multiaddrs(std::string_view service, std::size_t at_most, TimePoint now);

 private:
  // Questions come by the ten thousand a second, announcements twice a second for each node.
  static constexpr Duration kPoolFor = std::chrono::milliseconds(250);
  struct Entry {
    Announcement announcement;
    TimePoint heard;
  };
  struct Choice {
    std::string address;
    std::int64_t weight = 1;
    std::int64_t turn = 0;  // grows by weight with each question; the largest comes first
  };
  struct Pool {
    std::vector<Choice> choices;  // by address, each once
    std::int64_t weights = 0;
    TimePoint made;
    std::uint64_t version = 0;
  };
  Pool& pool(std::string_view service, Family family, TimePoint now);

  std::map<PeerId, Entry> nodes_;
  std::uint64_t version_ = 1;  // of who is there with which addresses
  std::map<std::pair<std::string, Family>, Pool> pools_;
  std::size_t rotation_ = 0;
};

}  // namespace tau::seer
