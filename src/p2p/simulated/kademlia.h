// Internal to p2p/simulated: Kademlia (libp2p's kad-dht) of one host, as native/swarm sets
// rust-libp2p up: buckets of 20, lookups that ask 3 at once and go on until the 20 closest have
// answered, provider records at the 20 closest for two days, a refresh of all buckets every ten
// minutes and while few are known. Values are not stored.
//
// Specification: https://github.com/libp2p/specs/tree/master/kad-dht.
// Owned by a host. Loop thread only.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "base/time.h"
#include "p2p/simulated/wire.h"

namespace tau::p2p::simulated {

struct KadRequest {
  enum class What : std::uint8_t { find_node, get_providers, add_provider };
  What what = What::find_node;
  Place target = {};
  Bytes key = {};  // of a provider record
  std::size_t bytes = 0;
};
struct KadAnswer {
  std::vector<Number> closer, providers;
  std::size_t bytes = 0;
};

class Kademlia {
 public:
  // What a host lends to it.
  class Ground {
   public:
    virtual ~Ground() = default;
    virtual TimePoint kad_now() const = 0;
    virtual Random& kad_random() = 0;
    virtual Place place_of_host(Number host) const = 0;
    // Dials where it must; answered() or failed() of `query` follows, unless the host stops.
    virtual void ask(Number to, std::uint64_t query, std::shared_ptr<const KadRequest> request) = 0;
    virtual void call_after(Duration after, std::function<void()> callback) = 0;
  };

  static constexpr std::size_t kBucketSize = 20, kParallel = 3;
  static constexpr Duration kRefreshEvery = std::chrono::minutes(10);
  static constexpr Duration kQueryLimit = std::chrono::seconds(10);
  // As native/swarm bounds them, and rust-libp2p a key's.
  static constexpr std::size_t kProvidedKeysMax = 65'536, kProvidersOfKeyMax = 20;

  Kademlia(Ground& ground, Number own) : ground_(ground), own_(own) {}

  void start();
  void stop();  // ends every lookup with what it has
  // The peer has said by identify where it listens.
  void connected(Number peer);
  void disconnected(Number peer);

  using Done = std::function<void(std::vector<Number>)>;
  // This host is asked for `key` from now on; done when the closest were told.
  void provide(Bytes key, Done done);
  // Done with `at_most` providers, or with what there is when the lookup ends.
  void find(Bytes key, std::size_t at_most, Done done);
  // Done with the peer if the lookup got to it, or with nobody.
  void look_for(Number peer, Done done);

  // A request of another host; nothing to answer: an announcement.
  std::optional<KadAnswer> receive(Number from, const KadRequest& request);
  void answered(std::uint64_t query, Number by, const KadAnswer& answer);
  void failed(std::uint64_t query, Number by);

  std::size_t known() const;
  // What it remembers, all together: for who watches that it does not grow.
  std::size_t remembered() const;
  std::size_t queries() const { return queries_.size(); }

 private:
  struct Entry {
    Number peer = 0;
    bool connected = true;
  };
  enum class Asked : std::uint8_t { not_yet, waiting, answered, failed };
  struct Candidate {
    Number peer = 0;
    Asked asked = Asked::not_yet;
  };
  enum class Purpose : std::uint8_t { refresh, provide, find, look };
  struct Query {
    Purpose purpose = Purpose::refresh;
    std::shared_ptr<const KadRequest> request = {};
    std::map<Place, Candidate> candidates = {};  // by distance
    std::size_t waiting = 0, no_progress = 0;
    bool stalled = false;
    std::vector<Place> left = {};  // of a refresh: the places to look for next
    bool refreshed = false;        // the look for this host itself is over
    Bytes key = {};
    std::set<Number> found = {};
    std::size_t at_most = 0;
    Done done = {};
  };

  std::size_t bucket_of(const Place& place) const;
  std::vector<Number> closest(const Place& target, std::optional<Number> except) const;
  std::uint64_t begin(Query query, const Place& target);
  void aim(Query& query, const Place& target);
  void advance(std::uint64_t id);
  std::optional<Number> next(Query& query, bool& over) const;
  void finish(std::uint64_t id);
  void refresh();
  void refresh_soon();
  void refresh_later();
  Place place_in(std::size_t bucket);
  std::vector<Number> providers_of(const Bytes& key);
  void remember(const Bytes& key, Number provider);

  Ground& ground_;
  const Number own_;
  std::array<std::vector<Entry>, 256> buckets_;  // the last is half of the space
  std::map<std::uint64_t, Query> queries_;
  std::uint64_t next_query_ = 1, soon_ = 0, later_ = 0;  // the latest timer counts
  bool refreshing_ = false;
  std::map<Bytes, std::map<Number, TimePoint>> providers_;  // until when
  std::set<Bytes> provided_;                                // by this host
  TimePoint published_;
};

}  // namespace tau::p2p::simulated
