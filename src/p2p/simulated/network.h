// A libp2p network in memory, for virtual time: hosts, connections with latency, streams with
// bounded windows, gossip, provider records; partitions and sudden deaths on request. One seed, one
// run.
//
// What it keeps of the real thing: admission by the same certificates; a dial takes a round trip
// and a half, opening a stream one; data arrives in order, a latency later, and at most a window of
// it is unread; a cut link is silent until both ends give it up; a lost packet of a connection is
// sent again and holds up what follows; gossipsub and Kademlia send the messages that their
// specifications require, with the parameters of native/swarm (gossip.h, kademlia.h); a lookup
// dials whom it asks, and that connection stays. Pings and the repeated identify have no effect but
// their cost: they are counted, not delivered. What it leaves out: bandwidth, NAT.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "p2p/host.h"
#include "p2p/simulated/gossip.h"
#include "p2p/simulated/kademlia.h"
#include "p2p/simulated/wire.h"
#include "runtime/loop.h"
#include "runtime/task_group.h"

namespace tau::p2p::simulated {

class SimulatedHost;
class SimulatedStream;
struct Connection;

// How badly messages travel. Shares of 1000.
struct Weather {
  // Of a connection: sent again after kResendAfter, then twice that and so on, as TCP does; what
  // follows on the same way waits.
  std::uint32_t lost = 0;
  // Of gossip, on each hop: gone, come twice, or late by up to kStraggleMax and behind others.
  std::uint32_t gossip_lost = 0, gossip_doubled = 0, gossip_late = 0;

  static constexpr Duration kResendAfter = std::chrono::milliseconds(200);
  static constexpr Duration kStraggleMax = std::chrono::milliseconds(800);
};

// Outlives its hosts. Loop thread only.
class SimulatedNetwork {
 public:
  SimulatedNetwork(runtime::Loop& loop, Random& random);
  ~SimulatedNetwork();
  SimulatedNetwork(const SimulatedNetwork&) = delete;
  SimulatedNetwork& operator=(const SimulatedNetwork&) = delete;

  // One way, of every link without its own; each message takes up to `jitter` more. At first 500 us
  // and 100 us.
  void set_latency(Duration latency, Duration jitter);
  void set_latency(const PeerId& a, const PeerId& b, Duration latency);

  // Hosts of different groups cannot hear each other; hosts that are not named form one more group.
  // What was under way waits, and arrives after heal() if the connection still stands then; after
  // kSilenceLimit it does not.
  void partition(std::vector<std::vector<PeerId>> groups);
  // What `from` sends does not reach `to`; the other way is open. As in partition(), a connection
  // that stays deaf is given up by both.
  void block(const PeerId& from, const PeerId& to);
  void unblock(const PeerId& from, const PeerId& to);
  void heal();  // of partition() and block()
  // Both ends lose the connection now; nothing stops them from dialing again.
  void break_connection(const PeerId& a, const PeerId& b);
  void set_weather(Weather weather) { weather_ = weather; }

  // The process dies: its peers notice a latency later, its own streams fail, nothing of it runs
  // any more.
  void kill(const PeerId& peer);

  // Told of every write to a stream, before it travels: for who watches what nodes say.
  using Tap = std::function<void(const PeerId& from, const PeerId& to, BytesView data)>;
  void set_tap(Tap tap) { tap_ = std::move(tap); }

  // Sent so far, by what for: as handed to TCP, framed and encrypted (wire.h).
  const Counts& counts();
  std::uint64_t messages();
  std::uint64_t bytes();
  // Of streams, by the name of their protocol.
  const std::map<std::string, Traffic>& streams() const { return streams_; }
  std::uint64_t sent_by(const PeerId& peer);  // messages
  std::size_t connections() const { return connections_.size(); }

  static constexpr Duration kSilenceLimit =
      std::chrono::seconds(25);  // ping of native/swarm: 15 s + 10 s
  static constexpr Duration kDialLimit = std::chrono::seconds(10);

