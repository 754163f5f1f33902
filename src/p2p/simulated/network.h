// A network of hosts in memory, for tests and the simulator: the same interface as libp2p's, on any
// loop, so that virtual time and a seed decide everything that happens.
//
// What it promises is what libp2p promises: ordered, reliable streams with a bounded window while a
// connection lasts, admission on every connection, gossip to subscribers, provider records. What it
// can do to its hosts: delay, cut, heal, kill. Loop thread only. The network outlives its hosts.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "crypto/ed25519.h"
#include "p2p/host.h"
#include "runtime/channel.h"
#include "runtime/task_group.h"

namespace tau::p2p {

class SimulatedHost;

class SimulatedNetwork {
 public:
  explicit SimulatedNetwork(runtime::Loop& loop, Duration latency = std::chrono::milliseconds(1))
      : loop_(loop), latency_(latency) {}

  // One way, between any two hosts.
  void set_latency(Duration latency) { latency_ = latency; }
  // No connection between the two until heal(): the one they have breaks.
  void cut(const PeerId& a, const PeerId& b);
  void heal(const PeerId& a, const PeerId& b) { cuts_.erase(std::minmax(a, b)); }

  runtime::Loop& loop() const { return loop_; }

 private:
  friend class SimulatedHost;
  bool reachable(const PeerId& a, const PeerId& b) const {
    return !cuts_.contains(std::minmax(a, b));
  }
  SimulatedHost* find(const PeerId& id) const;

  runtime::Loop& loop_;
  Duration latency_;
  std::map<PeerId, SimulatedHost*> started_;
  std::set<std::pair<PeerId, PeerId>> cuts_;
  std::map<Bytes, std::set<PeerId>> providers_;
  std::uint64_t streams_opened_ = 0;
};

class SimulatedHost final : public Host {
 public:
  SimulatedHost(SimulatedNetwork& network, const crypto::PublicKey& key, Admission admission);
  ~SimulatedHost() override;

  const PeerId& id() const override { return id_; }
  std::vector<std::string> addresses() const override { return {"/memory/1/p2p/" + id_.str()}; }
  Task<Status> start() override;
  Task<void> stop() override;
  // The machine dies: streams break, nothing is said; peers see it after the latency. stop()
  // afterwards frees what is left.
  void kill();

  Task<Result<PeerId>> connect(std::string multiaddr) override;
  void disconnect(const PeerId& peer) override;
  Task<Result<std::unique_ptr<Stream>>> open(PeerId peer, std::string protocol) override;
  void handle(std::string protocol, StreamHandler handler) override;
  std::vector<PeerId> peers() const override;
  std::optional<Certificate> certificate_of(const PeerId& peer) const override;
  void on_peer(PeerHandler handler) override { peer_handlers_.push_back(std::move(handler)); }
  void subscribe(std::string topic, MessageHandler handler) override;
  Status publish(const std::string& topic, Bytes data) override;
  Task<Status> provide(Bytes key) override;
  Task<Result<std::vector<PeerId>>> find_providers(Bytes key, std::size_t at_most) override;

 private:
  friend class SimulatedNetwork;
  friend class SimulatedStream;
  // What the two ends of a connection share.
  struct Connection {
    struct Open {
      std::weak_ptr<void> alive;  // gone with the stream
      std::function<void()> break_off;
    };
    bool broken = false;
    std::vector<Open> streams;
  };
  struct Peer {
    Certificate certificate;
    std::shared_ptr<Connection> connection;
  };
  void drop(const PeerId& peer);
  void peer_changed(const PeerId& peer, bool connected);
  static void break_connection(Connection& connection);

  SimulatedNetwork& network_;
  PeerId id_;
  Admission admission_;
  bool running_ = false;
  std::map<PeerId, Peer> connected_;
  std::map<std::string, StreamHandler> handlers_;
  std::map<std::string, std::vector<MessageHandler>> subscriptions_;
  std::vector<PeerHandler> peer_handlers_;
  runtime::TaskGroup tasks_;
};

}  // namespace tau::p2p
