// Internal to p2p/simulated: gossipsub v1.1 (and IDONTWANT of v1.2) of one host, with the
// parameters that native/swarm sets and the defaults of rust-libp2p where it sets none: a mesh of 6
// (5 to 12) for each topic, GRAFT and PRUNE with a backoff, a heartbeat a second that repairs the
// mesh and tells of what was heard lately by IHAVE, IWANT for what was missed, own messages to
// every subscribed neighbour. Peers are not scored, as in native/swarm.
//
// Specification: https://github.com/libp2p/specs/tree/master/pubsub/gossipsub.
// Owned by a host. Loop thread only.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "p2p/simulated/wire.h"

namespace tau::p2p::simulated {

using MessageId = std::uint64_t;

struct GossipMessage {
  MessageId id = 0;
  Number author = 0;
  Topic topic = 0;
  Bytes data;
  std::size_t bytes = 0;  // as a protobuf, signature included
};

// One RPC on the wire carries one of these, as rust-libp2p sends them.
struct GossipRpc {
  enum class What : std::uint8_t { subscribe, graft, prune, publish, ihave, iwant, idontwant };
  What what = What::subscribe;
  std::vector<Topic> topics = {};
  std::vector<MessageId> ids = {};
  std::shared_ptr<const GossipMessage> message = {};
  std::size_t bytes = 0;  // framed
};

class Gossip {
 public:
  // What a host lends to it.
  class Ground {
   public:
    virtual ~Ground() = default;
    virtual TimePoint gossip_now() const = 0;
    virtual Random& gossip_random() = 0;
    virtual std::size_t topic_bytes(Topic topic) const = 0;  // of its name
    virtual void send_gossip(Number to, std::shared_ptr<const GossipRpc> rpc) = 0;
    virtual void hear_gossip(const GossipMessage& message) = 0;
  };
  static constexpr Duration kHeartbeat = std::chrono::seconds(1);
  static constexpr Duration kFirstHeartbeat = std::chrono::seconds(5);

  explicit Gossip(Ground& ground) : ground_(ground) {}

  void connected(Number peer, bool dialed_by_us);
  void disconnected(Number peer);
  void subscribe(Topic topic);
  bool subscribed(Topic topic) const { return mesh_.contains(topic); }
  void publish(std::shared_ptr<const GossipMessage> message);
  void receive(Number from, const GossipRpc& rpc);
  // False: the next ones would do nothing, until something happens.
  bool heartbeat();

  std::vector<Number> mesh_of(Topic topic) const;
  // What it remembers, all together: for who watches that it does not grow.
  std::size_t remembered() const;
  // More than a busy network says in the minute for which ids are kept; the oldest go first.
  static constexpr std::size_t kSeenMax = 65'536;

 private:
  struct Neighbour {
    bool outbound = false;
    std::set<Topic> topics = {};
    std::deque<std::pair<MessageId, TimePoint>> unwanted = {};  // said by IDONTWANT
    std::size_t ihaves = 0;                                     // in this heartbeat
  };
  struct Cached {
    std::shared_ptr<const GossipMessage> message;
    std::map<Number, int> asked;  // how often by IWANT
  };

  void send(Number to, GossipRpc::What what, std::vector<Topic> topics, std::vector<MessageId> ids,
            std::shared_ptr<const GossipMessage> message = {});
  bool see(MessageId id);
  void keep(const std::shared_ptr<const GossipMessage>& message);
  void heard(Number from, const std::shared_ptr<const GossipMessage>& message);
  void asked_for(Number from, const std::vector<MessageId>& ids);
  void offered(Number from, const GossipRpc& rpc);
  void graft_from(Number from, Topic topic);
  void prune_to(Number to, Topic topic);
  void back_off(Topic topic, Number peer);
  bool backing_off(Topic topic, Number peer, bool with_slack) const;
  bool wants(const Neighbour& peer, MessageId id) const;
  bool maintain(Topic topic, std::set<Number>& peers);  // whether it changed
  void tell_of(Topic topic, const std::set<Number>& mesh);
  template <class Filter>
  std::vector<Number> some(Topic topic, std::size_t at_most, Filter filter);
  void shuffle(std::vector<Number>& peers);

  Ground& ground_;
  std::map<Number, Neighbour> neighbours_;
  std::map<Topic, std::set<Number>> mesh_;
  std::map<std::pair<Topic, Number>, TimePoint> backoff_;  // until when
  std::unordered_map<MessageId, TimePoint> seen_;
  std::deque<std::pair<MessageId, TimePoint>> seen_order_;
  static constexpr std::size_t kHistory = 5, kTold = 3;
  std::array<std::vector<MessageId>, kHistory> history_;  // the latest first
  std::unordered_map<MessageId, Cached> cache_;
  std::map<MessageId, std::pair<Number, TimePoint>> promised_;  // asked for; by when it must come
};

}  // namespace tau::p2p::simulated