 private:
  friend class SimulatedHost;
  friend struct Connection;
  friend class SimulatedStream;
  using Pair = std::uint64_t;  // two numbers
  struct Route {
    TimePoint last;                       // when what was sent last arrives
    std::vector<runtime::Callback> held;  // behind a partition
  };
  static Pair way(Number from, Number to) { return Pair{from} << 32 | to; }
  static Pair sorted(Number a, Number b) { return a < b ? way(a, b) : way(b, a); }

  Number number_of(const PeerId& peer);
  const PeerId& name_of(Number number) const { return names_[number]; }
  Topic topic_of(const std::string& name);
  void add(SimulatedHost& host);
  void remove(SimulatedHost& host);
  SimulatedHost* find(Number number) const { return hosts_[number]; }
  // `bytes` of all these messages together.
  void count(Kind kind, Number from, std::size_t bytes, std::uint64_t messages = 1);
  void count_pings(Connection& connection);  // that were due until now
  bool separated(Number from, Number to) const;
  bool deaf(const Connection& connection) const;
  void watch_silence(const std::shared_ptr<Connection>& connection);
  bool chance(std::uint32_t of_1000) { return of_1000 > 0 && random_.below(1000) < of_1000; }
  Duration latency(Number from, Number to);
  // Runs `arrival` at `to`, in order with all else from `from`.
  void deliver(Number from, Number to, runtime::Callback arrival);
  // The same for one hop of gossip, which weather may lose, double or delay.
  void scatter(Number from, Number to, const std::function<void()>& arrival);
  void release(Pair ends, Route& route);
  void schedule(Route& route, Duration after, runtime::Callback arrival);
  std::shared_ptr<Connection> connection(Number a, Number b) const;
  void close(const std::shared_ptr<Connection>& connection, Number by);
  void give_up(const std::shared_ptr<Connection>& connection);

  runtime::Loop& loop_;
  Random& random_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // timers outlive the network
  Duration latency_ = std::chrono::microseconds(500), jitter_ = std::chrono::microseconds(100);
  std::unordered_map<Pair, Duration> latencies_;
  Weather weather_;
  Tap tap_;
  std::unordered_map<Number, int> groups_;
  std::set<Pair> blocked_;
  std::unordered_map<PeerId, Number> numbers_;
  // By number:
  std::vector<PeerId> names_;
  std::vector<Place> places_;
  std::vector<SimulatedHost*> hosts_;
  std::vector<std::uint64_t> sent_;
  std::map<std::string, Topic> topics_;
  std::vector<std::size_t> topic_bytes_;
  std::unordered_map<Pair, Route> routes_;
  std::unordered_map<Pair, std::shared_ptr<Connection>> connections_;
  MessageId next_message_ = 1;
  Counts counts_{};
  std::map<std::string, Traffic> streams_;
};

// Owned by a node. stop() before destruction, unless it was killed.
class SimulatedHost final : public Host, private Gossip::Ground, private Kademlia::Ground {
 public:
  // `loop`: of the machine that it runs on, whose clock may differ from the network's; none: the
  // network's.
  SimulatedHost(SimulatedNetwork& network, PeerId id, Admission admission, Logger log,
                runtime::Loop* loop = nullptr);
  ~SimulatedHost() override;

  const PeerId& id() const override { return id_; }
  std::vector<std::string> addresses() const override;
  Task<Status> start() override;
  Task<void> stop() override;

  Task<Result<PeerId>> connect(std::string multiaddr) override;
  void disconnect(const PeerId& peer) override;
  Task<Result<std::unique_ptr<Stream>>> open(PeerId peer, std::string protocol) override;
  void handle(std::string protocol, StreamHandler handler) override;

