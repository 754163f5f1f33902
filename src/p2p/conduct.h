// Conduct: how the other members behave towards this node, and what follows from it. One for each
// host; whoever notices something says so here, whatever protocol it was.
//
// Each peer has a rate of calls and one of gossip, and a score that grows with what it does wrong
// and halves every half-life. From kSlowAt on its rates are a tenth; at kLeaveAt its connection is
// closed and it is shut out for a minute, for twice as long the next time, and so on up to an hour.
// Who behaves is forgiven within minutes. Being slow, silent or behind is nothing wrong.
//
// Loop thread only.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/strong_id.h"
#include "base/time.h"
#include "p2p/certificate.h"
#include "runtime/loop.h"

namespace tau::p2p {

enum class Misdeed : std::uint8_t {
  flood,          // a call or message beyond its rate: it takes thousands
  malformed,      // bytes that no version of the protocol sends
  wrong_content,  // bytes that are not what their name (a CID) says
  forgery,        // words that only a lie explains: another's signature, a broken chain
};
std::string_view name_of(Misdeed misdeed);

class Conduct {
 public:
  struct Rates {
    // Above what one loop answers of real commands, so that only a flood meets it.
    double calls_per_second = 5000, calls_burst = 10'000;
    double messages_per_second = 1000, messages_burst = 4000;
  };
  // Closes the connection to a peer.
  using Disconnect = std::function<void(const PeerId& peer)>;

  // All of them outlive it; `admission` is a copy that shares its state.
  Conduct(runtime::Loop& loop, Admission admission, Disconnect disconnect, Logger log)
      : Conduct(loop, std::move(admission), std::move(disconnect), std::move(log), Rates()) {}
  Conduct(runtime::Loop& loop, Admission admission, Disconnect disconnect, Logger log, Rates rates);
  Conduct(const Conduct&) = delete;
  Conduct& operator=(const Conduct&) = delete;

  // Whether a call that comes now is within the peer's rate; one that is not is a flood.
  bool admit_call(const PeerId& peer);
  bool admit_message(const PeerId& author);  // the same for gossip
  // `what` is for the log: what was wrong, and with what.
  void blame(const PeerId& peer, Misdeed misdeed, std::string_view what);

  // 0: nothing wrong, or long ago.
  double score(const PeerId& peer) const;

  struct Entry {
    PeerId peer;
    double score = 0;
    bool slowed = false;
    std::int64_t out_until_unix_ms = 0;  // 0: not shut out
    std::string last;                    // the last misdeed, for people
  };
  // Whose score or shutting out still counts, the worst first.
  std::vector<Entry> entries() const;
  std::size_t known() const { return peers_.size(); }

  static constexpr double kSlowAt = 30, kLeaveAt = 100;
  static constexpr Duration kHalfLife = std::chrono::seconds(30);
  static constexpr Duration kOutFirst = std::chrono::minutes(1),
                            kOutLongest = std::chrono::hours(1);
  // Peers that are known at once; the one with the lowest score makes room. A member cannot make
  // others: each has a certificate.
  static constexpr std::size_t kPeersMax = 2048;

 private:
  struct Bucket {
    double left = 0;
    TimePoint counted = {};
  };
  struct Record {
    Bucket calls, messages;
    double score = 0;
    TimePoint scored = {};
    unsigned times_out = 0;
    std::int64_t out_until_unix_ms = 0;
    std::string last = {};
  };
  double decayed(const Record& record) const;
  Record& record_of(const PeerId& peer);
  bool take(const PeerId& peer, Bucket Record::* bucket, double per_second, double burst,
            std::string_view what);

  runtime::Loop& loop_;
  Admission admission_;
  Disconnect disconnect_;
  Logger log_;
  const Rates rates_;
  std::map<PeerId, Record> peers_;
};

}  // namespace tau::p2p
