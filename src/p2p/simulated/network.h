// A libp2p network in memory, for virtual time: hosts, connections with latency, streams with
// bounded windows, gossip, provider records; partitions and sudden deaths on request. One seed, one
// run.
//
// What it keeps of the real thing: admission by the same certificates; a dial takes a round trip
// and a half, opening a stream one; data arrives in order, a latency later, and at most a window of
// it is unread; a cut link is silent until both ends give it up; a lost packet of a connection is
// sent again and holds up what follows. What it leaves out: bandwidth, NAT. Gossip floods: every
// subscriber passes a message on once to its subscribed peers, as gossipsub does within its mesh;
// provider records are one table for all, read after the time that a query takes.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "p2p/host.h"
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

  std::uint64_t messages() const { return messages_; }  // carried so far, of any kind
  // Of streams and gossip, without what a transport adds.
  std::uint64_t bytes() const { return bytes_; }

  static constexpr Duration kSilenceLimit =
      std::chrono::seconds(25);  // ping of native/swarm: 15 s + 10 s
  static constexpr Duration kDialLimit = std::chrono::seconds(10);

 private:
  friend class SimulatedHost;
  friend struct Connection;
  friend class SimulatedStream;
  using Pair = std::pair<PeerId, PeerId>;
  struct Route {
    TimePoint last;                      // when what was sent last arrives
    std::deque<runtime::Callback> held;  // behind a partition
  };

  void add(SimulatedHost& host);
  void remove(SimulatedHost& host);
  SimulatedHost* find(const PeerId& peer);
  bool separated(const PeerId& from, const PeerId& to) const;
  bool deaf(const Connection& connection) const;
  void watch_silence(const std::shared_ptr<Connection>& connection);
  bool chance(std::uint32_t of_1000) { return of_1000 > 0 && random_.below(1000) < of_1000; }
  Duration latency(const PeerId& from, const PeerId& to);
  // Runs `arrival` at `to`, in order with all else from `from`.
  void deliver(const PeerId& from, const PeerId& to, runtime::Callback arrival);
  // The same for one hop of gossip, which weather may lose, double or delay.
  void scatter(const PeerId& from, const PeerId& to, const std::function<void()>& arrival);
  void release(const Pair& ends, Route& route);
  void schedule(Route& route, Duration after, runtime::Callback arrival);
  std::shared_ptr<Connection> connection(const PeerId& a, const PeerId& b) const;
  void close(const std::shared_ptr<Connection>& connection, const PeerId& by);
  void give_up(const std::shared_ptr<Connection>& connection);

  runtime::Loop& loop_;
  Random& random_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // timers outlive the network
  Duration latency_ = std::chrono::microseconds(500), jitter_ = std::chrono::microseconds(100);
  std::map<Pair, Duration> latencies_;
  Weather weather_;
  Tap tap_;
  std::map<PeerId, int> groups_;
  std::set<Pair> blocked_;
  std::map<PeerId, SimulatedHost*> hosts_;
  std::map<Pair, Route> routes_;
  std::map<Pair, std::shared_ptr<Connection>> connections_;
  std::map<Bytes, std::set<PeerId>> providers_;
  std::map<PeerId, std::uint64_t> addresses_;
  std::uint64_t next_message_ = 1, messages_ = 0, bytes_ = 0;
};

// Owned by a node. stop() before destruction, unless it was killed.
class SimulatedHost final : public Host {
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
  std::optional<Certificate> certificate_of(const PeerId& peer) const override;
  void on_peer(PeerHandler handler) override;
  Status show_certificate(Bytes certificate) override;
  Status note_certificate(const PeerId& peer, BytesView certificate) override;
  void recheck() override;
  Conduct& conduct() override { return conduct_; }

  void subscribe(std::string topic, MessageHandler handler) override;
  Status publish(const std::string& topic, Bytes data) override;
  Task<Status> provide(Bytes key) override;
  Task<Result<std::vector<PeerId>>> find_providers(Bytes key, std::size_t at_most) override;

 private:
  friend class SimulatedNetwork;
  friend struct Connection;
  enum class State { fresh, running, stopped };
  struct Dial;
  struct Peer {
    Certificate shown;        // as the root signed it
    Certificate certificate;  // what is left of it now
    bool refused = false;     // by now; its connection is being closed
  };

  Status running() const;
  static void dial_arrives(SimulatedNetwork& network, std::shared_ptr<Dial> dial);
  static void answer_arrives(SimulatedNetwork& network, std::shared_ptr<Dial> dial,
                             Bytes certificate);
  static Task<Result<PeerId>> outcome(std::shared_ptr<Dial> dial);
  void forget(const PeerId& peer);
  void tell_peer(const PeerId& peer, bool connected);
  void peer_up(const PeerId& peer, Certificate shown);
  const Peer* accepted(const PeerId& peer) const;
  void watch_expiry(std::int64_t not_after_unix_ms);
  void peer_down(const PeerId& peer);
  void accept(const PeerId& from, std::shared_ptr<Connection> connection, std::uint64_t opening,
              std::string protocol);
  void gossip(const PeerId& author, const PeerId& via, std::uint64_t message,
              const std::string& topic, std::shared_ptr<const Bytes> data);
  void spread(const PeerId& author, const PeerId& via, std::uint64_t message,
              const std::string& topic, const std::shared_ptr<const Bytes>& data);

  SimulatedNetwork& network_;
  runtime::Loop& loop_;
  const PeerId id_;
  Admission admission_;
  Logger log_;
  Conduct conduct_;
  runtime::TimerId expiry_;          // when the first certificate of a peer ends
  std::int64_t expiry_unix_ms_ = 0;  // 0: none is watched
  State state_ = State::fresh;
  mutable std::optional<Certificate> own_;  // when it was last checked
  std::uint64_t address_ = 0;
  std::map<PeerId, Peer> peers_;
  std::map<std::string, StreamHandler> handlers_;
  std::map<std::string, std::vector<MessageHandler>> topics_;
  std::vector<PeerHandler> peer_handlers_;
  std::set<std::uint64_t> heard_;  // messages already passed on; the oldest go first
  runtime::TaskGroup tasks_;
};

}  // namespace tau::p2p::simulated