  std::vector<PeerId> peers() const override;
  std::shared_ptr<const Certificate> certificate_of(const PeerId& peer) const override;
  void each_peer(const PeerVisitor& visit) const override;
  void on_peer(PeerHandler handler) override;
  Status show_certificate(Bytes certificate) override;
  Status note_certificate(const PeerId& peer, BytesView certificate) override;
  void recheck() override;
  Conduct& conduct() override { return conduct_; }

  void subscribe(std::string topic, MessageHandler handler) override;
  Status publish(const std::string& topic, Bytes data) override;
  Task<Status> provide(Bytes key) override;
  Task<Result<std::vector<PeerId>>> find_providers(Bytes key, std::size_t at_most) override;
  Task<Result<std::vector<std::string>>> find_peer(PeerId peer) override;

  // What its protocols remember, and what bounds that: for who watches that it does not grow.
  const Gossip& gossip() const { return gossip_; }
  const Kademlia& kademlia() const { return kademlia_; }

 private:
  friend class SimulatedNetwork;
  friend struct Connection;
  enum class State { fresh, running, stopped };
  struct Dial;
  using Dialed = std::function<void(Result<PeerId>)>;
  struct Peer {
    Number number = 0;
    Certificate shown;                               // as the root signed it
    std::shared_ptr<const Certificate> certificate;  // what is left of it now
    bool refused = false;                            // by now; its connection is being closed
  };
  struct Question {
    std::uint64_t query = 0;
    std::shared_ptr<const KadRequest> request;
  };

  Status running() const;
  void dial(Number to, Dialed done);
  static void dial_arrives(SimulatedNetwork& network, std::shared_ptr<Dial> dial);
  static void answer_arrives(SimulatedNetwork& network, std::shared_ptr<Dial> dial,
                             Bytes certificate);
  void tell_peer(const PeerId& peer, bool connected);
  void peer_up(Number peer, Certificate shown, bool dialed_by_us);
  const Peer* accepted(const PeerId& peer) const;
  void watch_expiry(std::int64_t not_after_unix_ms);
  void peer_down(Number peer);
  void forget(Number peer);
  void accept(Number from, std::shared_ptr<Connection> connection, std::uint64_t opening,
              std::string protocol);
  void identify(Number peer, std::shared_ptr<Connection> connection);
  void keep_time();
  void ask_connected(Number to, Question question);

  TimePoint gossip_now() const override { return loop_.now(); }
  Random& gossip_random() override { return network_.random_; }
  std::size_t topic_bytes(Topic topic) const override { return network_.topic_bytes_[topic]; }
  void send_gossip(Number to, std::shared_ptr<const GossipRpc> rpc) override;
  void hear_gossip(const GossipMessage& message) override;

  TimePoint kad_now() const override { return loop_.now(); }
  Random& kad_random() override { return network_.random_; }
  Place place_of_host(Number host) const override { return network_.places_[host]; }
  void ask(Number to, std::uint64_t query, std::shared_ptr<const KadRequest> request) override;
  void call_after(Duration after, std::function<void()> callback) override;

  SimulatedNetwork& network_;
  runtime::Loop& loop_;
  const PeerId id_;
  const Number number_;
  Admission admission_;
  Logger log_;
  Conduct conduct_;
  runtime::TimerId expiry_;          // when the first certificate of a peer ends
  std::int64_t expiry_unix_ms_ = 0;  // 0: none is watched
  State state_ = State::fresh;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // its timers outlive it
  mutable std::shared_ptr<const Certificate> own_;              // when it was last checked
  std::map<PeerId, Peer> peers_;
  std::map<std::string, StreamHandler> handlers_;
  std::map<Topic, std::vector<MessageHandler>> topics_;
  std::vector<PeerHandler> peer_handlers_;
  Gossip gossip_;
  Kademlia kademlia_;
  std::map<Number, std::vector<Question>> asked_unconnected_;  // while they are dialed
  bool keeping_time_ = false;
  runtime::TaskGroup tasks_;
};

}  // namespace tau::p2p::simulated
